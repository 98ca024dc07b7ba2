//! Tokens that are not what they seem.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::{Challenge, Client, Raw, TestRegistry, claims, forge};
use crate::wire::opening;

const SECRET: &str = "a secret of more than thirty-two bytes, for tests";

async fn registry() -> TestRegistry {
    TestRegistry::with(|settings| {
        settings.set("JWT_SECRET", SECRET);
    })
    .await
}

#[expect(clippy::disallowed_methods, reason = "a forger looks at the clock")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The header and claims of a good token of alice's, to be bent.
async fn good(alice: &Client) -> (Value, Value) {
    let token = alice.token(&[]).await;
    (json!({ "typ": "JWT", "alg": "HS256" }), claims(&token))
}

async fn is_refused(alice: &Client, what: &str, token: &str) {
    let reply = alice.with_token(token).get("/v2/").await;
    assert_eq!(reply.status, 401, "{what}: {reply:?}");
    assert_eq!(Challenge::of(&reply).error.as_deref(), Some("invalid_token"), "{what}");
    let scoped = alice.with_token(token).get(&format!("/v2/{}/tags/list", alice.repository("app"))).await;
    assert_eq!(Challenge::of(scoped.is(401)).error.as_deref(), Some("invalid_token"), "{what}");
}

/// R-JWT-01, R-JWT-04: a token is believed only with the right signature, algorithm, issuer, audience and times.
#[tokio::test]
async fn a_bent_token_is_refused() {
    let registry = registry().await;
    let alice = registry.user("alice").await;
    let bob = registry.user("bob").await;
    let app = alice.repository("app");
    alice.push_blob(&app, b"x").await;
    let (header, good) = good(&alice).await;
    let bend = |changes: Value| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        claims
    };
    // Only where nothing is bent does the forger succeed, which proves that he knows how.
    let forged = alice.with_token(&forge(SECRET, &header, &good));
    forged.get("/v2/").await.is(200);
    forged.get(&format!("/v2/{app}/tags/list")).await.is(200);

    for (what, secret, header, claims) in [
        ("another secret", "another secret of more than thirty-two bytes", header.clone(), good.clone()),
        ("no secret", "", header.clone(), good.clone()),
        ("no algorithm", SECRET, json!({ "typ": "JWT", "alg": "none" }), good.clone()),
        ("None", SECRET, json!({ "typ": "JWT", "alg": "None" }), good.clone()),
        ("HS384", SECRET, json!({ "typ": "JWT", "alg": "HS384" }), good.clone()),
        ("HS512", SECRET, json!({ "typ": "JWT", "alg": "HS512" }), good.clone()),
        ("RS256", SECRET, json!({ "typ": "JWT", "alg": "RS256" }), good.clone()),
        ("no alg", SECRET, json!({ "typ": "JWT" }), good.clone()),
        ("expired", SECRET, header.clone(), bend(json!({ "exp": now() - 120 }))),
        ("not yet valid", SECRET, header.clone(), bend(json!({ "nbf": now() + 120 }))),
        ("another issuer", SECRET, header.clone(), bend(json!({ "iss": "somebody" }))),
        ("another audience", SECRET, header.clone(), bend(json!({ "aud": "somebody" }))),
        ("no audience of ours", SECRET, header.clone(), bend(json!({ "aud": ["a", "b"] }))),
        ("no exp", SECRET, header.clone(), bend(json!({ "exp": null }))),
        ("no iss", SECRET, header.clone(), bend(json!({ "iss": null }))),
        ("no aud", SECRET, header.clone(), bend(json!({ "aud": null }))),
        ("no access", SECRET, header.clone(), bend(json!({ "access": null }))),
        ("access of another shape", SECRET, header.clone(), bend(json!({ "access": "all" }))),
        ("exp in words", SECRET, header.clone(), bend(json!({ "exp": "tomorrow" }))),
        ("somebody else's epoch", SECRET, header.clone(), bend(json!({ "sub": bob.name() }))),
        ("nobody of that name", SECRET, header.clone(), bend(json!({ "sub": "does-not-exist" }))),
        ("a name that is none", SECRET, header.clone(), bend(json!({ "sub": "../admin" }))),
        ("no epoch", SECRET, header.clone(), bend(json!({ "epoch": null }))),
        ("another epoch", SECRET, header.clone(), bend(json!({ "epoch": "00000000-0000-4000-8000-000000000000" }))),
    ] {
        is_refused(&alice, what, &forge(secret, &header, &claims)).await;
    }
    let token = alice.token(&[]).await;
    let parts: Vec<_> = token.split('.').collect();
    let longer = bend(json!({ "exp": now() + 1_000_000 }));
    let other = forge("x", &header, &longer);
    for (what, bent) in [
        ("a payload of its own", format!("{}.{}.{}", parts[0], other.split('.').nth(1).unwrap(), parts[2])),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{token}.x")),
        ("a cut signature", token[..token.len() - 5].to_owned()),
        ("no base64", format!("{}.!!.{}", parts[0], parts[2])),
        ("an empty payload", format!("{}..{}", parts[0], parts[2])),
        ("dots", "..".to_owned()),
        ("far too long", "a".repeat(30_000)),
    ] {
        is_refused(&alice, what, &bent).await;
    }
}

