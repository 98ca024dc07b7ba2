//! end-11: a blob from another repository, without its bytes.

use crate::harness::{Challenge, Client, Reply, TestRegistry, sha256, unique, unique_name};

async fn mount(client: &Client, to: &str, query: &str) -> Reply {
    client.post(&format!("/v2/{to}/blobs/uploads/?{query}")).await
}

#[track_caller]
fn is_mounted(reply: &Reply, to: &str, digest: &str) {
    reply.is(201).has("location", &format!("/v2/{to}/blobs/{digest}")).has("docker-content-digest", digest);
    reply.has("content-length", "0");
}

/// R-MNT-02, R-LOC-05, V-U20: nothing was mounted, and an ordinary session has begun.
#[track_caller]
fn is_a_session(reply: &Reply, to: &str) {
    reply.is(202).has("range", "0-0").lacks("docker-content-digest");
    assert!(reply.header("location").starts_with(&format!("/v2/{to}/blobs/uploads/")), "{reply:?}");
    assert!(!reply.header("docker-upload-uuid").is_empty());
}

/// R-MNT-01, R-MNT-07, R-MNT-08, R-BLB-04, H-15, V-U18, V-U19: a blob of another repository that one may read is linked.
#[tokio::test]
async fn a_blob_is_mounted_from_a_readable_repository() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let bob = registry.user("bob").await;
    let (app, public) = (alice.repository("app"), bob.repository("public"));
    let bytes = unique(3000);
    let digest = bob.push_blob(&public, &bytes).await;
    bob.set_visibility(&public, "public").await;
    is_mounted(&mount(&alice, &app, &format!("mount={digest}&from={public}")).await, &app, &digest);
    let head = alice.head(&format!("/v2/{app}/blobs/{digest}")).await;
    head.is(200).has("content-length", "3000");
    // Linked here for good, whatever happens there.
    bob.delete(&format!("/v2/{public}/blobs/{digest}")).await.is(202);
    alice.get(&format!("/v2/{app}/blobs/{digest}")).await.is(200).has_body(&bytes);
}

/// R-MNT-07, R-DIG-07, R-GEN-06: every spelling that clients use is understood.
#[tokio::test]
async fn a_mount_is_understood_in_every_spelling() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let from = alice.repository("from");
    let digest = alice.push_blob(&from, &unique(10)).await;
    let (slash, colon) = (from.replace('/', "%2F"), digest.replace(':', "%3A"));
    for (n, query) in [
        format!("mount={digest}&from={from}"),
        format!("from={slash}&mount={colon}"),
        format!("mount={colon}&from={slash}&origin=registry.example"),
        format!("x=1&mount={digest}&ns=docker.io&from={from}"),
    ]
    .iter()
    .enumerate()
    {
        let to = alice.repository(&format!("to-{n}"));
        let post = alice.post(&format!("/v2/{to}/blobs/uploads/?{query}")).header("content-type", "application/json");
        is_mounted(&post.body("").await, &to, &digest);
        alice.get(&format!("/v2/{to}/blobs/{digest}")).await.is(200);
    }
}

/// R-MNT-07: what is linked here already needs no mount, wherever it is said to come from.
#[tokio::test]
async fn a_blob_that_is_here_is_mounted_from_anywhere() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let digest = alice.push_blob(&app, &unique(10)).await;
    for from in [format!("&from={app}"), format!("&from={}", alice.repository("none")), String::new()] {
        is_mounted(&mount(&alice, &app, &format!("mount={digest}{from}")).await, &app, &digest);
    }
}

/// R-MNT-02, R-DIG-03, H-17, V-U17, C-CTD-07, C-BKT-05: whatever cannot be mounted is an ordinary start, never an error.
#[tokio::test]
async fn what_cannot_be_mounted_starts_a_session() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let bob = registry.user("bob").await;
    let (app, from) = (alice.repository("app"), alice.repository("from"));
    let secret = bob.repository("secret");
    let hidden = bob.push_blob(&secret, &unique(10)).await;
    let present = alice.push_blob(&from, &unique(10)).await;
    let unknown = sha256(&unique(10));
    for query in [
        format!("mount={unknown}&from={from}"),
        format!("mount={present}&from={}", alice.repository("none")),
        format!("mount={hidden}&from={secret}"),
        format!("mount={hidden}&from={from}"),
        format!("mount={hidden}"),
        format!("mount={unknown}"),
        format!("mount=sha256:bad&from={from}"),
        format!("mount=&from={from}"),
        format!("mount=blake3:{}&from={from}", "a".repeat(64)),
        format!("mount={present}&from=NOT/a/name"),
        format!("mount={present}&from=a//b"),
        format!("mount={}&from=", unknown),
        format!("from={from}"),
    ] {
        let reply = mount(&alice, &app, &query).await;
        is_a_session(&reply, &app);
    }
    // It is a session like any other.
    let bytes = unique(10);
    let reply = mount(&alice, &app, &format!("mount={}&from={from}", sha256(&bytes))).await;
    let put = alice.put(&format!("{}?digest={}", reply.header("location"), sha256(&bytes)));
    put.body(bytes).await.is(201);
}

