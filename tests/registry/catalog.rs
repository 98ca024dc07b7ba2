//! The catalog: the repositories that the caller may pull from.

use crate::harness::{Challenge, TestRegistry};
use crate::tags::pages;

/// R-CAT-01, R-LOC-06, C-POD-08: repositories in byte order, page by page, as tags.
#[tokio::test]
async fn repositories_are_listed_page_by_page() {
    let registry = TestRegistry::start().await;
    let alice = registry.user("alice").await;
    let names = ["a", "a-b/c", "a/b", "a/b/c", "a0", "blobs/uploads", "z"];
    for name in names {
        alice.push_blob(name, b"x").await;
    }
    let all = alice.get("/v2/_catalog").await;
    all.is(200).has("content-type", "application/json").lacks("link");
    assert_eq!(all.json(), serde_json::json!({ "repositories": names }));
    for n in 1..=8 {
        let found = pages(&alice, &format!("/v2/_catalog?n={n}"), "repositories").await;
        assert!(found[..found.len() - 1].iter().all(|page| page.len() == n), "{found:?}");
        assert_eq!(found.concat(), names, "n={n}");
        assert_eq!(found.len(), names.len().div_ceil(n), "n={n}: {found:?}");
    }
    for (query, expected) in [
        ("n=0", &[][..]),
        ("last=a/b", &["a/b/c", "a0", "blobs/uploads", "z"]),
        ("last=a%2Fb&n=1", &["a/b/c"]),
        ("last=zz", &[]),
        ("last=A", &names),
    ] {
        assert_eq!(
            alice.get(&format!("/v2/_catalog?{query}")).await.is(200).strings("repositories"),
            expected,
            "{query}"
        );
    }
    alice.get("/v2/_catalog?n=0").await.lacks("link");
}

/// R-CAT-03, R-CAT-01: a bad page size is refused, a huge one cut down.
#[tokio::test]
async fn the_page_size_is_checked() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    for n in ["-1", "x", "", "1.5"] {
        alice.get(&format!("/v2/_catalog?n={n}")).await.is_error(400, "UNSUPPORTED");
    }
    for n in ["1000000", "99999999999999999999999"] {
        alice.get(&format!("/v2/_catalog?n={n}")).await.is(200);
    }
}

/// R-CAT-02, I4: each caller sees what they may pull, however small the pages are.
#[tokio::test]
async fn everybody_sees_their_own_catalog() {
    let registry = TestRegistry::start().await;
    let alice = registry.user("alice").await;
    let bob = registry.user("bob").await;
    let admin = registry.admin().await;
    let mut public = Vec::new();
    let mut internal = Vec::new();
    let mut all = Vec::new();
    let mut own = Vec::new();
    for n in 0..12 {
        let name = alice.repository(&format!("r{n:02}"));
        alice.push_blob(&name, b"x").await;
        own.push(name.clone());
        match n % 3 {
            0 => {
                alice.set_visibility(&name, "public").await;
                public.push(name.clone());
                internal.push(name.clone());
            }
            1 => {
                alice.set_visibility(&name, "internal").await;
                internal.push(name.clone());
            }
            _ => {}
        }
        all.push(name);
    }
    let secret = bob.repository("secret");
    bob.push_blob(&secret, b"x").await;
    all.push(secret.clone());
    let mut bobs = internal.clone();
    bobs.push(secret);
    for names in [&mut all, &mut bobs] {
        names.sort();
    }
    let nobody = registry.anonymous().scoped(&["registry:catalog:*"]).await;
    for (client, expected) in [(&nobody, &public), (&alice, &own), (&bob, &bobs), (&admin, &all)] {
        for n in [1, 2, 5, 100] {
            let found = pages(client, &format!("/v2/_catalog?n={n}"), "repositories").await;
            assert!(found[..found.len() - 1].iter().all(|page| page.len() == n), "n={n}: {found:?}");
            assert_eq!(found.concat(), *expected, "n={n}");
        }
    }
    // A change is seen at once.
    alice.set_visibility(&own[0], "private").await;
    assert_eq!(nobody.get("/v2/_catalog").await.strings("repositories"), public[1..]);
}

/// R-CAT-02, R-SCP-05, R-CAT-04, R-AUZ-03: without the scope there is a challenge for it, and everybody is granted it.
#[tokio::test]
async fn the_catalog_wants_its_scope() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    alice.push_blob(&app, b"x").await;
    let reply = registry.anonymous().get("/v2/_catalog").await;
    let challenge = Challenge::of(reply.is_error(401, "UNAUTHORIZED"));
    assert_eq!((challenge.scope.as_deref(), challenge.error), (Some("registry:catalog:*"), None));
    let narrow = alice.scoped(&[&format!("repository:{app}:pull")]).await;
    let narrow_nobody = registry.anonymous().scoped(&[&format!("repository:{app}:pull")]).await;
    for client in [narrow, narrow_nobody] {
        let challenge = Challenge::of(client.get("/v2/_catalog").await.is_error(401, "UNAUTHORIZED"));
        assert_eq!(challenge.scope.as_deref(), Some("registry:catalog:*"));
        assert_eq!(challenge.error.as_deref(), Some("insufficient_scope"));
    }
    // A token of nobody that was asked for without a scope carries all that nobody may do.
    let nobody = registry.anonymous().log_in().await;
    assert!(!nobody.get("/v2/_catalog").await.is(200).strings("repositories").contains(&app));
    let scoped = alice.scoped(&["registry:catalog:*"]).await;
    let from = format!("/v2/_catalog?n=1&last={}", alice.repository("ap").replace('/', "%2F"));
    for client in [&scoped, &alice.with_basic(), &alice] {
        assert_eq!(client.get(&from).await.is(200).strings("repositories"), [app.as_str()]);
    }
}
