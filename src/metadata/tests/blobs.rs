use super::*;

#[test]
fn a_first_push_claims_the_namespace_and_makes_the_repository() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let target = push_by(&alice, "team/app");
        let blob = new_blob(b"layer");
        assert_eq!(metadata.commit_blob(target, blob.clone()).await.unwrap(), BlobCommit::Kept);
        let repository = metadata.repository(&"team/app".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!((repository.visibility, repository.creator), (Visibility::Private, Some(alice.name.clone())));
        let facts = metadata.facts(&"team/app".parse().unwrap(), Some(alice.id)).await.unwrap();
        assert_eq!(facts.role, Some(Role::Owner));
        let found = metadata.blob(repository.id, &blob.digest).await.unwrap().unwrap();
        assert_eq!(found, Blob { object: blob.object, size: 5, damaged: false });
        let log = metadata.audit_log(&AuditFilter::default(), None, 10).await.unwrap();
        assert_eq!(
            names(log.iter().map(|entry| &entry.action)),
            ["repository.create", "namespace.claim", "user.create"]
        );
        assert_eq!(&*log[0].actor, "user:alice");
    });
}

#[test]
fn whoever_may_not_push_changes_nothing() {
    on_each(|metadata| async move {
        let (alice, mallory) = (user(&metadata, "alice").await, user(&metadata, "mallory").await);
        let denied = metadata.commit_blob(push_by(&mallory, "alice/app"), new_blob(b"x")).await;
        assert!(matches!(denied, Err(Error::Denied)), "{denied:?}");
        assert!(metadata.repository(&"alice/app".parse().unwrap()).await.unwrap().is_none());
        push_blob(&metadata, &push_by(&alice, "alice/app"), b"x").await;
        let denied = metadata.commit_blob(push_by(&mallory, "alice/app"), new_blob(b"x")).await;
        assert!(matches!(denied, Err(Error::Denied)), "{denied:?}");
        let robot = Origin {
            actor: Actor::Robot { id: TokenId::from_number(1), name: "ci".into(), namespace: "free".parse().unwrap() },
            ..origin()
        };
        let claims = PushTarget { origin: robot, ..push_freely(&mallory, "free/app") };
        let denied = metadata.commit_blob(claims, new_blob(b"x")).await;
        assert!(matches!(denied, Err(Error::Denied)), "a machine owns no namespace: {denied:?}");
    });
}

/// I4, R-BLB-01.
#[test]
fn a_blob_is_served_only_through_what_links_it() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let digest = push_blob(&metadata, &push_by(&alice, "alice/a"), b"layer").await;
        push_blob(&metadata, &push_by(&alice, "alice/b"), b"other").await;
        assert!(metadata.blob(id_of(&metadata, "alice/a").await, &digest).await.unwrap().is_some());
        assert!(metadata.blob(id_of(&metadata, "alice/b").await, &digest).await.unwrap().is_none());
    });
}

/// R-UPL-35, and a re-push heals.
#[test]
fn the_same_bytes_again_keep_the_first_object_unless_it_is_damaged() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let target = push_by(&alice, "alice/app");
        let (first, second) = (new_blob(b"layer"), new_blob(b"layer"));
        metadata.commit_blob(target.clone(), first.clone()).await.unwrap();
        let id = id_of(&metadata, "alice/app").await;
        let present = Blob { object: first.object.clone(), size: 5, damaged: false };
        let again = metadata.commit_blob(target.clone(), second.clone()).await.unwrap();
        assert_eq!(again, BlobCommit::Present(present.clone()));

        assert!(metadata.blob(id, &first.digest).await.unwrap().is_some());
        assert!(metadata.mark_damaged(first.digest.clone(), first.object.clone()).await.unwrap());
        assert!(metadata.blob(id, &first.digest).await.unwrap().unwrap().damaged);
        let damaged = metadata.commit_blob(target.clone(), second.clone()).await.unwrap();
        assert_eq!(damaged, BlobCommit::Present(Blob { damaged: true, ..present }));
        assert!(metadata.adopt_blob(second.clone(), first.object.clone()).await.unwrap());
        let healed = metadata.blob(id, &first.digest).await.unwrap().unwrap();
        assert_eq!((healed.object, healed.damaged), (second.object.clone(), false));
        let third = new_blob(b"layer");
        assert!(!metadata.adopt_blob(third, first.object.clone()).await.unwrap(), "somebody else healed it");
        assert!(!metadata.mark_damaged(first.digest, first.object).await.unwrap(), "that object is not the blob's");
    });
}

/// R-BDL-01 to R-BDL-03.
#[test]
fn a_blob_that_a_manifest_names_is_not_deleted() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let target = push_by(&alice, "alice/app");
        let (config, layer) =
            (push_blob(&metadata, &target, b"config").await, push_blob(&metadata, &target, b"layer").await);
        let id = id_of(&metadata, "alice/app").await;
        let image = image(&config, &[(LAYER, &layer)], "");
        metadata.put_manifest(target.clone(), image.clone()).await.unwrap();
        let delete = async |digest: &Digest| metadata.delete_blob(id, digest.clone(), as_user(&alice)).await.unwrap();
        assert_eq!(delete(&layer).await, DeleteBlob::Referenced(1));
        assert!(metadata.delete_manifest(id, image.digest, origin()).await.unwrap());
        assert_eq!(delete(&layer).await, DeleteBlob::Deleted);
        assert_eq!(delete(&layer).await, DeleteBlob::Unknown);
        assert!(metadata.blob(id, &layer).await.unwrap().is_none());
        let filter = AuditFilter { action: Some(AuditAction::BlobDelete), ..AuditFilter::default() };
        let log = metadata.audit_log(&filter, None, 10).await.unwrap();
        assert_eq!(names(log.iter().map(|entry| &entry.target)), [format!("blob:alice/app@{layer}")]);
    });
}

