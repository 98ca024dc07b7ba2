//! Pulls: blobs large and small, and manifests. What is pulled is pushed once,
//! and its digest checked once by pulling it; the clock runs for pulls whose
//! length alone is checked, except where the whole is small enough to compare.

use crate::client::Repository;
use crate::content::{Blob, Image};
use crate::drive::{Plan, drive};
use crate::line::Fate;
use crate::servers::Server;
use crate::table::Row;
use crate::{KIB, Result, Scale, size};

pub(crate) async fn large(server: &Server, scale: &Scale) -> Result<Vec<Row>> {
    let name = format!("pull {}, one stream", size(scale.large()));
    whole(server, scale, name, "large", 1, scale.large()).await
}

pub(crate) async fn parallel(server: &Server, scale: &Scale) -> Result<Vec<Row>> {
    let name = format!("pull 16 × {}", size(scale.medium()));
    whole(server, scale, name, "parallel", 16, scale.medium()).await
}

async fn whole(server: &Server, scale: &Scale, name: String, part: &str, count: usize, len: usize) -> Result<Vec<Row>> {
    let repository = Repository::new(part);
    let blobs = Blob::many(part, count, len);
    if server.first(part) {
        server.provide(&repository, &blobs).await?;
    }
    // It also takes the token before the clock starts.
    verify(server, &repository, &blobs).await?;
    let plan = Plan { clients: count, count, at_least: scale.at_least(), writes: 0 };
    let phase = drive(server, plan, async |client, nth| {
        repository.pull_blob(client, &blobs[nth % count], Fate::Dropped).await.map(drop)
    })
    .await?;
    Ok(vec![Row::bytes(name, phase.latencies.len() * len, &phase.cost)])
}

/// Pulls all of these, and hashes them.
pub(crate) async fn verify<'b>(
    server: &Server,
    repository: &Repository,
    blobs: impl IntoIterator<Item = &'b Blob>,
) -> Result {
    let mut client = server.client();
    for blob in blobs {
        repository.pull_blob(&mut client, blob, Fate::Hashed).await?;
    }
    Ok(())
}

pub(crate) async fn small(server: &Server, scale: &Scale) -> Result<Vec<Row>> {
    let repository = Repository::new("small");
    let blobs = Blob::many("small", scale.count(10_000), 4 * KIB);
    let bytes: Vec<_> = blobs.iter().map(Blob::bytes).collect();
    if server.first("small") {
        server.provide(&repository, &blobs).await?;
    }
    verify(server, &repository, &blobs[..32]).await?;
    let plan = Plan { clients: 32, count: blobs.len(), at_least: scale.at_least(), writes: 0 };
    let phase = drive(server, plan, async |client, nth| {
        let nth = nth % blobs.len();
        let reply = repository.pull_blob(client, &blobs[nth], Fate::Kept).await?;
        if reply.body == bytes[nth] { Ok(()) } else { Err(format!("{}: other bytes", blobs[nth].digest).into()) }
    })
    .await?;
    Ok(vec![Row::requests("pull 4 KiB blobs, 32 connections".to_owned(), &phase)])
}

pub(crate) async fn manifests(server: &Server, scale: &Scale) -> Result<Vec<Row>> {
    let repository = Repository::new("manifests");
    let images = Image::many("manifests", 16, 8, KIB);
    if server.first("manifests") {
        server.provide_images(&repository, &images).await?;
    }
    let mut rows = Vec::new();
    for (method, by) in [("GET", "tag"), ("GET", "digest"), ("HEAD", "tag"), ("HEAD", "digest")] {
        let read = async |client: &mut _, nth: usize| {
            let Image { tag, manifest, .. } = &images[nth % images.len()];
            let reference = if by == "tag" { tag } else { &manifest.digest };
            repository.read_manifest(client, method, reference, manifest).await
        };
        read(&mut server.client(), 0).await?;
        let plan = Plan { clients: 32, count: scale.count(5000), at_least: scale.at_least(), writes: 0 };
        let name = format!("manifest {method} by {by}, 32 connections");
        rows.push(Row::requests(name, &drive(server, plan, read).await?));
    }
    Ok(rows)
}
