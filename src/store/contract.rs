//! What every backend must pass. See [`BlobStore`]'s contract, line by line.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::hasher::Hasher;
use super::{BlobStore, CommitError, Error, Session as _, SessionOwner, Shard, Stored};
use crate::domain::{Algorithm, ByteRange, Digest, UploadId};

/// Checks everything that [`BlobStore`] and [`Session`](super::Session) promise.
///
/// `open` gives the same store as another replica, or a restarted server, would
/// see it; its lock wait should be short.
pub(super) async fn check<S: BlobStore>(open: impl Fn() -> S) {
    a_blob_comes_back_as_it_was_sent(&open()).await;
    short_and_empty_blobs_are_blobs(&open()).await;
    parts_are_exact(&open()).await;
    a_session_is_its_owners_alone(&open()).await;
    a_session_goes_on_elsewhere(&open).await;
    nothing_unsaved_stays(&open()).await;
    a_broken_patch_keeps_its_prefix(&open()).await;
    another_algorithm_may_be_claimed(&open()).await;
    a_wrong_digest_ends_the_session(&open()).await;
    one_writer_at_a_time(&open).await;
    equal_content_gets_two_names(&open()).await;
    a_wrong_size_is_told_before_the_first_byte(&open()).await;
    what_is_deleted_is_gone(&open()).await;
    a_discarded_session_is_gone(&open()).await;
    objects_are_listed(&open()).await;
    idle_sessions_expire(&open).await;
    open().ping().await.unwrap();
    assert_eq!(open().identity(), open().identity());
}

/// Bytes that are the same for the same seed, and no two blocks alike.
pub(super) fn content(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(len.div_ceil(8)).flatten().take(len).collect()
}

pub(super) fn digest(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

#[expect(clippy::disallowed_methods, reason = "file times are compared with the system's own clock")]
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}

pub(super) fn owner() -> SessionOwner {
    SessionOwner { repository: "library/ubuntu".parse().unwrap(), account: "user:7".into() }
}

async fn start<S: BlobStore>(store: &S) -> UploadId {
    store.start(&owner(), Algorithm::Sha256).await.unwrap()
}

pub(super) async fn resume<S: BlobStore>(store: &S, id: UploadId) -> S::Session {
    store.resume(id, &owner()).await.unwrap().expect("the session is there")
}

/// A blob in one go, as POST and PUT make it.
pub(super) async fn push<S: BlobStore>(store: &S, bytes: &Bytes) -> Stored {
    let id = start(store).await;
    let mut session = resume(store, id).await;
    session.write(bytes.clone()).await.unwrap();
    session.commit(&digest(Algorithm::Sha256, bytes)).await.unwrap()
}

pub(super) async fn pull<S: BlobStore>(store: &S, stored: &Stored, range: Option<ByteRange>) -> Bytes {
    let reader = store.open(&stored.object, stored.size, range).await.unwrap().expect("the object is there");
    let promised = reader.size_hint().exact().unwrap();
    let bytes = Box::pin(reader).collect().await.unwrap().to_bytes();
    assert_eq!(bytes.len() as u64, promised);
    bytes
}

async fn a_blob_comes_back_as_it_was_sent<S: BlobStore>(store: &S) {
    // Chunks of all lengths, more of them than are held at once.
    let bytes = content(1, 5_000_017);
    let id = start(store).await;
    let mut session = resume(store, id).await;
    let (mut rest, mut len) = (bytes.clone(), 1);
    while !rest.is_empty() {
        session.write(rest.split_to(len.min(rest.len()))).await.unwrap();
        len = len * 3 % 700_001;
        assert_eq!(session.offset(), (bytes.len() - rest.len()) as u64);
    }
    let claimed = digest(Algorithm::Sha256, &bytes);
    let stored = session.commit(&claimed).await.unwrap();
    assert_eq!((stored.size, &stored.digest, stored.object.digest()), (bytes.len() as u64, &claimed, claimed.clone()));
    assert_eq!(store.size(&stored.object).await.unwrap(), Some(stored.size));
    assert_eq!(pull(store, &stored, None).await, bytes);
    assert_eq!(store.offset(id, &owner()).await.unwrap(), None);
    assert!(store.resume(id, &owner()).await.unwrap().is_none());
}

/// R-UPL-36.
async fn short_and_empty_blobs_are_blobs<S: BlobStore>(store: &S) {
    for len in [0, 1, 4096, 65_535, 262_144, 262_145] {
        let bytes = content(2, len);
        let stored = push(store, &bytes).await;
        assert_eq!(stored.size, len as u64);
        assert_eq!(pull(store, &stored, None).await, bytes, "{len}");
    }
}

