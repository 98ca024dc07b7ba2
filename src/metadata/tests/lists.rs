use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::domain::RepositoryName;

/// R-TGL-02, R-TGL-03, R-TGL-09.
#[test]
fn tags_are_listed_in_byte_order_after_whatever_the_client_says() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let target = push_by(&alice, "alice/app");
        let config = push_blob(&metadata, &target, b"config").await;
        let tags = ["A", "Z", "_x", "a", "a-", "a.b", "a0", "aa", "v1", "v10", "v2"];
        metadata.put_manifest(target, image(&config, &[], "").tagged(&tags)).await.unwrap();
        let id = id_of(&metadata, "alice/app").await;
        let list = async |after: Option<&str>, n| names(metadata.tags(id, after, n).await.unwrap().iter());
        let mut sorted = names(tags);
        sorted.sort();
        assert_eq!(list(None, 100).await, sorted);
        assert_eq!(list(Some("a"), 2).await, ["a-", "a.b"]);
        assert_eq!(list(Some("a+"), 1).await, ["a-"], "no tag, and still a place");
        assert_eq!(list(Some("a\0z"), 1).await, ["a-"]);
        assert_eq!(list(Some("\u{fffd}"), 1).await, [""; 0]);
        assert_eq!(list(None, 0).await, [""; 0]);
    });
}

/// R-TGL-09: what was remembered of a page is forgotten when a tag comes, moves or goes.
#[test]
fn pages_of_tags_follow_every_change() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let target = push_by(&alice, "alice/app");
        let config = push_blob(&metadata, &target, b"config").await;
        let first = image(&config, &[], r#","annotations":{"n":"1"}"#);
        let second = image(&config, &[], r#","annotations":{"n":"2"}"#);
        let of = |image: &NewManifest, tags: &[&str]| image.clone().tagged(tags);
        metadata.put_manifest(target.clone(), of(&first, &["b", "d"])).await.unwrap();
        let id = id_of(&metadata, "alice/app").await;
        let seen = async || {
            let mut pages = Vec::new();
            for (after, count) in [(None, 2), (None, 10), (Some("b"), 2)] {
                let page = async || names(metadata.tags(id, after, count).await.unwrap().iter()).join(" ");
                let asked = page().await;
                assert_eq!(page().await, asked);
                pages.push(asked);
            }
            pages
        };
        assert_eq!(seen().await, ["b d", "b d", "d"]);
        metadata.put_manifest(target.clone(), of(&first, &["c"])).await.unwrap();
        assert_eq!(seen().await, ["b c", "b c d", "c d"]);
        metadata.put_manifest(target.clone(), of(&second, &["d", "a"])).await.unwrap();
        assert_eq!(seen().await, ["a b", "a b c d", "c d"]);
        assert!(metadata.delete_tag(id, "b".parse().unwrap(), origin()).await.unwrap());
        assert_eq!(seen().await, ["a c", "a c d", "c d"]);
        assert!(metadata.delete_manifest(id, second.digest.clone(), origin()).await.unwrap());
        assert_eq!(seen().await, ["c", "c", "c"]);
        // More of them than are remembered.
        for n in 0..40 {
            let after = format!("b{n}");
            assert_eq!(names(metadata.tags(id, Some(&after), 10).await.unwrap().iter()), ["c"]);
        }
        assert_eq!(seen().await, ["c", "c", "c"]);
        assert!(metadata.delete_repository(id, origin()).await.unwrap());
        assert_eq!(seen().await, ["", "", ""]);
    });
}

