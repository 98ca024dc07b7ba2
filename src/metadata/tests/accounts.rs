use super::*;

#[test]
fn a_username_and_its_namespace_are_taken_together() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        assert_eq!(metadata.account(&alice.name).await.unwrap(), Some(alice.clone()));
        assert_eq!(metadata.account_by_id(alice.id).await.unwrap(), Some(alice.clone()));
        let again = metadata.create_user(new_user("alice"), origin()).await;
        assert!(matches!(again, Err(CreateUserError::Taken)), "{again:?}");
        let facts = metadata.facts(&"alice/app".parse().unwrap(), Some(alice.id)).await.unwrap();
        assert!(facts.claimed && facts.role == Some(crate::domain::Role::Owner) && facts.repository.is_none());
        let others = metadata.facts(&"bob/app".parse().unwrap(), Some(alice.id)).await.unwrap();
        assert!(!others.claimed && others.role.is_none());
        let log = metadata.audit_log(&AuditFilter::default(), None, 10).await.unwrap();
        assert_eq!(log.len(), 1);
        assert_eq!((&*log[0].action, &*log[0].target, &*log[0].actor), ("user.create", "user:alice", "anonymous"));
        assert_eq!((log[0].address, log[0].request.as_deref()), (origin().address, Some("request-1")));
    });
}

#[test]
fn what_ends_tokens_is_seen_at_once() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let name = alice.name.clone();
        let seen = async || metadata.account(&name).await.unwrap().unwrap();
        assert_eq!(seen().await.epoch, alice.epoch);
        let changed = metadata.set_password(alice.id, PasswordHash::new("new"), None, origin()).await.unwrap().unwrap();
        assert_ne!(changed.epoch, alice.epoch);
        assert_eq!(seen().await.epoch, changed.epoch);
        let credentials = metadata.credentials(&name).await.unwrap().unwrap();
        assert_eq!((credentials.password_hash.as_str(), credentials.pepper_id), ("new", None));
        metadata.set_disabled(alice.id, true, origin()).await.unwrap().unwrap();
        assert!(seen().await.disabled);
        metadata.set_admin(alice.id, true, origin()).await.unwrap().unwrap();
        assert!(seen().await.admin);
        assert!(!metadata.has_admin().await.unwrap(), "a disabled admin cannot log in");
        assert!(metadata.delete_user(alice.id, origin()).await.unwrap());
        assert_eq!(metadata.account(&name).await.unwrap(), None);
        assert_eq!(metadata.account_by_id(alice.id).await.unwrap(), None);
        // The name is free again, and nobody who takes it is who had it.
        let next = user(&metadata, "alice").await;
        assert_ne!(next.id, alice.id);
    });
}

#[test]
fn a_hash_is_replaced_only_while_it_is_the_current_one() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let old = PasswordHash::new("$argon2id$…");
        let better = PasswordHash::new("better");
        assert!(metadata.rehash(alice.id, old.clone(), better.clone(), None).await.unwrap());
        assert!(!metadata.rehash(alice.id, old, better, None).await.unwrap());
        assert_eq!(metadata.account(&alice.name).await.unwrap().unwrap().epoch, alice.epoch);
    });
}

#[test]
fn users_are_listed_in_byte_order_page_by_page() {
    on_each(|metadata| async move {
        for name in ["b", "a-b", "a.b", "a0", "a"] {
            user(&metadata, name).await;
        }
        let mut names = Vec::new();
        let mut after: Option<Username> = None;
        loop {
            let page = metadata.users(after.as_ref(), 2).await.unwrap();
            names.extend(page.iter().map(|user| user.account.name.to_string()));
            let Some(last) = page.last() else { break };
            after = Some(last.account.name.clone());
        }
        assert_eq!(names, ["a", "a-b", "a.b", "a0", "b"]);
        assert_eq!(metadata.count_users().await.unwrap(), 5);
    });
}

#[test]
fn a_setting_is_made_once_by_whoever_comes_first() {
    on_each(|metadata| async move {
        let both = tokio::join!(
            metadata.setting_or_insert("id", "one".to_owned()),
            metadata.setting_or_insert("id", "two".to_owned()),
        );
        let (first, second) = (both.0.unwrap(), both.1.unwrap());
        assert_eq!(first, second);
        assert_eq!(metadata.setting("id").await.unwrap(), Some(first));
        metadata.set_setting("id", "three".to_owned()).await.unwrap();
        assert_eq!(metadata.setting("id").await.unwrap().as_deref(), Some("three"));
    });
}

/// Replicas start at once on the same database, new or not.
#[test]
fn replicas_that_start_together_migrate_once() {
    on_each(|metadata| async move {
        let opened = futures_util::future::join_all((0..4).map(|_| Metadata::open(&metadata.options))).await;
        for replica in opened {
            let replica = replica.unwrap();
            replica.ping().await.unwrap();
            replica.close().await;
        }
    });
}

/// The command line writes while the server runs.
#[test]
fn what_another_process_writes_is_seen_soon() {
    on_each_with(
        |options| (options.poll, options.staleness) = (Duration::from_millis(10), Duration::from_millis(10)),
        |metadata| async move {
            let alice = user(&metadata, "alice").await;
            assert!(!metadata.account(&alice.name).await.unwrap().unwrap().disabled);
            let other = Metadata::open(&metadata.options).await.unwrap();
            other.set_disabled(alice.id, true, Origin::system()).await.unwrap();
            let seen = async || metadata.account(&alice.name).await.unwrap().unwrap().disabled;
            for _ in 0..200 {
                if seen().await {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert!(seen().await);
            other.close().await;
        },
    );
}
