//! Pushes: of what is new every time, looked for before and after, and pulled
//! back and hashed when the clock has stopped.

use std::time::Duration;

use crate::client::{Client, Repository, Way, unique};
use crate::content::{Blob, Image};
use crate::drive::{Phase, Plan, drive};
use crate::line::Request;
use crate::pulls::verify;
use crate::servers::Server;
use crate::table::Row;
use crate::{KIB, Result, Scale, size};

pub(crate) async fn large(server: &Server, scale: &Scale) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (way, requests) in [(Way::Put, "POST + PUT"), (Way::Docker, "POST + PATCH in chunks + PUT")] {
        let blobs = Blob::many(&unique(), 1, scale.large());
        let phase = blobs_pushed(server, &blobs, way).await?;
        rows.push(Row::bytes(format!("push {}, {requests}", size(scale.large())), scale.large(), &phase.cost));
    }
    Ok(rows)
}

pub(crate) async fn parallel(server: &Server, scale: &Scale) -> Result<Vec<Row>> {
    let len = scale.medium();
    let phase = blobs_pushed(server, &Blob::many(&unique(), 8, len), Way::Put).await?;
    Ok(vec![Row::bytes(format!("push 8 × {}, POST + PUT", size(len)), 8 * len, &phase.cost)])
}

/// Pushes all of these at once.
async fn blobs_pushed(server: &Server, blobs: &[Blob], way: Way) -> Result<Phase> {
    let repository = Repository::new("pushed");
    // For the repository, the token and the tape.
    repository.push_blob(&mut server.client(), &Blob::new(&unique(), 64 * KIB), way).await?;
    let writes = blobs.iter().map(|blob| blob.len).sum();
    let plan = Plan { clients: blobs.len(), writes, ..once(blobs.len()) };
    let phase = drive(server, plan, async |client, nth| repository.push_blob(client, &blobs[nth], way).await).await?;
    verify(server, &repository, blobs).await?;
    Ok(phase)
}

/// So often and no more, from 16 clients.
fn once(count: usize) -> Plan {
    Plan { clients: 16, count, at_least: Duration::ZERO, writes: 0 }
}

pub(crate) async fn images(server: &Server, scale: &Scale) -> Result<Vec<Row>> {
    let repository = Repository::fresh("images");
    repository.push_image(&mut server.client(), &Image::many(&unique(), 1, 1, KIB)[0]).await?;
    let mut images = Image::many(&unique(), scale.count(1000), 3, 4 * KIB);
    images.iter_mut().for_each(|image| image.tag.insert(0, 't'));
    let work = async |client: &mut Client, nth: usize| repository.push_image(client, &images[nth]).await;
    let phase = drive(server, once(images.len()), work).await?;
    let mut client = server.client();
    for image in images.iter().step_by(20) {
        repository.read_manifest(&mut client, "GET", &image.tag, &image.manifest).await?;
        verify(server, &repository, &image.blobs).await?;
    }
    Ok(vec![Row::operations("push small images, 16 connections".to_owned(), &phase, phase.requests, " images/s")])
}

pub(crate) async fn mounts(server: &Server, scale: &Scale) -> Result<Vec<Row>> {
    let (from, to) = (Repository::new("mounted"), Repository::fresh("mounts"));
    let blobs = Blob::many("mounted", scale.count(2000) + 1, 4 * KIB);
    if server.first("mounts") {
        server.provide(&from, &blobs).await?;
    }
    let scope = format!("{} {}", to.push, from.pull);
    let mount = async |client: &mut Client, nth: usize| {
        let digest = &blobs[nth].digest;
        let path = format!("/v2/{}/blobs/uploads/?mount={digest}&from={}", to.name, from.name);
        client.ask(&scope, &Request::new("POST", &path)).await?.expect(201, &path).map(drop)
    };
    let count = blobs.len() - 1;
    mount(&mut server.client(), count).await?;
    let phase = drive(server, once(count), mount).await?;
    verify(server, &to, blobs.iter().step_by(50)).await?;
    Ok(vec![Row::requests("mount from another repository, 16 connections".to_owned(), &phase)])
}
