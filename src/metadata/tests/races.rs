use futures_util::future::join_all;

use super::*;

/// R-CLI: many pushes at once create the same repository, and all are linked.
#[test]
fn sixteen_pushes_at_once_make_one_repository() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let pushes = (0..16_u8).map(|n| {
            let (metadata, target) = (Arc::clone(&metadata), push_by(&alice, "team/app"));
            tokio::spawn(async move { metadata.commit_blob(target, new_blob(&[n])).await.unwrap() })
        });
        for push in join_all(pushes).await {
            assert_eq!(push.unwrap(), BlobCommit::Kept);
        }
        let id = id_of(&metadata, "team/app").await;
        for n in 0..16_u8 {
            assert!(metadata.blob(id, &digest_of(&[n])).await.unwrap().is_some());
        }
    });
}

#[test]
fn the_same_blob_pushed_at_once_is_kept_once() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let pushes = (0..16).map(|n| {
            let (metadata, target) = (Arc::clone(&metadata), push_by(&alice, &format!("team/app{}", n % 4)));
            tokio::spawn(async move { metadata.commit_blob(target, new_blob(b"same")).await.unwrap() })
        });
        let outcomes: Vec<_> = join_all(pushes).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == BlobCommit::Kept).count(), 1);
    });
}

/// Two who push the first blob of a namespace: one gets it, the other is denied.
#[test]
fn whoever_loses_the_race_for_a_namespace_is_denied() {
    on_each(|metadata| async move {
        let mut users = Vec::new();
        for n in 0..8 {
            users.push(user(&metadata, &format!("user{n}")).await);
        }
        for round in 0..5 {
            let pushes = users.iter().map(|account| {
                let target = push_by(account, &format!("team{round}/{}", account.name));
                let metadata = Arc::clone(&metadata);
                tokio::spawn(async move { metadata.commit_blob(target, new_blob(b"x")).await })
            });
            let outcomes: Vec<_> = join_all(pushes).await.into_iter().map(Result::unwrap).collect();
            let denied = outcomes.iter().filter(|outcome| matches!(outcome, Err(Error::Denied))).count();
            assert_eq!((outcomes.iter().filter(|outcome| outcome.is_ok()).count(), denied), (1, 7), "{outcomes:?}");
        }
    });
}

/// A change that fails takes nothing with it that shares its transaction.
#[test]
fn a_failed_change_undoes_itself_and_nothing_else() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let mallory = user(&metadata, "mallory").await;
        let changes = (0..60_u8).map(|n| {
            let metadata = Arc::clone(&metadata);
            let who = if n % 3 == 0 { &mallory } else { &alice };
            let target = push_by(who, &format!("alice/app{}", n % 5));
            tokio::spawn(async move {
                match n % 3 {
                    0 | 1 => metadata.commit_blob(target, new_blob(&[n])).await.is_ok(),
                    _ => {
                        let missing = image(&digest_of(b"missing"), &[], &format!(r#","n":{n}"#));
                        metadata.put_manifest(target, missing).await.is_ok()
                    }
                }
            })
        });
        let done: Vec<_> = join_all(changes).await.into_iter().map(Result::unwrap).collect();
        for (n, done) in (0..60_u8).zip(done) {
            assert_eq!(done, n % 3 == 1, "{n}");
            if n % 3 == 1 {
                let id = id_of(&metadata, &format!("alice/app{}", n % 5)).await;
                assert!(metadata.blob_now(id, &digest_of(&[n])).await.unwrap().is_some());
            }
        }
    });
}

/// A change that panics is nobody else's affair.
#[test]
fn a_judge_that_panics_hurts_nobody_else() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let target = PushTarget { judge: Arc::new(|_| panic!("a bug")), ..push_by(&alice, "alice/app") };
        let (panicked, fine) = tokio::join!(
            metadata.commit_blob(target, new_blob(b"x")),
            metadata.commit_blob(push_by(&alice, "alice/other"), new_blob(b"y")),
        );
        assert!(matches!(panicked, Err(Error::Closed)), "{panicked:?}");
        fine.unwrap();
        push_blob(&metadata, &push_by(&alice, "alice/app"), b"x").await;
    });
}

