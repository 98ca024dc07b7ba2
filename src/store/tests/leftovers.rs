//! What crashes leave behind, and what other hands do to the files.

use std::fs;

use http_body_util::BodyExt as _;

use super::*;
use crate::domain::{ByteRange, UploadId};
use crate::store::{Expired, layout};

async fn saved_session(store: &Filesystem, bytes: &bytes::Bytes) -> UploadId {
    let id = store.start(&owner(), Algorithm::Sha256).await.unwrap();
    let mut session = resume(store, id).await;
    session.write(bytes.clone()).await.unwrap();
    session.save().await.unwrap();
    id
}

/// Removing a session's file is not synced: a power cut can bring it back.
#[tokio::test]
async fn a_finished_session_that_comes_back_is_unknown() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let bytes = content(1, 100_000);
    let id = saved_session(&store, &bytes).await;
    let path = directory.path().join("uploads").join(layout::session_name(id));
    let file = fs::read(&path).unwrap();
    let stored = resume(&store, id).await.commit(&digest(Algorithm::Sha256, &bytes)).await.unwrap();

    fs::write(&path, &file).unwrap();
    assert_eq!(store.offset(id, &owner()).await.unwrap(), None);
    assert!(store.resume(id, &owner()).await.unwrap().is_none());

    // Where a rename is a link and an unlink, the bytes may have both names for a while.
    let object = directory.path().join("blobs").join(stored.object.as_str());
    fs::hard_link(&object, directory.path().join("uploads").join(layout::data_name(id))).unwrap();
    assert_eq!(store.offset(id, &owner()).await.unwrap(), None);
    assert!(store.resume(id, &owner()).await.unwrap().is_none());
    assert_eq!(pull(&store, &stored, None).await, bytes);

    store.expire(now() + Duration::from_secs(60)).await.unwrap();
    assert_eq!(fs::read_dir(directory.path().join("uploads")).unwrap().count(), 0);
    assert_eq!(pull(&store, &stored, None).await, bytes);
}

/// Two commits never share a name, or dropping the newcomer's file would drop both.
#[tokio::test]
async fn a_session_that_comes_back_empty_commits_under_a_new_name() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let bytes = content(2, 5000);
    let id = store.start(&owner(), Algorithm::Sha256).await.unwrap();
    let path = directory.path().join("uploads").join(layout::session_name(id));
    let file = fs::read(&path).unwrap();
    let mut names = std::collections::HashSet::new();
    for _ in 0..3 {
        fs::write(&path, &file).unwrap();
        let mut session = resume(&store, id).await;
        session.write(bytes.clone()).await.unwrap();
        let stored = session.commit(&digest(Algorithm::Sha256, &bytes)).await.unwrap();
        assert_eq!(pull(&store, &stored, None).await, bytes);
        names.insert(stored.object);
    }
    assert_eq!(names.len(), 3);
}

#[tokio::test]
async fn bytes_beyond_the_record_are_cut() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let bytes = content(3, 10_000);
    for recorded in [0, 4000] {
        let id = saved_session(&store, &bytes.slice(..recorded)).await;
        let data = directory.path().join("uploads").join(layout::data_name(id));
        fs::write(&data, [&bytes[..recorded], b"more than was ever recorded"].concat()).unwrap();
        let mut session = resume(&store, id).await;
        assert_eq!(session.offset(), recorded as u64);
        session.write(bytes.slice(recorded..)).await.unwrap();
        let stored = session.commit(&digest(Algorithm::Sha256, &bytes)).await.unwrap();
        assert_eq!(pull(&store, &stored, None).await, bytes);
    }
}

/// What comes after a power cut is not taken for what it took.
#[tokio::test]
async fn a_session_that_lost_bytes_says_so_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let id = saved_session(&store, &content(8, 1000)).await;
    let data = directory.path().join("uploads").join(layout::data_name(id));
    fs::File::options().write(true).open(data).unwrap().set_len(600).unwrap();
    assert_eq!(store.offset(id, &owner()).await.unwrap(), Some(600));
    let mut session = resume(&store, id).await;
    assert_eq!(session.offset(), 600);
    for _ in 0..8 {
        session.write(content(9, 200_000)).await.unwrap();
    }
    drop(session);
    assert_eq!(resume(&store, id).await.offset(), 600);
}