async fn parts_are_exact<S: BlobStore>(store: &S) {
    let bytes = content(3, 3_000_000);
    let stored = push(store, &bytes).await;
    for (first, last) in
        [(0, 0), (0, 2_999_999), (1, 300_000), (2_999_999, 2_999_999), (4095, 4097), (900_001, 2_700_000)]
    {
        let range = ByteRange::within(first, last, stored.size);
        let expected = bytes.slice(first as usize..=last as usize);
        assert_eq!(pull(store, &stored, range).await, expected, "{first}-{last}");
    }
}

/// R-UPL-51: also while it is being written.
async fn a_session_is_its_owners_alone<S: BlobStore>(store: &S) {
    let id = start(store).await;
    let other_repository = SessionOwner { repository: "library/ubunt".parse().unwrap(), ..owner() };
    let other_account = SessionOwner { account: "user:71".into(), ..owner() };
    let unknown = (UploadId::random(), owner());
    let held = resume(store, id).await;
    for (id, owner) in [(id, other_repository), (id, other_account), unknown] {
        assert_eq!(store.offset(id, &owner).await.unwrap(), None);
        assert!(store.resume(id, &owner).await.unwrap().is_none());
    }
    held.discard().await.unwrap();
}

/// R-UPL-63: every chunk at another replica.
async fn a_session_goes_on_elsewhere<S: BlobStore>(open: &impl Fn() -> S) {
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let bytes = content(4, 2_000_003);
        let id = open().start(&owner(), algorithm).await.unwrap();
        for chunk in 0..5 {
            let store = open();
            let mut session = resume(&store, id).await;
            assert_eq!(session.offset(), chunk * 300_001);
            session.write(bytes.slice(session.offset() as usize..).split_to(300_001)).await.unwrap();
            assert_eq!(session.save().await.unwrap(), (chunk + 1) * 300_001);
            assert_eq!(open().offset(id, &owner()).await.unwrap(), Some((chunk + 1) * 300_001));
        }
        let mut session = resume(&open(), id).await;
        session.write(bytes.slice(1_500_005..)).await.unwrap();
        let stored = session.commit(&digest(algorithm, &bytes)).await.unwrap();
        assert_eq!(pull(&open(), &stored, None).await, bytes);
    }
}

/// R-UPL-14, R-UPL-18: what is cut back or dropped leaves the session as it was.
async fn nothing_unsaved_stays<S: BlobStore>(store: &S) {
    let bytes = content(5, 1_200_000);
    let id = start(store).await;
    let mut session = resume(store, id).await;
    session.write(bytes.slice(..600_000)).await.unwrap();
    session.save().await.unwrap();
    session.write(content(99, 3_000_000)).await.unwrap();
    assert_eq!(session.cut_back().await.unwrap(), 600_000);
    assert_eq!(session.offset(), 600_000);
    session.write(content(98, 2_000_000)).await.unwrap();
    drop(session);
    assert_eq!(store.offset(id, &owner()).await.unwrap(), Some(600_000));
    let mut session = resume(store, id).await;
    assert_eq!(session.offset(), 600_000);
    session.write(bytes.slice(600_000..)).await.unwrap();
    let stored = session.commit(&digest(Algorithm::Sha256, &bytes)).await.unwrap();
    assert_eq!(pull(store, &stored, None).await, bytes);
}

/// R-UPL-18.
async fn a_broken_patch_keeps_its_prefix<S: BlobStore>(store: &S) {
    let bytes = content(6, 2_500_000);
    let id = start(store).await;
    let mut session = resume(store, id).await;
    session.keep_unsaved();
    session.write(bytes.slice(..1_000_000)).await.unwrap();
    session.write(bytes.slice(1_000_000..1_000_001)).await.unwrap();
    drop(session);
    let mut session = resume(store, id).await;
    assert_eq!(session.offset(), 1_000_001);
    session.write(bytes.slice(1_000_001..)).await.unwrap();
    session.commit(&digest(Algorithm::Sha256, &bytes)).await.unwrap();
}

/// R-UPL-05.
async fn another_algorithm_may_be_claimed<S: BlobStore>(store: &S) {
    for (begun, claimed) in [(Algorithm::Sha256, Algorithm::Sha512), (Algorithm::Sha512, Algorithm::Sha256)] {
        let bytes = content(7, 700_000);
        let id = store.start(&owner(), begun).await.unwrap();
        let mut session = resume(store, id).await;
        session.write(bytes.slice(..650_000)).await.unwrap();
        session.save().await.unwrap();
        session.write(bytes.slice(650_000..)).await.unwrap();
        let stored = session.commit(&digest(claimed, &bytes)).await.unwrap();
        assert_eq!(stored.digest, digest(claimed, &bytes));
        assert_eq!(pull(store, &stored, None).await, bytes);
    }
}

