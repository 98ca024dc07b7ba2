//! Scopes: how they are read, and what a token with them does.

use serde_json::json;

use crate::harness::{Challenge, Client, TestRegistry, sha256, unique};
use crate::tokens::granted;

async fn asked(client: &Client, scopes: &[&str]) -> Vec<String> {
    let query: String = scopes
        .iter()
        .map(|scope| format!("scope={}&", form_urlencoded::byte_serialize(scope.as_bytes()).collect::<String>()))
        .collect();
    granted(&client.with_basic().get(&format!("/auth/token?{query}")).await)
}

/// R-SCP-01, R-SCP-02, R-SCP-03, C-KAN-01: what is no scope, or names nothing of ours, is dropped; the rest counts.
#[tokio::test]
async fn what_cannot_be_granted_is_dropped() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let good = format!("repository:{app}:pull");
    for bad in [
        "",
        "nonsense",
        "repository",
        "repository:",
        "repository::",
        "repository::pull",
        ":::",
        "repository:x",
        "a:b:c",
        "repository:NOT/a/name:pull",
        "repository:a//b:pull",
        "repository:../x:pull",
        "repository:a%2Fb:pull",
        "repository:host.example:5000/a:pull",
        "image:a/b:pull",
        "registry:other:*",
        "registry:catalog:pull",
        "Repository:a/b:pull",
        "repository:a/b:",
        "repository:a/b:fly",
        "repository:a/b:PULL",
        "repository:*:pull",
        "repository:a/*:pull",
        "repository(:a/b:pull",
        "repository:ä/b:pull",
        "repository:a/b:pull:push",
        "repository:a\u{0}b:pull",
    ] {
        let scopes = asked(&alice, &[bad, &good]).await;
        let ours: Vec<_> = scopes.iter().filter(|scope| scope.contains(&app)).collect();
        assert_eq!(ours, [&good], "{bad:?}");
        for scope in &scopes {
            assert!(
                scope == &good || scope.starts_with("repository:a/b:") || scope.starts_with("repository:x:"),
                "{bad:?}: {scopes:?}"
            );
        }
    }
    let fly = format!("repository:{app}:pull,fly,push");
    assert_eq!(asked(&alice, &[&fly]).await, [format!("repository:{app}:pull,push")]);
    let class = format!("repository(plugin):{app}:pull");
    assert_eq!(asked(&alice, &[&class]).await, [good.as_str()]);
    let twice = format!("repository:{app}:push,pull");
    assert_eq!(asked(&alice, &[&twice, &good]).await, [format!("repository:{app}:pull,push")]);
}

/// R-AUZ-02, R-AUZ-03, R-SCP-06, R-UPL-61: a token does what its scopes say and no more; what is missing is asked for.
#[tokio::test]
async fn a_scoped_token_does_only_what_it_says() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let image = alice.push_new_image(&app, "v1").await;
    let manifest = format!("/v2/{app}/manifests/v1");
    for (actions, pull, push, delete) in [
        ("pull", true, false, false),
        ("push", false, true, false),
        ("delete", false, false, true),
        ("pull,push", true, true, false),
        ("pull,delete", true, false, true),
        ("push,delete", false, true, true),
        ("*", true, true, true),
    ] {
        let client = alice.scoped(&[&format!("repository:{app}:{actions}")]).await;
        let blob = format!("/v2/{app}/blobs/{}", sha256(&image.config));
        for path in
            [&manifest, &blob, &format!("/v2/{app}/tags/list"), &format!("/v2/{app}/referrers/{}", image.digest())]
        {
            let reply = client.get(path).await;
            if pull {
                reply.is(200);
            } else {
                let challenge = Challenge::of(reply.is_error(401, "UNAUTHORIZED"));
                assert_eq!(challenge.error.as_deref(), Some("insufficient_scope"), "{actions}: {path}");
            }
        }
        let post = client.post(&format!("/v2/{app}/blobs/uploads/")).await;
        post.is(if push { 202 } else { 401 });
        if push {
            let session = post.header("location");
            client.get(session).await.is(204);
            client.delete(session).await.is(204);
            client.put_manifest(&app, "v1", &image.manifest).await.is(201);
        } else {
            client.put_manifest(&app, "v1", &image.manifest).await.is_error(401, "UNAUTHORIZED");
        }
        client.delete(&manifest).await.is(if delete { 202 } else { 401 });
        client.delete(&format!("/v2/{app}/blobs/{}", sha256(b"none"))).await.is(if delete { 404 } else { 401 });
        if delete {
            alice.push_manifest(&app, "v1", &image.manifest).await;
        }
    }
}

/// R-AUZ-02, R-AUZ-03: an empty grant is nothing, not everything.
#[tokio::test]
async fn an_empty_grant_opens_nothing() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    alice.push_new_image(&app, "v1").await;
    for scope in ["nonsense", "repository:some/other:pull", "registry:catalog:*", "repository:NOT:pull"] {
        let client = alice.scoped(&[scope]).await;
        client.get(&format!("/v2/{app}/manifests/v1")).await.is_error(401, "UNAUTHORIZED");
        client.post(&format!("/v2/{app}/blobs/uploads/")).await.is_error(401, "UNAUTHORIZED");
        client.get("/v2/").await.is(200);
    }
}

/// R-AUZ-02, I6: a token does not outlast the right; a public repository that becomes private is closed at once.
#[tokio::test]
async fn a_token_does_not_outlast_the_right() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let bob = registry.user("bob").await;
    let app = alice.repository("app");
    alice.push_new_image(&app, "v1").await;
    alice.set_visibility(&app, "public").await;
    let scope = format!("repository:{app}:pull");
    let path = format!("/v2/{app}/manifests/v1");
    let nobody = registry.anonymous().scoped(&[&scope]).await;
    let reader = bob.scoped(&[&scope]).await;
    for client in [&nobody, &reader, &bob] {
        client.get(&path).await.is(200);
    }
    alice.set_visibility(&app, "internal").await;
    nobody.get(&path).await.is_error(401, "UNAUTHORIZED");
    reader.get(&path).await.is(200);
    alice.set_visibility(&app, "private").await;
    nobody.get(&path).await.is_error(401, "UNAUTHORIZED");
    reader.get(&path).await.is_error(404, "NAME_UNKNOWN");
    bob.get(&path).await.is_error(404, "NAME_UNKNOWN");
    alice.set_visibility(&app, "public").await;
    for client in [&nobody, &reader, &bob] {
        client.get(&path).await.is(200);
    }
}

/// R-MNT-05, R-SCP-03, R-TKG-01: a challenge's scopes, sent back as one parameter, get a token that does it all.
#[tokio::test]
async fn a_challenge_can_be_sent_back_as_it_stands() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (app, from) = (alice.repository("app"), alice.repository("from"));
    let digest = alice.push_blob(&from, &unique(10)).await;
    let query = json!({ "mount": digest, "from": from });
    let path = format!("/v2/{app}/blobs/uploads/?mount={}&from={}", query["mount"].as_str().unwrap(), from);
    let reply = registry.anonymous().post(&path).await;
    let challenge = Challenge::of(reply.is(401));
    let client = alice.scoped(&[&challenge.scope.unwrap()]).await;
    client.post(&path).await.is(201);
    let delete = registry.anonymous().delete(&format!("/v2/{app}/blobs/{digest}")).await;
    let client = alice.scoped(&[&Challenge::of(delete.is(401)).scope.unwrap()]).await;
    client.delete(&format!("/v2/{app}/blobs/{digest}")).await.is(202);
}
