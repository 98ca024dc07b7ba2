//! end-1: is this a registry, and does it know me?

use crate::harness::{Challenge, TestRegistry, unique_name};

/// R-PNG-01, H-01: an accepted identity gets 200, `{}` and the API version.
#[tokio::test]
async fn a_known_user_is_welcome() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    for path in ["/v2/", "/v2"] {
        let reply = alice.get(path).await;
        reply.is(200).has("content-type", "application/json").has_body(b"{}");
        reply.has("docker-distribution-api-version", "registry/2.0");
    }
}

/// R-PNG-02, R-CHL-06, R-CHL-07: without credentials there is a challenge, that asks for no scope and blames nobody.
#[tokio::test]
async fn a_ping_without_credentials_teaches_how_to_log_in() {
    let registry = TestRegistry::shared().await;
    // Even where there is something public.
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    alice.push_new_image(&app, "v1").await;
    alice.set_visibility(&app, "public").await;

    let reply = registry.anonymous().get("/v2/").await;
    reply.is_error(401, "UNAUTHORIZED");
    let challenge = Challenge::of(&reply);
    assert_eq!((challenge.scope, challenge.error), (None, None));
}

/// R-PNG-03, R-TKG-04, R-AUZ-01: any valid token will do, also one that allows nothing.
#[tokio::test]
async fn a_token_that_allows_nothing_still_pings() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let foreign = format!("repository:{}/x:push", unique_name("nobody"));
    for client in [
        alice.scoped(&[&foreign]).await,
        alice.scoped(&["nonsense"]).await,
        registry.anonymous().log_in().await,
        registry.anonymous().scoped(&[&foreign]).await,
        alice.with_basic(),
    ] {
        client.get("/v2/").await.is(200).has_body(b"{}");
    }
}

/// R-PNG-04, R-AUZ-08: bad credentials are refused, whether token or password.
#[tokio::test]
async fn bad_credentials_do_not_ping() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let wrong = registry.anonymous().as_user(alice.name(), "wrong password").with_basic().elsewhere();
    let reply = wrong.get("/v2/").await;
    reply.is_error(401, "UNAUTHORIZED");
    let reply = alice.with_token("nonsense").get("/v2/").await;
    reply.is_error(401, "UNAUTHORIZED");
    assert_eq!(Challenge::of(&reply).error.as_deref(), Some("invalid_token"));
}