/// I1: bytes that changed under the hash's feet are not what was hashed.
#[tokio::test]
async fn a_session_cut_behind_our_back_commits_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let bytes = content(4, 10_000);
    let id = saved_session(&store, &bytes).await;
    let session = resume(&store, id).await;
    let data = directory.path().join("uploads").join(layout::data_name(id));
    fs::File::options().write(true).open(data).unwrap().set_len(9_999).unwrap();
    assert!(session.commit(&digest(Algorithm::Sha256, &bytes)).await.is_err());
    assert_eq!(fs::read_dir(directory.path().join("blobs/sha256")).unwrap().count(), 0);
}

/// R-BLB-09: never a short body.
#[tokio::test]
async fn a_file_cut_while_it_is_read_ends_in_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let stored = push(&store, &content(5, 3_000_000)).await;
    let whole = store.open(&stored.object, stored.size, None).await.unwrap().unwrap();
    let part = whole.part(ByteRange::within(2_000_000, 2_999_999, stored.size).unwrap());
    let path = directory.path().join("blobs").join(stored.object.as_str());
    fs::File::options().write(true).open(path).unwrap().set_len(1_500_000).unwrap();
    for reader in [whole, part] {
        assert!(Box::pin(reader).collect().await.is_err());
    }
    assert!(matches!(
        store.open(&stored.object, stored.size, None).await,
        Err(Error::Damaged { expected: 3_000_000, actual: 1_500_000, .. })
    ));
}

/// An object that is no file, and one that may not be opened, are damaged rather than absent.
#[tokio::test]
async fn an_object_that_cannot_be_read_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let stored = push(&store, &content(6, 1000)).await;
    let path = directory.path().join("blobs").join(stored.object.as_str());
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
    assert!(matches!(store.open(&stored.object, stored.size, None).await, Err(Error::Unreadable { .. })));
}

/// The bytes of a session that a crash has ended go with time; others stay.
#[tokio::test]
async fn bytes_without_a_session_expire() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let uploads = directory.path().join("uploads");
    let id = saved_session(&store, &content(7, 1000)).await;
    fs::remove_file(uploads.join(layout::session_name(id))).unwrap();
    fs::write(uploads.join("probe.of-a-crash"), b"?").unwrap();
    fs::write(uploads.join("somebody's notes"), b"").unwrap();
    let expired = store.expire(now() - Duration::from_secs(60)).await.unwrap();
    assert_eq!(expired, Expired::default());
    let expired = store.expire(now() + Duration::from_secs(60)).await.unwrap();
    assert_eq!(expired, Expired { sessions: 1, freed: 1000 });
    let left: Vec<_> = fs::read_dir(&uploads).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["somebody's notes"]);
}

/// A commit that fails half-way leaves the session as it was.
#[tokio::test]
async fn a_commit_that_could_not_rename_can_be_repeated() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let bytes = content(10, 700_000);
    let claimed = digest(Algorithm::Sha256, &bytes);
    let in_the_way = directory.path().join("blobs/sha256").join(&claimed.hex()[..2]);
    fs::write(&in_the_way, b"not a directory").unwrap();
    let id = saved_session(&store, &bytes.slice(..100_000)).await;
    for _ in 0..2 {
        let mut session = resume(&store, id).await;
        assert_eq!(session.offset(), 100_000);
        session.write(bytes.slice(100_000..)).await.unwrap();
        assert!(session.commit(&claimed).await.is_err());
    }
    fs::remove_file(in_the_way).unwrap();
    let mut session = resume(&store, id).await;
    session.write(bytes.slice(100_000..)).await.unwrap();
    let stored = session.commit(&claimed).await.unwrap();
    assert_eq!(pull(&store, &stored, None).await, bytes);
}
