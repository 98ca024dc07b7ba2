//! Pretending to come from somewhere else.

use serde_json::{Value, json};

use super::Breaches;
use crate::harness::{Challenge, Client, TestRegistry, basic, unique_name};
use crate::management::walk;

/// Headers by which a proxy tells where a request came from, and for whom it was.
const PRETENCES: [(&str, &str); 7] = [
    ("x-forwarded-for", "203.0.113.NUMBER"),
    ("forwarded", "for=203.0.113.NUMBER;host=evil.example;proto=https"),
    ("x-real-ip", "203.0.113.NUMBER"),
    ("x-forwarded-host", "evil.example"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-port", "1"),
    ("x-forwarded-prefix", "/evil"),
];

/// A guess with all of them, as if from the n-th address.
async fn pretend(client: &Client, n: u8) -> u16 {
    let guess = client.with_authorization(&basic(&unique_name("somebody"), "password"));
    let mut call = guess.get("/auth/token");
    for (name, value) in PRETENCES {
        call = call.header(name, &value.replace("NUMBER", &n.to_string()));
    }
    call.await.status
}

/// Guesses past the limit of one address, sends a client elsewhere for its token, and writes somebody else into the log.
async fn attack(registry: &TestRegistry) -> Breaches {
    let mut got = Breaches::default();
    let admin = registry.admin().await;
    let attacker = registry.anonymous().elsewhere();
    let mut answered = 0;
    for n in 0..80 {
        answered += usize::from(pretend(&attacker, n).await == 401);
    }
    got.add_if(answered > 70, || format!("{answered} of 80 guesses were answered"));

    let mut call = registry.anonymous().get("/v2/");
    for (name, value) in PRETENCES {
        call = call.header(name, &value.replace("NUMBER", "1"));
    }
    let challenge = Challenge::of(call.await.is(401));
    got.add_if(challenge.realm.contains("evil"), || format!("a client would send its password to {}", challenge.realm));

    let log = Value::from(walk(&admin, "/api/v1/audit?action=login", 1000).await).to_string();
    got.add_if(log.contains("203.0.113."), || "the log has an address that was made up".to_owned());
    got
}

/// Header smuggling: what a peer says of itself counts only where the operator trusts it.
#[tokio::test]
async fn forwarded_headers_of_strangers_are_nothing() {
    attack(&TestRegistry::start().await).await.none();
    // Others are trusted, but this one is a stranger still.
    let others = TestRegistry::with(|settings| {
        settings.set("OCI_REGISTRY_TRUSTED_PROXIES", "10.0.0.0/8,192.0.2.1");
    })
    .await;
    attack(&others).await.none();
    // The weakened one trusts whoever comes.
    let weak = TestRegistry::with(|settings| {
        settings.set("OCI_REGISTRY_TRUSTED_PROXIES", "127.0.0.0/8");
    })
    .await;
    attack(&weak).await.all(3);
}

/// Nor do two of a header, or one in another spelling, make it through.
#[tokio::test]
async fn odd_forwarded_headers_are_nothing() {
    let registry = TestRegistry::shared().await;
    let plain = Challenge::of(registry.anonymous().get("/v2/").await.is(401)).realm;
    for (name, value) in [
        ("X-FORWARDED-HOST", "evil.example"),
        ("x-forwarded-host", "evil.example, evil.example"),
        ("x_forwarded_host", "evil.example"),
        ("x-host", "evil.example"),
        ("x-original-url", "/api/v1/users"),
        ("x-rewrite-url", "/api/v1/users"),
        ("x-http-method-override", "DELETE"),
        ("forwarded", "host=\"evil.example\""),
    ] {
        let reply = registry.anonymous().get("/v2/").header(name, value).await;
        assert_eq!(Challenge::of(reply.is(401)).realm, plain, "{name}: {value}");
    }
    let alice = registry.user("alice").await;
    let reply = alice.get("/api/v1/user").header("x-http-method-override", "DELETE").await;
    assert_eq!(reply.is(200).json()["username"], json!(alice.name()));
}
