//! What a registry's days are like: many clients who do this and that, and many
//! who are connected and do nothing.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use crate::client::{Client, Repository, Way, unique};
use crate::content::{Blob, Image, Manifest, Random};
use crate::drive::{Plan, drive};
use crate::line::Fate;
use crate::pulls::verify;
use crate::servers::Server;
use crate::table::Row;
use crate::{KIB, MIB, Result, Scale};

/// Of a thousand operations, so many are a manifest's GET by tag, and so many a
/// blob's GET, one in eight of these of 1 MiB; the rest pushes a blob and a manifest.
const MANIFESTS: u64 = 350;
const BLOBS: u64 = 350;

pub(crate) async fn mix(server: &Server, scale: &Scale) -> Result<Vec<Row>> {
    let repository = Repository::fresh("mix");
    let images = Image::many(&unique(), 64, 3, 4 * KIB);
    let large = Blob::many(&unique(), 16, MIB);
    server.provide_images(&repository, &images).await?;
    server.provide(&repository, &large).await?;
    verify(server, &repository, &large).await?;
    let (random, done) = (RefCell::new(Random::default()), Cell::new(0));
    let seed = unique();
    let operation = async |client: &mut Client, nth: usize| {
        let random = random.borrow_mut().next();
        let (dice, pick) = (random % 1000, (random >> 20) as usize);
        let image = &images[pick / 8 % images.len()];
        if dice < MANIFESTS {
            repository.read_manifest(client, "GET", &image.tag, &image.manifest).await?;
        } else if dice < MANIFESTS + BLOBS {
            let (blob, fate) = match pick % 8 {
                0 => (&large[pick / 8 % large.len()], Fate::Dropped),
                _ => (&image.blobs[1], Fate::Hashed),
            };
            repository.pull_blob(client, blob, fate).await?;
        } else {
            let blobs = [images[0].blobs[0].clone(), Blob::new(&format!("{seed} {nth}"), 4 * KIB)];
            repository.push_blob(client, &blobs[1], Way::Put).await?;
            repository.push_manifest(client, &format!("p{nth}"), &Manifest::image(&blobs)).await?;
        }
        done.set(done.get() + 1);
        Ok(())
    };
    let plan = Plan { clients: 32, count: 0, at_least: scale.mix, writes: 256 * MIB };
    let mut samples = Vec::new();
    let phase = tokio::select! {
        phase = drive(server, plan, operation) => phase?,
        error = watch(server, &done, &mut samples) => return Err(error.err().unwrap_or("never".into())),
    };
    let name = format!("70/30 mix, 32 connections, {} s", scale.mix.as_secs());
    let mut rows = vec![Row::operations(name.clone(), &phase, phase.requests, " op/s")];
    rows.extend(over_time(&name, &samples, scale.mix));
    Ok(rows)
}

/// How far it was at a moment: operations, and resident memory in MiB.
struct Sample {
    at: Duration,
    done: usize,
    memory: f64,
}

/// Looks at the server twice a second, for ever, from the first operation on.
async fn watch(server: &Server, done: &Cell<usize>, samples: &mut Vec<Sample>) -> Result {
    while done.get() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let began = Instant::now();
    loop {
        let (memory, _) = server.processes.memory()?;
        samples.push(Sample { at: began.elapsed(), done: done.get(), memory });
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The first, the middle and the last minute, or third if there is less than three minutes:
/// resident memory at most, and rate.
fn over_time(name: &str, samples: &[Sample], whole: Duration) -> Vec<Row> {
    let len = (whole / 3).min(Duration::from_secs(60));
    let parts = [("first", Duration::ZERO), ("middle", (whole - len) / 2), ("last", whole - len)];
    let row = |(part, from): (&str, Duration)| {
        let within: Vec<_> = samples.iter().filter(|sample| (from..=from + len).contains(&sample.at)).collect();
        let (first, last) = (within.first()?, within.last()?);
        let memory = within.iter().map(|sample| sample.memory).fold(0.0, f64::max);
        let rate = (last.done - first.done) as f64 / (last.at - first.at).as_secs_f64().max(1e-3);
        let work = format!("{name}: RSS and rate in the {part} {:.0} s", len.as_secs_f64());
        Some(Row { rate: Some((rate, " op/s")), ..Row::memory(work, memory) })
    };
    parts.into_iter().filter_map(row).collect()
}

/// Connections that were used once, and are kept.
pub(crate) async fn idle(server: &Server, scale: &Scale) -> Result<Vec<Row>> {
    let count = scale.count(1000);
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = server.client();
        client.get("", "/v2/").await?;
        clients.push(client);
    }
    tokio::time::sleep(scale.at_least()).await;
    let (memory, _) = server.processes.memory()?;
    for client in &mut clients {
        client.get("", "/v2/").await?;
    }
    Ok(vec![Row::memory(format!("RSS with {count} idle connections"), memory)])
}
