//! What the contract does not say because only files can show it.

mod full;
mod lanes;
mod leftovers;
mod model;
mod order;
mod serving;

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use super::contract::{check, content, digest, now, owner, pull, push, resume};
use bytes::Bytes;
use futures_util::FutureExt as _;

use super::{BlobStore, Error, Filesystem, Options, Session, Upload};
use crate::domain::Algorithm;

fn open(root: &Path) -> Filesystem {
    Filesystem::open(root, Options { lock_wait: Duration::from_millis(300) }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds() {
    let directory = tempfile::tempdir().unwrap();
    check(|| open(directory.path())).await;
}

/// I7: a request's runtime has one thread; nothing here may need a second.
#[tokio::test(flavor = "current_thread")]
async fn the_contract_holds_on_one_thread() {
    let directory = tempfile::tempdir().unwrap();
    check(|| open(directory.path())).await;
}

#[tokio::test]
async fn a_root_is_made_with_its_parents_and_keeps_its_identity() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("var/lib/registry");
    let identity = open(&root).identity();
    assert_eq!(open(&root).identity(), identity);
    let other = uuid::Uuid::new_v4();
    open(&root).pair(other).unwrap();
    assert_eq!(open(&root).identity(), other);
}

#[test]
fn a_root_that_is_none_is_named_in_the_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = Filesystem::open(&file.join("root"), Options::default()).unwrap_err();
    assert!(matches!(&error, Error::Root { .. }) && error.to_string().contains("file/root"), "{error}");
    std::fs::write(directory.path().join("identity"), b"not an id").unwrap();
    assert!(matches!(Filesystem::open(directory.path(), Options::default()), Err(Error::Root { .. })));
}

#[tokio::test]
async fn a_session_whose_account_has_no_end_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let owner = super::SessionOwner { account: "user:1\nuser:2".into(), ..owner() };
    assert!(store.start(&owner, Algorithm::Sha256).await.is_err());
}

/// R-UPL-19: a writer can hear that it is waited for, as long as it is.
#[tokio::test]
async fn a_writer_hears_that_another_waits() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let id = store.start(&owner(), Algorithm::Sha256).await.unwrap();
    let holder = resume(&store, id).await;
    let wanted = |session: &Upload| session.wanted().now_or_never().is_some();
    assert!(!wanted(&holder));
    let waiter = tokio::spawn({
        let store = store.clone();
        async move { store.resume(id, &owner()).await }
    });
    holder.wanted().await;
    assert!(matches!(waiter.await.unwrap(), Err(Error::Busy)));
    assert!(!wanted(&holder), "who gave up does not wait");
}

/// A session's file is used again: neither its old name nor its old lock leads to the new session.
#[tokio::test]
async fn a_file_used_again_is_another_session() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let files = || std::fs::read_dir(directory.path().join("uploads")).unwrap().count();
    let mut finished = Vec::new();
    for nth in 0..5 {
        let id = store.start(&owner(), Algorithm::Sha256).await.unwrap();
        let mut session = resume(&store, id).await;
        session.write(content(nth, 1000)).await.unwrap();
        session.save().await.unwrap();
        let waiting = store.clone();
        let waiter = tokio::spawn(async move { waiting.resume(id, &owner()).await.unwrap().is_none() });
        tokio::task::yield_now().await;
        if nth % 2 == 0 {
            session.commit(&digest(Algorithm::Sha256, &content(nth, 1000))).await.unwrap();
        } else {
            session.discard().await.unwrap();
        }
        assert!(waiter.await.unwrap());
        assert_eq!(files(), 1, "one file serves them all");
        finished.push(id);
        for &id in &finished {
            assert_eq!(store.offset(id, &owner()).await.unwrap(), None);
            assert!(store.resume(id, &owner()).await.unwrap().is_none());
        }
    }
    // Another process may expire a file that waits; a new one is made then.
    let expired = open(directory.path()).expire(now() + Duration::from_secs(60)).await.unwrap();
    assert_eq!((expired, files()), (Default::default(), 0));
    let id = store.start(&owner(), Algorithm::Sha256).await.unwrap();
    assert_eq!(resume(&store, id).await.offset(), 0);
}

/// Room that was reserved for a long upload is there while it goes on, and is not kept by the blob.
#[tokio::test]
async fn what_was_reserved_is_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let bytes = content(6, 9_000_000);
    let id = store.start(&owner(), Algorithm::Sha256).await.unwrap();
    let path = directory.path().join("uploads").join(format!("{id}.data"));
    let reserved = || std::fs::metadata(&path).map(|data| (data.blocks() * 512).saturating_sub(data.len())).unwrap();
    let (first, second) = bytes.split_at(5_000_000);
    let mut session = resume(&store, id).await;
    for part in first.chunks(600_000) {
        session.write(Bytes::copy_from_slice(part)).await.unwrap();
    }
    if store.root().reserves {
        let begun = tokio::time::Instant::now();
        while reserved() < 1_000_000 {
            assert!(begun.elapsed() < Duration::from_secs(10), "nothing is reserved");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    session.save().await.unwrap();
    drop(session);
    let mut session = resume(&store, id).await;
    for part in second.chunks(600_000) {
        session.write(Bytes::copy_from_slice(part)).await.unwrap();
    }
    let stored = session.commit(&digest(Algorithm::Sha256, &bytes)).await.unwrap();
    let object = std::fs::metadata(directory.path().join("blobs").join(stored.object.as_str())).unwrap();
    assert!(object.len() == 9_000_000 && object.blocks() * 512 < 9_300_000, "{}", object.blocks());
    assert!(pull(&store, &stored, None).await == bytes);
}
