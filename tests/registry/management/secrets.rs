//! Personal access tokens and sessions.

use std::time::Duration;

use serde_json::{Value, json};

use super::{column, id, items, personal_token, secret, walk};
use crate::harness::{Client, TestRegistry};

fn tokens(user: &Client) -> String {
    format!("/api/v1/users/{}/tokens", user.name())
}

/// A token's secret is shown once; it is used as the password, by clients that ask for tokens and by those that do not.
#[tokio::test]
async fn a_token_is_a_password() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    alice.push_new_image(&app, "v1").await;
    let reply = alice.post(&tokens(&alice)).json(&json!({ "name": "laptop", "scopes": ["*"] })).await;
    let token = reply.is(201).has("cache-control", "no-store").json();
    assert_eq!((&token["name"], &token["scopes"]), (&json!("laptop"), &json!(["*"])));
    assert!(token["expires_at"].is_null() && token["last_used_at"].is_null(), "{token}");

    let client = alice.as_user(alice.name(), secret(&token));
    client.with_basic().get(&format!("/v2/{app}/manifests/v1")).await.is(200);
    client.log_in().await.get(&format!("/v2/{app}/manifests/v1")).await.is(200);
    client.with_basic().get("/api/v1/user").await.is(200);
    // Names are case-sensitive, and a token is its owner's alone.
    let bob = registry.user("bob").await;
    bob.as_user(bob.name(), secret(&token)).with_basic().get("/v2/").await.is_error(401, "UNAUTHORIZED");

    let path = format!("{}/{}", tokens(&alice), id(&token));
    for shown in [alice.get(&path).await, alice.get(&tokens(&alice)).await] {
        let text = String::from_utf8_lossy(&shown.is(200).body).into_owned();
        assert!(!text.contains(secret(&token)) && text.contains("laptop"), "{shown:?}");
    }
    let used = alice.get(&path).await.is(200).json();
    assert!(used["last_used_at"].is_string(), "{used}");
}

/// A token reaches as far as its scopes, and never further than its owner.
#[tokio::test]
async fn a_token_narrows() {
    let registry = TestRegistry::shared().await;
    let (alice, bob) = (registry.user("alice").await, registry.user("bob").await);
    let (app, other, bobs) = (alice.repository("app"), alice.repository("other"), bob.repository("app"));
    for (user, repository) in [(&alice, &app), (&alice, &other), (&bob, &bobs)] {
        user.push_new_image(repository, "v1").await;
    }
    let scopes = [format!("repository:{app}:pull"), format!("repository:{bobs}:*")];
    let (_, token) = personal_token(&alice, "reader", &[&scopes[0], &scopes[1]]).await;
    for client in [&token, &token.log_in().await] {
        client.get(&format!("/v2/{app}/manifests/v1")).await.is(200);
        client.get(&format!("/v2/{other}/manifests/v1")).await.is_error(404, "NAME_UNKNOWN");
        client.get(&format!("/v2/{bobs}/manifests/v1")).await.is_error(404, "NAME_UNKNOWN");
        client.post(&format!("/v2/{app}/blobs/uploads/")).await.is_error(403, "DENIED");
        client.delete(&format!("/v2/{app}/manifests/v1")).await.is_error(403, "DENIED");
        assert_eq!(client.get("/v2/_catalog").await.is(200).strings("repositories"), [&*app]);
        // It opens no management, not even of what it reaches.
        client.get("/api/v1/user").await.is_error(403, "DENIED");
        client.get(&tokens(&alice)).await.is_error(403, "DENIED");
        client.put_visibility(&app, "public").await.is_error(403, "DENIED");
    }
    let (_, whole) = personal_token(&alice, "namespace", &[&format!("namespace:{}:*", alice.name())]).await;
    for repository in [&app, &other] {
        whole.get(&format!("/v2/{repository}/manifests/v1")).await.is(200);
        whole.delete(&format!("/v2/{repository}/manifests/v1")).await.is(202);
    }
}

/// I6: a revoked token is nothing at once, nor is what was issued for it.
#[tokio::test]
async fn a_revoked_token_is_nothing() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await.elsewhere();
    let (number, token) = personal_token(&alice, "old", &["*"]).await;
    let issued = token.log_in().await;
    issued.get("/v2/").await.is(200);
    let path = format!("{}/{number}", tokens(&alice));
    alice.delete(&path).await.is(204);
    for client in [&token, &issued] {
        client.get("/v2/").await.is_error(401, "UNAUTHORIZED");
    }
    token.get("/auth/token").await.is_error(401, "UNAUTHORIZED");
    alice.delete(&path).await.is_error(404, "NOT_FOUND");
    alice.get(&path).await.is_error(404, "NOT_FOUND");
}