#[test]
fn a_lease_is_renewed_only_once_half_of_it_is_spent() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let digest = push_blob(&metadata, &push_by(&alice, "alice/app"), b"layer").await;
        let id = id_of(&metadata, "alice/app").await;
        let until = async || metadata.leased_until(id, &digest).await;
        let hours = |hours: u64| Timestamp::now().after(Duration::from_secs(hours * 3600));
        let (most, little) = (hours(13), hours(11));
        metadata.set_leases(most).await;
        assert!(metadata.renew_lease(id, &digest).await.unwrap());
        assert_eq!(until().await, most);
        metadata.set_leases(little).await;
        assert!(metadata.renew_lease(id, &digest).await.unwrap());
        assert!(until().await > hours(23));
        assert!(!metadata.renew_lease(id, &digest_of(b"other")).await.unwrap());
    });
}

/// R-MNT-01, R-MNT-02, R-MNT-07.
#[test]
fn a_mount_links_what_its_source_links() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let digest = push_blob(&metadata, &push_by(&alice, "alice/from"), b"layer").await;
        let from = id_of(&metadata, "alice/from").await;
        let to = push_by(&alice, "alice/to");
        let mount = async |from, digest: &Digest| metadata.mount_blob(to.clone(), from, digest.clone()).await.unwrap();
        assert!(!mount(Some(from), &digest_of(b"unknown")).await);
        assert!(!mount(None, &digest).await);
        let absent = metadata.repository(&"alice/to".parse().unwrap()).await.unwrap();
        assert!(absent.is_none(), "a mount that fails makes no repository");
        assert!(mount(Some(from), &digest).await);
        let to_id = id_of(&metadata, "alice/to").await;
        assert!(metadata.blob(to_id, &digest).await.unwrap().is_some());
        assert!(mount(None, &digest).await, "linked here already");
        let object = metadata.blob(from, &digest).await.unwrap().unwrap().object;
        metadata.mark_damaged(digest.clone(), object).await.unwrap();
        assert!(!mount(Some(from), &digest).await, "what is damaged is better pushed again");
    });
}

/// R-MNT-03, R-MNT-04.
#[test]
fn a_mount_without_a_source_finds_what_is_within_reach() {
    on_each(|metadata| async move {
        let (alice, bob) = (user(&metadata, "alice").await, user(&metadata, "bob").await);
        let digest = push_blob(&metadata, &push_by(&alice, "alice/app"), b"layer").await;
        let id = id_of(&metadata, "alice/app").await;
        let find = async |reach: Reach| metadata.find_blob(&digest, &reach).await.unwrap();
        let named = |name: &str| Reach::Public { and: vec![name.parse().unwrap()] };
        assert_eq!(find(Reach::Public { and: Vec::new() }).await, None);
        assert_eq!(find(named("alice/other")).await, None);
        assert_eq!(find(named("alice/app")).await, Some(id));
        assert_eq!(find(Reach::All(Viewer::User(bob.id))).await, None);
        assert_eq!(find(Reach::All(Viewer::User(alice.id))).await, Some(id));
        assert_eq!(find(Reach::All(Viewer::Robot("alice".parse().unwrap()))).await, Some(id));
        assert_eq!(find(Reach::All(Viewer::Admin)).await, Some(id));
        metadata.set_visibility(id, Visibility::Internal, origin()).await.unwrap();
        assert_eq!(find(Reach::All(Viewer::User(bob.id))).await, Some(id));
        assert_eq!(find(Reach::All(Viewer::Anonymous)).await, None);
        metadata.set_visibility(id, Visibility::Public, origin()).await.unwrap();
        assert_eq!(find(Reach::Public { and: Vec::new() }).await, Some(id));
        assert_eq!(find(Reach::All(Viewer::Anonymous)).await, Some(id));
    });
}

/// R-MNT-02, R-MNT-06: links beyond the first are not searched, which costs a push; named, they are found.
#[test]
fn a_mount_without_a_source_looks_at_some_links_only() {
    on_each(|metadata| async move {
        let (alice, bob) = (user(&metadata, "alice").await, user(&metadata, "bob").await);
        let digest = push_blob(&metadata, &push_by(&bob, "bob/app0"), b"layer").await;
        let from = id_of(&metadata, "bob/app0").await;
        let mount = async |to: PushTarget, from| metadata.mount_blob(to, Some(from), digest.clone()).await.unwrap();
        for n in 1..64 {
            assert!(mount(push_by(&bob, &format!("bob/app{n}")), from).await);
        }
        assert!(mount(push_by(&alice, "alice/app"), from).await);
        let last = id_of(&metadata, "alice/app").await;
        let find = async |reach: Reach| metadata.find_blob(&digest, &reach).await.unwrap();
        assert_eq!(find(Reach::All(Viewer::User(alice.id))).await, None);
        assert_eq!(find(Reach::Public { and: vec!["alice/app".parse().unwrap()] }).await, Some(last));
        assert!(mount(push_by(&alice, "alice/other"), last).await);
        let origin = as_user(&bob);
        metadata.delete_blob(from, digest.clone(), origin).await.unwrap();
        assert_eq!(find(Reach::All(Viewer::User(alice.id))).await, Some(last));
    });
}
