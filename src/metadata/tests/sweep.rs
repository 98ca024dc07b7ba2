use std::time::Instant;

use super::*;

async fn sweep(metadata: &Metadata, count: usize) -> Vec<ObjectName> {
    let (mut after, mut objects) = (None, Vec::new());
    loop {
        let page = metadata.sweep_links(after, count).await.unwrap();
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let mut after = None;
    loop {
        let page = metadata.sweep_blobs(after, count).await.unwrap();
        objects.extend(page.removed);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    objects
}

/// I5.
#[test]
fn a_sweep_takes_what_nothing_names_once_its_lease_is_spent() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let target = push_by(&alice, "alice/app");
        let mut blobs = Vec::new();
        for n in 0..9_u8 {
            let blob = new_blob(&[n]);
            metadata.commit_blob(target.clone(), blob.clone()).await.unwrap();
            blobs.push(blob);
        }
        let named = image(&blobs[0].digest, &[(LAYER, &blobs[1].digest)], "");
        metadata.put_manifest(target.clone(), named.clone()).await.unwrap();
        assert_eq!(sweep(&metadata, 2).await, [], "their leases last");
        metadata.set_leases(Timestamp::from_micros(0)).await;
        push_blob(&metadata, &target, &[2]).await;
        let mut swept = sweep(&metadata, 2).await;
        swept.sort();
        let mut expected: Vec<_> = blobs[3..].iter().map(|blob| blob.object.clone()).collect();
        expected.sort();
        assert_eq!(swept, expected);
        let id = id_of(&metadata, "alice/app").await;
        for (n, blob) in blobs.iter().enumerate() {
            assert_eq!(metadata.blob(id, &blob.digest).await.unwrap().is_some(), n < 3, "{n}");
        }
        metadata.delete_manifest(id, named.digest, origin()).await.unwrap();
        assert_eq!(sweep(&metadata, 100).await, [], "a lease again, since its manifest went");
    });
}

/// I5: a concurrent push always wins.
#[test]
fn a_push_at_the_same_moment_wins() {
    on_each_with(
        |options| options.lease = Duration::ZERO,
        |metadata| async move {
            let alice = user(&metadata, "alice").await;
            let target = push_by(&alice, "alice/app");
            push_blob(&metadata, &target, b"x").await;
            let id = id_of(&metadata, "alice/app").await;
            let sweeping = Arc::new(std::sync::atomic::AtomicBool::new(true));
            let sweeper = {
                let (metadata, sweeping) = (Arc::clone(&metadata), Arc::clone(&sweeping));
                tokio::spawn(async move {
                    // Pauses of every length: on a slow disk a push would otherwise never fit between two sweeps.
                    for n in (0..8).cycle().take_while(|_| sweeping.load(Ordering::Relaxed)) {
                        let began = Instant::now();
                        sweep(&metadata, 100).await;
                        tokio::time::sleep(began.elapsed() * n).await;
                    }
                })
            };
            for n in 0..40_u8 {
                // Pushed again until the manifest holds it: with no lease at all, a sweep may come between.
                let manifest = loop {
                    let layer = push_blob(&metadata, &target, &[n, n]).await;
                    let config = push_blob(&metadata, &target, b"x").await;
                    let manifest = image(&config, &[(LAYER, &layer)], "");
                    match metadata.put_manifest(target.clone(), manifest.clone()).await {
                        Ok(()) => break manifest,
                        Err(PutError::Missing(_)) => {}
                        Err(other) => panic!("{other}"),
                    }
                };
                for named in &manifest.manifest.references {
                    assert!(metadata.blob_now(id, &named.digest).await.unwrap().is_some());
                }
            }
            sweeping.store(false, Ordering::Relaxed);
            sweeper.await.unwrap();
        },
    );
}

/// A commit that slept until its object was taken for an orphan fails, instead of naming a file that is gone.
#[test]
fn a_claimed_orphan_can_not_be_committed() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let target = push_by(&alice, "alice/app");
        let (late, kept) = (new_blob(b"late"), new_blob(b"kept"));
        metadata.commit_blob(target.clone(), kept.clone()).await.unwrap();
        assert!(!metadata.claim_orphan(kept.object.clone()).await.unwrap(), "it is a blob's");
        assert!(metadata.claim_orphan(late.object.clone()).await.unwrap());
        assert!(metadata.claim_orphan(late.object.clone()).await.unwrap(), "a sweep can be repeated");
        let refused = metadata.commit_blob(target.clone(), late.clone()).await;
        assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
        let refused = metadata.adopt_blob(NewBlob { digest: kept.digest, ..late }, kept.object).await;
        assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
        push_blob(&metadata, &target, b"late").await;
        assert_eq!(metadata.forget_orphans(Timestamp::now().before(Duration::from_secs(60)), 10).await.unwrap(), 0);
        assert_eq!(metadata.forget_orphans(Timestamp::now(), 10).await.unwrap(), 1);
    });
}