/// R-UPL-32.
async fn a_wrong_digest_ends_the_session<S: BlobStore>(store: &S) {
    for len in [0, 10, 2_000_000] {
        let bytes = content(8, len);
        let id = start(store).await;
        let mut session = resume(store, id).await;
        session.write(bytes.clone()).await.unwrap();
        let wrong = digest(Algorithm::Sha256, b"something else");
        match session.commit(&wrong).await {
            Err(CommitError::Mismatch { claimed, actual }) => {
                assert_eq!((claimed, actual), (wrong.clone(), digest(Algorithm::Sha256, &bytes)));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(store.offset(id, &owner()).await.unwrap(), None);
        let shard =
            Shard { algorithm: Algorithm::Sha256, first_byte: u8::from_str_radix(&wrong.hex()[..2], 16).unwrap() };
        assert!(store.list(shard).await.unwrap().iter().all(|listed| listed.object.digest() != wrong));
    }
}

/// R-UPL-19: the second waits, and is then judged by the new offset.
async fn one_writer_at_a_time<S: BlobStore>(open: &impl Fn() -> S) {
    let id = start(&open()).await;
    let mut first = resume(&open(), id).await;
    assert!(matches!(open().resume(id, &owner()).await, Err(Error::Busy)));
    assert_eq!(open().offset(id, &owner()).await.unwrap(), Some(0));
    let store = open();
    let second = tokio::spawn(async move { resume(&store, id).await.offset() });
    first.write(content(9, 10)).await.unwrap();
    first.save().await.unwrap();
    drop(first);
    assert_eq!(second.await.unwrap(), 10);

    let first = resume(&open(), id).await;
    let store = open();
    let second = tokio::spawn(async move { store.resume(id, &owner()).await.unwrap().is_none() });
    first.commit(&digest(Algorithm::Sha256, &content(9, 10))).await.unwrap();
    assert!(second.await.unwrap(), "a finished session is unknown to whoever waited for it");
}

async fn equal_content_gets_two_names<S: BlobStore>(store: &S) {
    let bytes = content(10, 1000);
    let (one, other) = (push(store, &bytes).await, push(store, &bytes).await);
    assert_ne!(one.object, other.object);
    store.delete(&one.object).await.unwrap();
    assert_eq!(pull(store, &other, None).await, bytes);
}

/// R-BLB-09.
async fn a_wrong_size_is_told_before_the_first_byte<S: BlobStore>(store: &S) {
    let stored = push(store, &content(11, 1000)).await;
    match store.open(&stored.object, 1001, ByteRange::within(0, 1, 1001)).await {
        Err(Error::Damaged { object, expected: 1001, actual: 1000 }) => assert_eq!(object, stored.object),
        _ => panic!("a short object was served"),
    }
}

async fn what_is_deleted_is_gone<S: BlobStore>(store: &S) {
    let bytes = content(12, 2_000_000);
    let stored = push(store, &bytes).await;
    let reader = store.open(&stored.object, stored.size, None).await.unwrap().unwrap();
    for _ in 0..2 {
        store.delete(&stored.object).await.unwrap();
        assert_eq!(store.size(&stored.object).await.unwrap(), None);
        assert!(store.open(&stored.object, stored.size, None).await.unwrap().is_none());
    }
    assert_eq!(Box::pin(reader).collect().await.unwrap().to_bytes(), bytes, "who reads is not disturbed");
}

/// R-UPL-60.
async fn a_discarded_session_is_gone<S: BlobStore>(store: &S) {
    let id = start(store).await;
    let mut session = resume(store, id).await;
    session.write(content(13, 2_000_000)).await.unwrap();
    session.discard().await.unwrap();
    assert_eq!(store.offset(id, &owner()).await.unwrap(), None);
}

async fn objects_are_listed<S: BlobStore>(store: &S) {
    let begin = now() - Duration::from_secs(2); // the clock of file times is coarse
    let stored = push(store, &content(14, 1234)).await;
    let mut found = Vec::new();
    for shard in Shard::all() {
        found.extend(store.list(shard).await.unwrap());
    }
    let listed = found.iter().find(|listed| listed.object == stored.object).unwrap();
    assert_eq!(listed.size, 1234);
    assert!(listed.committed >= begin && listed.committed <= now() + Duration::from_secs(2));
}

/// R-UPL-62.
async fn idle_sessions_expire<S: BlobStore>(open: &impl Fn() -> S) {
    let store = open();
    let (idle, written) = (start(&store).await, start(&store).await);
    let mut session = resume(&store, idle).await;
    session.write(content(15, 1000)).await.unwrap();
    session.save().await.unwrap();
    drop(session);
    let writer = resume(&store, written).await;
    let (past, future) = (now() - Duration::from_secs(3600), now() + Duration::from_secs(3600));
    store.expire(past).await.unwrap();
    assert_eq!(store.offset(idle, &owner()).await.unwrap(), Some(1000));
    let expired = open().expire(future).await.unwrap();
    assert!(expired.sessions >= 1 && expired.freed >= 1000, "{expired:?}");
    assert_eq!(store.offset(idle, &owner()).await.unwrap(), None);
    assert_eq!(store.offset(written, &owner()).await.unwrap(), Some(0));
    drop(writer);
}