/// A token ends by itself, and with it what was issued for it.
#[tokio::test]
async fn a_token_expires() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await.elsewhere();
    let ask = |body: Value| alice.post(&tokens(&alice)).json(&body);
    let short = ask(json!({ "name": "short", "scopes": ["*"], "expires_in": 2 })).await.is(201).json();
    let token = alice.as_user(alice.name(), secret(&short));
    let issued = token.log_in().await;
    issued.get("/v2/").await.is(200);
    let at = ask(json!({ "name": "long", "scopes": ["*"], "expires_at": "2999-01-01T01:00:00+01:00" })).await;
    assert_eq!(at.is(201).json()["expires_at"], "2999-01-01T00:00:00Z");
    tokio::time::sleep(Duration::from_millis(2200)).await;
    issued.get("/v2/").await.is_error(401, "UNAUTHORIZED");
    token.with_basic().get("/v2/").await.is_error(401, "UNAUTHORIZED");
}

/// No token makes another: what was lent for a day is not kept for a year.
#[tokio::test]
async fn a_token_makes_no_token() {
    let registry = TestRegistry::shared().await;
    let admin = registry.admin().await;
    let alice = registry.user("alice").await;
    let (_, token) = personal_token(&alice, "ci", &["*"]).await;
    let body = json!({ "name": "another", "scopes": ["*"] });
    for client in [&token, &token.log_in().await, &admin] {
        client.post(&tokens(&alice)).json(&body).await.is_error(403, "DENIED");
    }
    alice.with_basic().post(&tokens(&alice)).json(&body).await.is(201);
}

/// What is no token to be made is refused with the reason.
#[tokio::test]
async fn a_bad_token_is_not_made() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let many: Vec<_> = (0..101).map(|n| format!("repository:a/b{n}:pull")).collect();
    for (body, hint) in [
        (json!({}), "name"),
        (json!({ "name": "a" }), "scopes"),
        (json!({ "name": "a", "scopes": [] }), "scopes"),
        (json!({ "name": "a", "scopes": many }), "scopes"),
        (json!({ "name": "", "scopes": ["*"] }), "name"),
        (json!({ "name": "a\nb", "scopes": ["*"] }), "name"),
        (json!({ "name": "x".repeat(65), "scopes": ["*"] }), "name"),
        (json!({ "name": "a", "scopes": "*" }), "sequence"),
        (json!({ "name": "a", "scopes": ["repository:*:pull"] }), "repository:*:pull"),
        (json!({ "name": "a", "scopes": ["repository:a/b:fly"] }), "repository:a/b:fly"),
        (json!({ "name": "a", "scopes": ["repository:A:pull"] }), "repository:A:pull"),
        (json!({ "name": "a", "scopes": ["everything"] }), "everything"),
        (json!({ "name": "a", "scopes": ["*"], "expires_in": 0 }), "expires_in"),
        (json!({ "name": "a", "scopes": ["*"], "expires_in": -5 }), ""),
        (json!({ "name": "a", "scopes": ["*"], "expires_in": u64::MAX }), "expires_in"),
        (json!({ "name": "a", "scopes": ["*"], "expires_at": "2001-01-01T00:00:00Z" }), "expires_at"),
        (json!({ "name": "a", "scopes": ["*"], "expires_at": "soon" }), "RFC 3339"),
        (json!({ "name": "a", "scopes": ["*"], "expires_in": 5, "expires_at": "2999-01-01T00:00:00Z" }), "not both"),
        (json!({ "name": "a", "scopes": ["*"], "expires": 5 }), "expires"),
    ] {
        let reply = alice.post(&tokens(&alice)).json(&body).await;
        let message = reply.is_error(400, "REQUEST_INVALID").json()["errors"][0]["message"].to_string();
        assert!(message.contains(hint), "{body}: {message}");
    }
    assert!(items(&alice.get(&tokens(&alice)).await).is_empty());
    let body = json!({ "name": "twice", "scopes": ["*"] });
    alice.post(&tokens(&alice)).json(&body).await.is(201);
    alice.post(&tokens(&alice)).json(&body).await.is_error(409, "CONFLICT");
}

