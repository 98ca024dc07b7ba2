//! Forging tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use http::request::Parts;
use serde_json::{Value, json};

use super::weakened::{Answer, Meddler, answer};
use super::{Breaches, Weakened};
use crate::harness::{Client, TestRegistry, claims, forge};

const SECRET: &str = "a secret of more than thirty-two bytes, for attacks";

/// A registry that reads what a token says and never looks at the signature, nor at what else makes it one.
struct Gullible {
    name: String,
    token: String,
}

impl Meddler for Gullible {
    fn before(&self, request: &mut Parts) -> Option<Answer> {
        let value = request.headers.get(AUTHORIZATION)?.to_str().ok()?.to_owned();
        if value.len() > 32 << 10 {
            return Some(answer(500, &json!({ "errors": [{ "code": "UNKNOWN", "message": "out of memory" }] })));
        }
        let payload = value.strip_prefix("Bearer ")?.split('.').nth(1)?;
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        if claims["sub"] == self.name {
            request.headers.insert(AUTHORIZATION, format!("Bearer {}", self.token).parse().unwrap());
        }
        None
    }
}

/// What an attacker makes of a token that they know the form of, but not the secret: each is alice's, or an admin's.
fn forgeries(alice: &str, mallorys: &str) -> Vec<(&'static str, String)> {
    let header = json!({ "typ": "JWT", "alg": "HS256" });
    let mut hers = claims(alice);
    let mut exclusive = hers.clone();
    exclusive["aud"] = json!("another-service");
    let mut expired = hers.clone();
    expired["exp"] = json!(1_700_000_000);
    expired["nbf"] = json!(1_600_000_000);
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let tampered = {
        let parts: Vec<_> = mallorys.split('.').collect();
        format!("{}.{}.{}", parts[0], encode(&hers), parts[2])
    };
    let guesses = ["secret", "", "distribution", "changeme"].map(|secret| forge(secret, &header, &hers));
    hers["exp"] = json!(4_000_000_000_u64);
    let mut all = vec![
        ("no algorithm", forge("", &json!({ "typ": "JWT", "alg": "none" }), &hers)),
        ("nOnE", forge("", &json!({ "typ": "JWT", "alg": "nOnE" }), &hers)),
        ("another algorithm", forge(SECRET, &json!({ "typ": "JWT", "alg": "HS512" }), &hers)),
        (
            "a key of its own",
            forge("x", &json!({ "typ": "JWT", "alg": "HS256", "jwk": { "kty": "oct", "k": "eA" } }), &hers),
        ),
        ("a key elsewhere", forge("x", &json!({ "typ": "JWT", "alg": "HS256", "kid": "../../dev/null" }), &hers)),
        ("RS256 over the secret", forge(SECRET, &json!({ "typ": "JWT", "alg": "RS256" }), &hers)),
        ("another audience", forge(SECRET, &header, &exclusive)),
        ("one that is over", forge(SECRET, &header, &expired)),
        ("a tampered payload", tampered),
    ];
    all.extend(guesses.map(|token| ("a guessed secret", token)));
    all
}

/// Shows each to what only alice may see.
async fn attack(client: &Client, forgeries: &[(&'static str, String)], path: &str) -> Breaches {
    let mut got = Breaches::default();
    for (what, token) in forgeries {
        for path in [path, "/api/v1/user"] {
            let reply = client.with_token(token).get(path).await;
            got.add_if(reply.status != 401, || format!("{what}: {reply:?}"));
        }
    }
    got
}

/// Tokens with `alg: none`, another algorithm, a wrong audience, an expired one, a tampered payload open nothing.
#[tokio::test]
async fn forged_tokens_open_nothing() {
    let registry = TestRegistry::with(|settings| {
        settings.set("JWT_SECRET", SECRET);
    })
    .await;
    let (alice, mallory) = (registry.user("alice").await, registry.user("mallory").await);
    let app = alice.repository("app");
    alice.push_new_image(&app, "v1").await;
    let path = format!("/v2/{app}/manifests/v1");
    let token = alice.token(&[]).await;
    // The forger knows how: with the secret, and nothing bent, it is a good one.
    let good = forge(SECRET, &json!({ "typ": "JWT", "alg": "HS256" }), &claims(&token));
    mallory.with_token(&good).get(&path).await.is(200);

    let forgeries = forgeries(&token, &mallory.token(&[]).await);
    attack(&registry.anonymous(), &forgeries, &path).await.none();
    let weak = Weakened::before(&registry.anonymous(), Gullible { name: alice.name().to_owned(), token }).await;
    attack(&weak.seen_by(&registry.anonymous()), &forgeries, &path).await.all(2 * forgeries.len());
}

/// Sends headers that are too long, and looks whether the registry minds.
async fn stuff(client: &Client) -> Breaches {
    let mut got = Breaches::default();
    for length in [10 << 10, 40 << 10, 60 << 10] {
        for scheme in ["Bearer", "Basic", "bearer bearer", ""] {
            let value = format!("{scheme} {}", "a".repeat(length));
            let reply = client.with_authorization(value.trim()).get("/v2/").faults_welcome().await;
            let refused = matches!(reply.status, 400 | 401 | 431);
            got.add_if(!refused, || format!("{length} bytes of `{scheme}`: {}", reply.status));
        }
    }
    got
}

/// An oversized header is refused like any other that is no credential, and costs nothing.
#[tokio::test]
async fn oversized_headers_are_refused() {
    let registry = TestRegistry::start().await;
    let before = registry.peak_memory();
    stuff(&registry.anonymous().elsewhere()).await.none();
    assert!(registry.is_running());
    assert!(registry.peak_memory() - before < 32 << 20);
    let gullible = Gullible { name: String::new(), token: String::new() };
    let weak = Weakened::before(&registry.anonymous(), gullible).await;
    stuff(&weak.seen_by(&registry.anonymous())).await.some();
}
