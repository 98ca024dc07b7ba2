//! A disk that is full, where this user may mount one.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use super::*;

use crate::store::CommitError;

/// Four MiB of memory as a file system, gone when dropped.
struct TinyDisk(tempfile::TempDir);

impl TinyDisk {
    fn mount() -> Option<Self> {
        if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "none"]).arg(directory.path()).status();
        mount.is_ok_and(|status| status.success()).then(|| Self(directory))
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("root")
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// A full disk is told as one, takes nothing from what is there, and is forgotten once there is space.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_only_what_did_not_fit() {
    let Some(disk) = TinyDisk::mount() else {
        eprintln!("skipped: only root can mount a tiny file system");
        return;
    };
    let store = open(&disk.root());
    let there = content(1, 1_000_000);
    let stored = push(&store, &there).await;

    // In a PATCH: what fits may be kept.
    let id = store.start(&owner(), Algorithm::Sha256).await.unwrap();
    let mut session = resume(&store, id).await;
    session.write(content(2, 500_000)).await.unwrap();
    assert_eq!(session.save().await.unwrap(), 500_000);
    let failed = loop {
        if let Err(error) = session.write(content(3, 600_000)).await {
            break error;
        }
    };
    assert!(matches!(failed, Error::Full(_)), "{failed}");
    assert!(session.write(content(3, 10)).await.is_err(), "no bytes are taken after a hole");
    let kept = session.save().await.unwrap();
    assert!((500_000..4_000_000).contains(&kept) && (kept - 500_000) % 600_000 == 0, "{kept}");
    drop(session);
    assert_eq!(store.offset(id, &owner()).await.unwrap(), Some(kept));

    // In a PUT: the session stays as it was.
    let mut session = resume(&store, id).await;
    let mut written = Ok(());
    for _ in 0..4 {
        written = written.and(session.write(content(4, 900_000)).await);
    }
    let failed = session.commit(&digest(Algorithm::Sha256, b"?")).await.unwrap_err();
    assert!(
        matches!(written, Err(Error::Full(_))) || matches!(failed, CommitError::Store(Error::Full(_))),
        "{written:?} {failed}"
    );
    assert_eq!(store.offset(id, &owner()).await.unwrap(), Some(kept));

    // What is there is served, and fits again once there is space.
    assert_eq!(pull(&store, &stored, None).await, there);
    resume(&store, id).await.discard().await.unwrap();
    let again = content(5, 2_500_000);
    let stored = push(&store, &again).await;
    assert_eq!(pull(&store, &stored, None).await, again);
}

/// A small blob fails in its commit, where all the work is one job.
#[tokio::test]
async fn a_full_disk_is_told_by_the_commit_of_a_small_blob() {
    let Some(disk) = TinyDisk::mount() else {
        eprintln!("skipped: only root can mount a tiny file system");
        return;
    };
    let store = open(&disk.root());
    let id = store.start(&owner(), Algorithm::Sha256).await.unwrap();
    let rest = disk.root().join("rest");
    let _ = std::fs::write(&rest, vec![0; 5_000_000]);
    let bytes = content(1, 40_000);
    let mut session = resume(&store, id).await;
    session.write(bytes.clone()).await.unwrap();
    let failed = session.commit(&digest(Algorithm::Sha256, &bytes)).await.unwrap_err();
    assert!(matches!(failed, CommitError::Store(Error::Full(_))), "{failed}");
    assert!(matches!(store.start(&owner(), Algorithm::Sha256).await, Err(Error::Full(_))));

    std::fs::remove_file(rest).unwrap();
    let mut session = resume(&store, id).await;
    assert_eq!(session.offset(), 0);
    session.write(bytes.clone()).await.unwrap();
    let stored = session.commit(&digest(Algorithm::Sha256, &bytes)).await.unwrap();
    assert_eq!(pull(&store, &stored, None).await, bytes);
}