/// Tokens are their owner's and the admins' to see and revoke, and nobody else's.
#[tokio::test]
async fn tokens_are_listed_page_by_page() {
    let registry = TestRegistry::shared().await;
    let (alice, bob, admin) = (registry.user("alice").await, registry.user("bob").await, registry.admin().await);
    for n in 0..5 {
        personal_token(&alice, &format!("token {n}"), &["*"]).await;
    }
    let names: Vec<_> = (0..5).map(|n| format!("token {n}")).collect();
    for (client, n) in [(&alice, 1), (&alice, 2), (&admin, 5), (&admin, 100)] {
        assert_eq!(column(&walk(client, &tokens(&alice), n).await, "name"), names);
    }
    let first = id(&items(&alice.get(&tokens(&alice)).await)[0]);
    let path = format!("{}/{first}", tokens(&alice));
    for (client, status) in [(&bob, 403), (&registry.anonymous(), 401)] {
        client.get(&tokens(&alice)).await.is(status);
        client.get(&path).await.is(status);
        client.delete(&path).await.is(status);
    }
    // Under another's name it is not there, whoever asks.
    bob.delete(&format!("{}/{first}", tokens(&bob))).await.is_error(404, "NOT_FOUND");
    alice.get(&format!("{}?last=x", tokens(&alice))).await.is_error(400, "REQUEST_INVALID");
    admin.get("/api/v1/users/nobody-of-that-name/tokens").await.is_error(404, "NOT_FOUND");
    admin.delete(&path).await.is(204);
    assert_eq!(items(&alice.get(&tokens(&alice)).await).len(), 4);
}

/// R-TKP-04: what a client keeps after a login is seen, and ended at once.
#[tokio::test]
async fn a_session_is_ended() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await.elsewhere();
    let login = alice.with_basic().get("/auth/token?offline_token=true&client_id=docker").await.is(200).json();
    let refresh = login["refresh_token"].as_str().unwrap().to_owned();
    let ask = || {
        let form = format!("grant_type=refresh_token&refresh_token={refresh}");
        let post = alice.without_credentials().post("/auth/token");
        post.header("content-type", "application/x-www-form-urlencoded").body(form)
    };
    let issued = alice.with_token(ask().await.is(200).json()["token"].as_str().unwrap());
    issued.get("/v2/").await.is(200);
    let path = format!("/api/v1/users/{}/sessions", alice.name());
    let sessions = walk(&alice, &path, 10).await;
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    assert_eq!(sessions[0]["client"], "docker");
    assert!(sessions[0]["last_used_at"].is_string(), "{sessions:?}");
    // A session is no personal token, and the other way round.
    alice.delete(&format!("{}/{}", tokens(&alice), id(&sessions[0]))).await.is_error(404, "NOT_FOUND");
    alice.delete(&format!("{path}/{}", id(&sessions[0]))).await.is(204);
    ask().await.is_error(401, "UNAUTHORIZED");
    issued.get("/v2/").await.is_error(401, "UNAUTHORIZED");
    alice.get("/v2/").await.is(200);
    assert!(walk(&alice, &path, 10).await.is_empty());
}

/// A token whose time is over does not stay in the database: the housekeeping removes it, and no other.
#[tokio::test]
async fn what_has_expired_is_removed() {
    let registry = TestRegistry::start().await;
    let alice = registry.user("alice").await;
    let (live, _) = personal_token(&alice, "live", &["*"]).await;
    let later = json!({ "name": "later", "scopes": ["*"], "expires_in": 3600 });
    let later = id(&alice.post(&tokens(&alice)).json(&later).await.is(201).json());
    let short = json!({ "name": "short", "scopes": ["*"], "expires_in": 1 });
    let short = id(&alice.post(&tokens(&alice)).json(&short).await.is(201).json());
    alice.with_basic().get("/auth/token?offline_token=true").await.is(200);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    // It keeps house when it starts, and each hour from then on.
    registry.restart();
    let gone = format!("{}/{short}", tokens(&alice));
    // It is told once nothing more is found, a moment after it is gone.
    for _ in 0..100 {
        if registry.log().contains("expired tokens removed") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    alice.get(&gone).await.is_error(404, "NOT_FOUND");
    let left: Vec<_> = walk(&alice, &tokens(&alice), 10).await.iter().map(id).collect();
    assert_eq!(left, [live, later]);
    let sessions = walk(&alice, &format!("/api/v1/users/{}/sessions", alice.name()), 10).await;
    assert_eq!(sessions.len(), 1);
    assert!(registry.log().contains("expired tokens removed"), "{}", registry.log());
}