/// R-CAT-01, R-CAT-02.
#[test]
fn the_catalog_shows_what_its_viewer_may_pull_and_page_by_page_all_of_it() {
    on_each(|metadata| async move {
        let (alice, bob) = (user(&metadata, "alice").await, user(&metadata, "bob").await);
        let mut all = Vec::new();
        // More namespaces than are asked for at once, with names that interleave.
        for n in 0..40 {
            let namespace = if n % 3 == 0 { format!("ns{n}") } else { format!("ns-{n}") };
            let owner = if n % 2 == 0 { &alice } else { &bob };
            for (m, visibility) in Visibility::ALL.into_iter().enumerate() {
                let name = if m == 0 { namespace.clone() } else { format!("{namespace}/r{m}") };
                let target = PushTarget { visibility, ..push_by(owner, &name) };
                push_blob(&metadata, &target, b"x").await;
                all.push((name, visibility, owner.id));
            }
        }
        let viewers =
            [Viewer::Anonymous, Viewer::User(alice.id), Viewer::Robot("ns-1".parse().unwrap()), Viewer::Admin];
        for viewer in viewers {
            let sees = |(name, visibility, owner): &(String, Visibility, UserId)| match &viewer {
                Viewer::Anonymous => *visibility == Visibility::Public,
                Viewer::User(user) => *visibility != Visibility::Private || owner == user,
                Viewer::Robot(namespace) => {
                    *visibility != Visibility::Private
                        || name.parse::<RepositoryName>().unwrap().namespace() == *namespace
                }
                Viewer::Admin => true,
            };
            let expected: BTreeSet<_> =
                all.iter().filter(|repository| sees(repository)).map(|(name, ..)| name.clone()).collect();
            for size in [1, 7, 1000] {
                let (mut seen, mut after) = (Vec::new(), None::<String>);
                loop {
                    let page = names(metadata.catalog(&viewer, after.as_deref(), size).await.unwrap());
                    let Some(last) = page.last() else { break };
                    after = Some(last.clone());
                    seen.extend(page);
                }
                assert_eq!(seen, expected.iter().cloned().collect::<Vec<_>>(), "{viewer:?} by {size}");
            }
        }
        let page = metadata.repositories(&"ns0".parse().unwrap(), Some(&"ns0".parse().unwrap()), 10).await.unwrap();
        assert_eq!(names(page.iter().map(|repository| &repository.name)), ["ns0/r1", "ns0/r2"]);
    });
}

#[test]
fn the_audit_log_is_read_backwards_forwards_and_filtered() {
    on_each(|metadata| async move {
        for n in 0..5 {
            let entry = AuditEntry {
                action: AuditAction::Login,
                target: format!("user:u{}", n % 2),
                detail: Some(format!("wrong password\0{n}")),
                outcome: Outcome::Failure,
                times: n + 1,
            };
            metadata.audit(vec![(entry, origin())]).await.unwrap();
        }
        let all = AuditFilter::default();
        let newest = metadata.audit_log(&all, None, 2).await.unwrap();
        assert_eq!(newest[0].detail.as_deref(), Some("wrong password\u{fffd}4"));
        assert_eq!(newest.iter().map(|entry| entry.times).collect::<Vec<_>>(), [5, 4]);
        let older = metadata.audit_log(&all, Some(newest[1].id), 10).await.unwrap();
        assert_eq!((newest.len(), older.len()), (2, 3));
        let forwards = metadata.audit_export(&all, None, 10).await.unwrap();
        assert_eq!(forwards.iter().rev().cloned().collect::<Vec<_>>(), [newest, older].concat());
        for filter in [
            AuditFilter { target: Some("user:u1".to_owned()), ..all.clone() },
            AuditFilter { target: Some("user:u1".to_owned()), action: Some(AuditAction::Login), ..all.clone() },
            AuditFilter { actor: Some("anonymous".to_owned()), target: Some("user:u1".to_owned()), ..all.clone() },
        ] {
            assert_eq!(metadata.audit_log(&filter, None, 10).await.unwrap().len(), 2, "{filter:?}");
        }
        let none = AuditFilter { action: Some(AuditAction::BlobDelete), ..all };
        assert_eq!(metadata.audit_log(&none, None, 10).await.unwrap(), []);
        for action in AuditAction::ALL {
            assert_eq!(AuditAction::from_word(action.as_str()), Some(action));
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Whatever the tags and wherever the page begins, a list is what sorting and cutting would give.
    #[test]
    fn any_page_of_tags_is_what_sorting_gives(
        tags in proptest::collection::btree_set("[a-zA-Z0-9_][a-zA-Z0-9._-]{0,3}", 1..20),
        after in "[ -~]{0,3}",
        count in 0_usize..8,
    ) {
        on_each(|metadata| {
            let (tags, after) = (tags.clone(), after.clone());
            async move {
                let alice = user(&metadata, "alice").await;
                let target = push_by(&alice, "alice/app");
                let config = push_blob(&metadata, &target, b"config").await;
                let listed: Vec<_> = tags.iter().map(String::as_str).collect();
                metadata.put_manifest(target, image(&config, &[], "").tagged(&listed)).await.unwrap();
                let id = id_of(&metadata, "alice/app").await;
                let page = names(metadata.tags(id, Some(&after), count).await.unwrap().iter());
                let expected: Vec<_> = tags.into_iter().filter(|tag| *tag > after).take(count).collect();
                assert_eq!(page, expected);
            }
        });
    }
}
