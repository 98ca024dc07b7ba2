//! `distribution store verify`: reads every blob and hashes it.

use std::panic;
use std::thread;

use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use sha2::{Digest as _, Sha256, Sha512};

use crate::config::Flags;
use crate::domain::{Algorithm, Digest};
use crate::metadata::{Blob, Metadata, NewBlob};
use crate::server;
use crate::store;
use crate::store::{BlobStore, Filesystem};

use super::database::load_existing;
use super::output::say;
use super::{Error, runtime};

/// Reads every blob, and says which are damaged.
///
/// Each is hashed and compared with its digest. A damaged one is marked, so that it is not served and the next push
/// of the same content replaces it; a mark that is no longer true, such as after a restore, is taken off. May run
/// beside servers. Ends with exit code 1 where damage was found.
#[derive(clap::Args)]
pub(super) struct Arguments {}

/// What was found so far.
#[derive(Default)]
struct Findings {
    blobs: u64,
    bytes: u64,
    damaged: u64,
}

pub(super) fn run(flags: Flags, _: &Arguments) -> Result<(), Error> {
    let config = load_existing(flags)?;
    runtime()?.block_on(async {
        let options = store::Options::default();
        let (metadata, store) = server::storage(&config.root, options, &config.metadata_options()).await?;
        let done = verify(&metadata, &store).await;
        metadata.close().await;
        let Findings { blobs, bytes, damaged } = done?;
        say(&format!("{blobs} blobs with {bytes} bytes were read, {damaged} are damaged"))?;
        if damaged > 0 { Err(Error::Damaged(damaged)) } else { Ok(()) }
    })
}

async fn verify(metadata: &Metadata, store: &Filesystem) -> Result<Findings, Error> {
    const PAGE: usize = 1000;
    let mut findings = Findings::default();
    let mut after = None;
    loop {
        let page = metadata.blobs(after.as_ref(), PAGE).await?;
        let full = page.len() == PAGE;
        after = page.last().map(|(digest, _)| digest.clone());
        verify_page(metadata, store, page, &mut findings).await?;
        if !full {
            return Ok(findings);
        }
    }
}

async fn verify_page(
    metadata: &Metadata,
    store: &Filesystem,
    page: Vec<(Digest, Blob)>,
    findings: &mut Findings,
) -> Result<(), Error> {
    let at_once = thread::available_parallelism().map_or(1, usize::from);
    let mut looked_at = stream::iter(page)
        .map(|(digest, blob)| {
            let store = store.clone();
            // A task of its own, since hashing keeps a thread busy.
            tokio::spawn(async move {
                let fault = fault(&store, &digest, &blob).await;
                (digest, blob, fault)
            })
        })
        .buffer_unordered(at_once);
    while let Some(looked_at) = looked_at.next().await {
        let (digest, blob, fault) = looked_at.unwrap_or_else(|error| panic::resume_unwind(error.into_panic()));
        findings.blobs += 1;
        findings.bytes += blob.size;
        match fault? {
            // Not where a push has replaced it meanwhile.
            Some(fault) if metadata.mark_damaged(digest.clone(), blob.object.clone()).await? => {
                findings.damaged += 1;
                say(&format!("{digest} is damaged: {fault}"))?;
            }
            Some(_) => {}
            None if blob.damaged => {
                let sound = NewBlob { digest: digest.clone(), object: blob.object.clone(), size: blob.size };
                if metadata.adopt_blob(sound, blob.object).await? {
                    say(&format!("{digest} was marked as damaged and is sound"))?;
                }
            }
            None => {}
        }
    }
    Ok(())
}

/// What is wrong with a blob's object, if anything is.
///
/// # Errors
/// Those that say nothing of the object, but that this process may not read it, or lacks something.
async fn fault(store: &Filesystem, digest: &Digest, blob: &Blob) -> Result<Option<String>, Error> {
    let of = |error: store::Error| match error {
        store::Error::Damaged { .. } | store::Error::Unreadable { .. } => Ok(Some(error.to_string())),
        source => Err(Error::Unverified { digest: digest.clone(), source }),
    };
    let mut body = match store.open(&blob.object, blob.size, None).await {
        Ok(Some(reader)) => Box::pin(reader),
        Ok(None) => return Ok(Some(format!("there is no {}", blob.object))),
        Err(error) => return of(error),
    };
    let mut hasher = Hasher::new(digest.algorithm());
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => hasher.update(frame.data_ref().map_or(&[], |data| &data[..])),
            Err(error) => return of(store::Error::reading(&blob.object, error)),
        }
    }
    let actual = hasher.finish();
    Ok((actual != *digest).then(|| format!("{} hashes to {actual}", blob.object)))
}

/// One of the two hashes.
enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> Digest {
        match self {
            Self::Sha256(hasher) => Digest::from_hash(Algorithm::Sha256, &hasher.finalize()),
            Self::Sha512(hasher) => Digest::from_hash(Algorithm::Sha512, &hasher.finalize()),
        }
    }
}