/// A tag that moves is read moved by whoever asks after the push was answered, and never missed.
#[test]
fn a_moved_tag_is_seen_at_once_and_never_missing() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let target = push_by(&alice, "alice/app");
        let config = push_blob(&metadata, &target, b"config").await;
        let start = image(&config, &[], "").tagged(&["latest"]);
        metadata.put_manifest(target.clone(), start).await.unwrap();
        let id = id_of(&metadata, "alice/app").await;
        let reading = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let (metadata, reading) = (Arc::clone(&metadata), Arc::clone(&reading));
                tokio::spawn(async move {
                    while reading.load(Ordering::Relaxed) {
                        assert!(metadata.manifest(id, &by_tag("latest")).await.unwrap().is_some());
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        let mut before = None;
        for n in 0..60 {
            let next = image(&config, &[], &format!(r#","n":{n}"#)).tagged(&["latest"]);
            metadata.put_manifest(target.clone(), next.clone()).await.unwrap();
            let seen = metadata.manifest(id, &by_tag("latest")).await.unwrap().unwrap();
            assert_eq!(seen.digest, next.digest);
            if let Some(old) = before.replace(next.digest) {
                metadata.delete_manifest(id, old, origin()).await.unwrap();
            }
        }
        reading.store(false, Ordering::Relaxed);
        for reader in readers {
            reader.await.unwrap();
        }
    });
}

/// A tag moves while the manifest it named goes, as where the old is pruned once the new is pushed.
#[test]
fn a_tag_that_moves_while_its_old_manifest_goes_is_there() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let target = push_by(&alice, "alice/app");
        let config = push_blob(&metadata, &target, b"config").await;
        let mut old = image(&config, &[], "").tagged(&["latest"]);
        metadata.put_manifest(target.clone(), old.clone()).await.unwrap();
        let id = id_of(&metadata, "alice/app").await;
        for n in 0..200 {
            let new = image(&config, &[], &format!(r#","n":{n}"#)).tagged(&["latest"]);
            let put = tokio::spawn({
                let (metadata, target, new) = (Arc::clone(&metadata), target.clone(), new.clone());
                async move { metadata.put_manifest(target, new).await }
            });
            let delete = tokio::spawn({
                let (metadata, old) = (Arc::clone(&metadata), old.digest.clone());
                async move {
                    tokio::time::sleep(Duration::from_micros(n % 20 * 100)).await;
                    metadata.delete_manifest(id, old, origin()).await
                }
            });
            put.await.unwrap().unwrap();
            assert!(delete.await.unwrap().unwrap());
            let seen = metadata.manifest(id, &by_tag("latest")).await.unwrap();
            assert_eq!(seen.map(|manifest| manifest.digest), Some(new.digest.clone()), "round {n}");
            old = new;
        }
    });
}

/// A blob is deleted while manifests come to name it: it is there if one does.
#[test]
fn a_manifest_and_the_deletion_of_its_blob_never_both_win() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let target = push_by(&alice, "alice/app");
        let config = push_blob(&metadata, &target, b"config").await;
        let id = id_of(&metadata, "alice/app").await;
        for n in 0..30_u8 {
            let layer = push_blob(&metadata, &target, &[n, n]).await;
            let manifest = image(&config, &[(LAYER, &layer)], "");
            let (put, deleted) = {
                let (one, other) = (Arc::clone(&metadata), Arc::clone(&metadata));
                let (target, manifest, layer) = (target.clone(), manifest.clone(), layer.clone());
                let put = tokio::spawn(async move { one.put_manifest(target, manifest).await });
                let deleted = tokio::spawn(async move { other.delete_blob(id, layer, origin()).await });
                (put.await.unwrap(), deleted.await.unwrap().unwrap())
            };
            let there = metadata.blob_now(id, &layer).await.unwrap().is_some();
            match (put, deleted) {
                (Ok(()), DeleteBlob::Referenced(1)) => assert!(there),
                (Err(PutError::Missing(missing)), DeleteBlob::Deleted) => assert!(!there && missing == [layer]),
                other => panic!("{other:?}"),
            }
        }
    });
}

/// A layer that need not be here comes at the same moment as the manifest that names it: it is held.
#[test]
fn a_foreign_layer_that_comes_at_the_same_moment_is_held() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let target = push_by(&alice, "alice/app");
        let config = push_blob(&metadata, &target, b"config").await;
        let id = id_of(&metadata, "alice/app").await;
        for n in 0..30_u8 {
            let layer = digest_of(&[n, n]);
            let manifest = image(&config, &[(FOREIGN, &layer)], "");
            let (one, other) = (Arc::clone(&metadata), Arc::clone(&metadata));
            let (to, from) = (target.clone(), target.clone());
            let put = tokio::spawn(async move { one.put_manifest(to, manifest).await });
            let pushed = tokio::spawn(async move { other.commit_blob(from, new_blob(&[n, n])).await });
            put.await.unwrap().unwrap();
            pushed.await.unwrap().unwrap();
            let deleted = metadata.delete_blob(id, layer, origin()).await.unwrap();
            assert_eq!(deleted, DeleteBlob::Referenced(1), "round {n}");
        }
    });
}

/// Whoever gives up waiting leaves nothing half done.
#[test]
fn a_caller_who_goes_away_leaves_a_whole_change() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let target = push_by(&alice, "alice/app");
        push_blob(&metadata, &target, b"x").await;
        for n in 0..20_u8 {
            let push = metadata.commit_blob(target.clone(), new_blob(&[n]));
            let _ = tokio::time::timeout(Duration::from_micros(u64::from(n) * 50), push).await;
        }
        push_blob(&metadata, &target, b"last").await;
        let id = id_of(&metadata, "alice/app").await;
        assert!(metadata.blob(id, &digest_of(b"last")).await.unwrap().is_some());
    });
}

/// Nothing acknowledged is lost when the process ends without closing.
#[test]
fn what_was_acknowledged_is_there_for_the_next_process() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let other = Metadata::open(&metadata.options).await.unwrap();
        let digest = push_blob(&other, &push_by(&alice, "alice/app"), b"x").await;
        let next = Metadata::open(&metadata.options).await.unwrap();
        assert!(next.blob(id_of(&next, "alice/app").await, &digest).await.unwrap().is_some());
        next.close().await;
        other.close().await;
        let closed = other.commit_blob(push_by(&alice, "alice/app"), new_blob(b"y")).await;
        assert!(matches!(closed, Err(Error::Closed)), "{closed:?}");
    });
}