/// R-JWT-01, R-JWT-02: clocks may differ by a minute.
#[tokio::test]
async fn clocks_may_differ_a_little() {
    let registry = registry().await;
    let alice = registry.user("alice").await;
    let (header, good) = good(&alice).await;
    for (name, time, status) in
        [("exp", now() - 30, 200), ("exp", now() - 90, 401), ("nbf", now() + 30, 200), ("nbf", now() + 90, 401)]
    {
        let mut claims = good.clone();
        claims[name] = json!(time);
        alice.with_token(&forge(SECRET, &header, &claims)).get("/v2/").await.is(status);
    }
}

/// R-JWT-03, R-SCP-04: what a token says beyond what we know is ignored; what it says twice is joined, and `*` is everything.
#[tokio::test]
async fn unknown_claims_are_ignored() {
    let registry = registry().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let digest = alice.push_blob(&app, b"x").await;
    let scoped = claims(&alice.token(&[&format!("repository:{app}:pull")]).await);
    let header = json!({ "typ": "JWT", "alg": "HS256" });
    let entry = |actions: Value| json!({ "type": "repository", "class": "image", "name": app, "actions": actions });
    for (access, push) in [
        (json!([entry(json!(["pull"])), entry(json!(["push"]))]), true),
        (json!([{ "type": "unknown", "name": "x", "actions": ["y"] }, entry(json!(["push", "fly", "pull"]))]), true),
        (json!([entry(json!(["*"]))]), true),
        (json!([entry(json!(["pull"]))]), false),
    ] {
        let mut claims = scoped.clone();
        claims["access"] = access;
        claims["surprise"] = json!({ "a": 1 });
        let client = alice.with_token(&forge(SECRET, &header, &claims));
        client.get(&format!("/v2/{app}/blobs/{digest}")).await.is(200);
        client.post(&format!("/v2/{app}/blobs/uploads/")).await.is(if push { 202 } else { 401 });
    }
    let mut both = scoped.clone();
    both["aud"] = json!(["other", "distribution"]);
    alice.with_token(&forge(SECRET, &header, &both)).get("/v2/").await.is(200);
}

/// R-AUZ-02, I6: whatever a token claims, the account's rights are the most it opens.
#[tokio::test]
async fn a_token_never_widens() {
    let registry = registry().await;
    let alice = registry.user("alice").await;
    let bob = registry.user("bob").await;
    let app = alice.repository("app");
    alice.push_new_image(&app, "v1").await;
    let header = json!({ "typ": "JWT", "alg": "HS256" });
    let all = json!([{ "type": "repository", "name": app, "actions": ["pull", "push", "delete", "*"] }]);
    let mut bobs = claims(&bob.token(&["repository:a/b:pull"]).await);
    bobs["access"] = all.clone();
    let greedy = bob.with_token(&forge(SECRET, &header, &bobs));
    greedy.get(&format!("/v2/{app}/manifests/v1")).await.is_error(404, "NAME_UNKNOWN");
    greedy.post(&format!("/v2/{app}/blobs/uploads/")).await.is_error(403, "DENIED");
    let mut nobodys = claims(&registry.anonymous().token(&["repository:a/b:pull"]).await);
    nobodys["access"] = all;
    let greedy = registry.anonymous().with_token(&forge(SECRET, &header, &nobodys));
    greedy.get(&format!("/v2/{app}/manifests/v1")).await.is_error(401, "UNAUTHORIZED");
    greedy.post(&format!("/v2/{app}/blobs/uploads/")).await.is_error(401, "UNAUTHORIZED");
}

/// R-UPL-64: a token that expires while bytes flow does not stop them.
#[tokio::test]
async fn a_token_may_expire_during_an_upload() {
    let registry = registry().await;
    let alice = registry.user("alice").await;
    let (header, mut short) = good(&alice).await;
    // Two more seconds, with the minute of leeway.
    short["exp"] = json!(now() - 57);
    let token = forge(SECRET, &header, &short);
    let session = alice.start_upload(&alice.repository("app")).await;
    let mut raw = Raw::connect(&alice).await;
    raw.send(opening(&alice, &token, &format!("PATCH {session}")) + "Content-Length: 6\r\n\r\none").await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    raw.send("two").await;
    raw.reply().await.is(202).has("range", "0-5");
    alice.with_token(&token).get("/v2/").await.is_error(401, "UNAUTHORIZED");
    alice.get(&session).await.is(204).has("range", "0-5");
}

/// R-TKR-02, R-TKR-03: the operator says how long a token lives; the token itself lives a minute longer.
#[tokio::test]
async fn the_lifetime_is_configurable() {
    let registry = TestRegistry::with(|settings| {
        settings.set("JWT_LIFETIME_SECONDS", "60").set("JWT_SECRET", SECRET);
    })
    .await;
    let alice = registry.user("alice").await;
    let body = alice.with_basic().get("/auth/token").await.is(200).json();
    assert_eq!(body["expires_in"], 60);
    let claims = claims(body["token"].as_str().unwrap());
    assert_eq!(claims["exp"].as_u64().unwrap(), claims["iat"].as_u64().unwrap() + 120);
}