/// R-MNT-03, H-16, V-U21, C-REG-01: without `from`, any repository that the caller may read will do.
#[tokio::test]
async fn a_blob_is_found_in_any_public_repository() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let bob = registry.user("bob").await;
    let (app, public) = (alice.repository("app"), bob.repository("public"));
    let digest = bob.push_blob(&public, &unique(10)).await;
    is_a_session(&mount(&alice, &app, &format!("mount={digest}")).await, &app);
    bob.set_visibility(&public, "public").await;
    let pusher = alice.scoped(&[&format!("repository:{app}:pull,push")]).await;
    is_mounted(&mount(&pusher, &app, &format!("mount={digest}")).await, &app, &digest);
}

/// R-MNT-04, I4: a token for one repository brings no private content of another into it.
#[tokio::test]
async fn a_scoped_token_finds_only_what_it_covers() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let secret = alice.repository("secret");
    let digest = alice.push_blob(&secret, &unique(10)).await;

    let narrow = alice.repository("narrow");
    let pusher = alice.scoped(&[&format!("repository:{narrow}:pull,push")]).await;
    is_a_session(&mount(&pusher, &narrow, &format!("mount={digest}")).await, &narrow);

    let wide = alice.repository("wide");
    let scopes = [format!("repository:{wide}:pull,push"), format!("repository:{secret}:pull")];
    let both = alice.scoped(&[&scopes[0], &scopes[1]]).await;
    is_mounted(&mount(&both, &wide, &format!("mount={digest}")).await, &wide, &digest);

    // Without scopes, a token covers what its account may read.
    let all = alice.repository("all");
    is_mounted(&mount(&alice, &all, &format!("mount={digest}")).await, &all, &digest);
    let basic = alice.repository("basic-auth");
    is_mounted(&mount(&alice.with_basic(), &basic, &format!("mount={digest}")).await, &basic, &digest);
}

/// R-MNT-05, R-CHL-06: without a token the challenge names both repositories.
#[tokio::test]
async fn a_mount_without_a_token_is_challenged_for_both() {
    let registry = TestRegistry::shared().await;
    let (to, from) = (unique_name("to") + "/app", unique_name("from") + "/app");
    let reply = mount(&registry.anonymous(), &to, &format!("mount={}&from={from}", sha256(b"x"))).await;
    reply.is_error(401, "UNAUTHORIZED");
    let challenge = Challenge::of(&reply);
    assert_eq!(challenge.scope.unwrap(), format!("repository:{to}:pull,push repository:{from}:pull"));
    assert_eq!(challenge.error, None);
}

/// R-MNT-05, R-AUZ-03: a token that lacks the other scope is sent back for it where the account could have it,
/// and otherwise starts a session.
#[tokio::test]
async fn a_token_without_the_other_scope_is_sent_for_it_if_it_could_have_it() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let bob = registry.user("bob").await;
    let (app, own, public, secret) =
        (alice.repository("app"), alice.repository("own"), bob.repository("public"), bob.repository("secret"));
    let digest = sha256(b"content");
    for (owner, repository) in [(&alice, &own), (&bob, &public), (&bob, &secret)] {
        owner.push_blob(repository, b"content").await;
    }
    bob.set_visibility(&public, "public").await;
    let pusher = alice.scoped(&[&format!("repository:{app}:pull,push")]).await;
    for from in [&own, &public] {
        let reply = mount(&pusher, &app, &format!("mount={digest}&from={from}")).await;
        reply.is_error(401, "UNAUTHORIZED");
        let challenge = Challenge::of(&reply);
        assert_eq!(challenge.error.as_deref(), Some("insufficient_scope"));
        assert_eq!(challenge.scope.unwrap(), format!("repository:{app}:pull,push repository:{from}:pull"));
        let other = alice.repository(&unique_name("other"));
        let both = alice.scoped(&[&format!("repository:{other}:pull,push repository:{from}:pull")]).await;
        is_mounted(&mount(&both, &other, &format!("mount={digest}&from={from}")).await, &other, &digest);
    }
    // The blob is public elsewhere; from there it was not asked for.
    let hidden = mount(&pusher, &app, &format!("mount={digest}&from={secret}")).await;
    is_a_session(&hidden, &app);
}

/// R-MNT-06, R-AUZ-06, I4: a stranger's private blob and one that is nowhere look the same.
#[tokio::test]
async fn a_private_blob_looks_absent_to_a_mount() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let bob = registry.user("bob").await;
    let (app, secret, none) = (alice.repository("app"), bob.repository("secret"), bob.repository("absent"));
    let digest = bob.push_blob(&secret, &unique(10)).await;
    let unknown = sha256(&unique(10));
    let scope = format!("repository:{app}:pull,push repository:{secret}:pull repository:{none}:pull");
    for client in [&alice, &alice.scoped(&[&scope]).await, &alice.with_basic()] {
        let mut looks = Vec::new();
        for query in [
            format!("mount={digest}&from={secret}"),
            format!("mount={unknown}&from={secret}"),
            format!("mount={digest}&from={none}"),
            format!("mount={digest}"),
            format!("mount={unknown}"),
        ] {
            let reply = mount(client, &app, &query).await;
            let id = reply.is(202).header("docker-upload-uuid").to_owned();
            looks.push(reply.appearance(&[&id]));
        }
        assert!(looks.windows(2).all(|pair| pair[0] == pair[1]), "{looks:#?}");
    }
}
