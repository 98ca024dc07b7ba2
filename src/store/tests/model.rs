//! Sessions against a model that is two vectors: any sequence of what requests,
//! cancellations, restarts and power cuts do to one.

use futures_util::FutureExt as _;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

use crate::store::{Upload, layout};

#[derive(Debug, Clone)]
enum Deed {
    Write(usize),
    /// The future is polled once and dropped.
    WriteCancelled(usize),
    Save,
    SaveCancelled,
    CutBack,
    /// The request is dropped, and another comes.
    Leave,
    /// The same, of a PATCH.
    LeaveKept,
    /// The process ends and starts again.
    Restart,
    /// The host loses power: at most this share of the bytes, in percent, stays on the disk.
    PowerCut(usize),
    ClaimOther,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => prop_oneof![1..20_000_usize, 1..1_500_000_usize].prop_map(Deed::Write),
        2 => (1..1_500_000_usize).prop_map(Deed::WriteCancelled),
        3 => Just(Deed::Save),
        1 => Just(Deed::SaveCancelled),
        2 => Just(Deed::CutBack),
        1 => Just(Deed::Leave),
        2 => Just(Deed::LeaveKept),
        1 => Just(Deed::Restart),
        1 => (0..150_usize).prop_map(Deed::PowerCut),
        1 => Just(Deed::ClaimOther),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// I1, R-UPL-18: whatever happens, a session has exactly a prefix of what it
    /// was sent, as long as it says, and commits to the hash of just that.
    #[test]
    fn a_session_is_what_the_model_says(deeds in proptest::collection::vec(deed(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(compare(deeds));
    }
}

async fn compare(deeds: Vec<Deed>) {
    // In memory where there is such a place: nothing here is about the disk.
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let mut store = open(directory.path());
    let id = store.start(&owner(), Algorithm::Sha256).await.unwrap();
    let mut session: Upload = resume(&store, id).await;
    let (mut saved, mut sent): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
    let mut claimed = Algorithm::Sha256;
    for (nth, deed) in deeds.into_iter().enumerate() {
        match deed {
            Deed::Write(len) => {
                let chunk = content(nth as u64, len);
                sent.extend(&chunk);
                session.write(chunk).await.unwrap();
            }
            Deed::WriteCancelled(len) => {
                let chunk = content(nth as u64, len);
                sent.extend(&chunk);
                let _ = session.write(chunk).now_or_never();
            }
            Deed::Save => {
                assert_eq!(session.save().await.unwrap(), sent.len() as u64);
                saved.clone_from(&sent);
            }
            Deed::SaveCancelled => {
                let _ = session.save().now_or_never();
                // Begun or not, it is only known once it is asked again.
                session.save().await.unwrap();
                saved.clone_from(&sent);
            }
            Deed::CutBack => {
                assert_eq!(session.cut_back().await.unwrap(), saved.len() as u64);
                sent.clone_from(&saved);
            }
            Deed::Leave => {
                drop(session);
                session = resume(&store, id).await;
                sent.clone_from(&saved);
            }
            Deed::LeaveKept => {
                session.keep_unsaved();
                drop(session);
                session = resume(&store, id).await;
                saved.clone_from(&sent);
            }
            Deed::Restart => {
                drop(session);
                store = open(directory.path());
                session = resume(&store, id).await;
                sent.clone_from(&saved);
            }
            Deed::PowerCut(share) => {
                drop(session);
                // Its last job is over once the lock is free.
                drop(resume(&store, id).await);
                let left = saved.len() * share.min(100) / 100;
                if left < saved.len() {
                    let path = directory.path().join("uploads").join(layout::data_name(id));
                    std::fs::File::options().write(true).open(path).unwrap().set_len(left as u64).unwrap();
                    saved.truncate(left);
                }
                let options = Options { lock_wait: Duration::from_millis(300) };
                store = Filesystem::open_in(Uuid::new_v4(), directory.path(), options).unwrap();
                session = resume(&store, id).await;
                sent.clone_from(&saved);
            }
            Deed::ClaimOther => claimed = Algorithm::Sha512,
        }
        assert_eq!(session.offset(), sent.len() as u64);
        assert!(store.offset(id, &owner()).await.unwrap().unwrap() >= saved.len() as u64);
    }
    let stored = session.commit(&digest(claimed, &sent)).await.unwrap();
    assert_eq!(pull(&store, &stored, None).await, sent);
}
