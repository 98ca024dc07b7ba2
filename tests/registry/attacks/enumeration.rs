//! Finding out who has an account.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use serde_json::json;

use super::weakened::{Answer, Meddler, answer};
use super::{Breaches, Weakened, assert_alike, assert_told_apart, telling_apart};
use crate::harness::{Client, Reply, TestRegistry, basic, unique_name, unique_text};
use crate::management::change_user;

/// The name in `Authorization: Basic`.
fn name_of(request: &Parts) -> Option<String> {
    let value = request.headers.get("authorization")?.to_str().ok()?.strip_prefix("Basic ")?;
    let pair = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
    Some(pair.split_once(':')?.0.to_owned())
}

/// A registry that says who is unknown to it.
struct Talkative {
    known: HashSet<String>,
}

impl Meddler for Talkative {
    fn before(&self, request: &mut Parts) -> Option<Answer> {
        let known = name_of(request).is_none_or(|name| self.known.contains(&name));
        (!known).then(|| {
            let mut answer = answer(401, &json!({ "errors": [{ "code": "UNAUTHORIZED", "message": "no such user" }] }));
            let challenge =
                "Bearer realm=\"http://127.0.0.1/auth/token\",service=\"distribution\",error=\"invalid_token\"";
            answer.headers_mut().insert("www-authenticate", http::HeaderValue::from_static(challenge));
            answer
        })
    }
}

/// A registry that looks for the user first, and hashes only for those whom it finds.
struct Hasty {
    known: Mutex<HashSet<String>>,
}

impl Meddler for Hasty {
    fn delay(&self, request: &Parts) -> Duration {
        let known = name_of(request).is_some_and(|name| self.known.lock().unwrap().contains(&name));
        if known { Duration::from_millis(200) } else { Duration::ZERO }
    }
}

/// All ways to try a password.
async fn tries(client: &Client, name: &str, password: &str) -> Vec<Reply> {
    let basic = client.with_authorization(&basic(name, password));
    let form = |fields: &[(&str, &str)]| {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        client.post("/auth/token").header("content-type", "application/x-www-form-urlencoded").body(body)
    };
    vec![
        basic.get("/auth/token").await,
        basic.get("/auth/token?scope=repository:a/b:pull&offline_token=true").await,
        basic.get("/v2/").await,
        basic.get("/v2/a/b/manifests/c").await,
        basic.get("/api/v1/user").await,
        form(&[("grant_type", "password"), ("username", name), ("password", password)]).await,
    ]
}

/// Compares what is said to a wrong password for those who are there and for somebody who is not.
async fn listen(client: &Client, accounts: &[(&str, &str)]) -> Breaches {
    let mut got = Breaches::default();
    let nobody = unique_name("nobody");
    let password = unique_text("password");
    let absent = tries(client, &nobody, &password).await;
    for (name, password) in accounts {
        let port = client.host();
        for (one, two) in tries(client, name, password).await.iter().zip(&absent) {
            let same = one.appearance(&[name, &port]) == two.appearance(&[&nobody, &port]);
            got.add_if(!same, || format!("{name} is told from nobody:\n{one:?}\n{two:?}"));
        }
    }
    got
}

/// User enumeration by status, headers and body: unknown, known, locked out and almost right look the same.
#[tokio::test]
async fn what_is_said_does_not_tell_who_is_there() {
    let registry = TestRegistry::start().await;
    let (alice, bob, admin) = (registry.user("alice").await, registry.user("bob").await, registry.admin().await);
    change_user(&admin, &bob, json!({ "disabled": true })).await.is(200);
    let token = format!("dpat_{}", "x".repeat(32));
    let accounts = [
        (alice.name(), "a wrong password"),
        (bob.name(), bob.password()),
        (bob.name(), "a wrong password"),
        (alice.name(), &*token),
        (admin.name(), "a wrong password"),
    ];
    listen(&registry.anonymous(), &accounts).await.none();
    // Nor do refusals elsewhere say whether there is such a user.
    let there = alice.get(&format!("/api/v1/users/{}", bob.name())).await;
    let absent = alice.get("/api/v1/users/nobody-of-that-name").await;
    assert_eq!(there.appearance(&[]), absent.appearance(&[]));

    let known = [&alice, &bob, &admin].map(|user| user.name().to_owned()).into();
    let weak = Weakened::before(&registry.anonymous(), Talkative { known }).await;
    listen(&weak.seen_by(&registry.anonymous()), &accounts).await.some();
}

/// Six people, for one measurement: each can be guessed at twenty times.
async fn victims(registry: &TestRegistry) -> Vec<Client> {
    let mut victims = Vec::new();
    for _ in 0..6 {
        victims.push(registry.user("victim").await);
    }
    victims
}

/// Measures how long a wrong password takes, for somebody who is there and for somebody who is not.
async fn time(client: &Client, victims: &[Client]) -> f64 {
    let (mut there, mut absent) = (Vec::new(), Vec::new());
    for round in 0..12 {
        for (n, victim) in victims.iter().enumerate() {
            // Each from an address of its own, so that the limits do not come between.
            let from = client.at_address(Ipv4Addr::new(127, 88, 10 + n as u8, 10 + round));
            for is_there in [round % 2 == 0, round % 2 == 1] {
                let name = if is_there { victim.name().to_owned() } else { unique_name("victim") };
                let from = from.with_authorization(&basic(&name, &unique_text("wrong")));
                let begun = Instant::now();
                from.get("/auth/token").await.is(401);
                (if is_there { &mut there } else { &mut absent }).push(begun.elapsed());
            }
        }
    }
    telling_apart(&absent, &there)
}

/// User enumeration by time: a name that nobody has costs what one that somebody has does.
#[tokio::test]
async fn the_time_does_not_tell_who_is_there() {
    let registry = TestRegistry::start().await;
    let nobody = registry.anonymous();
    assert_alike(async || time(&nobody, &victims(&registry).await).await).await;
    assert_told_apart(async || {
        let victims = victims(&registry).await;
        let known = Mutex::new(victims.iter().map(|user| user.name().to_owned()).collect());
        let weak = Weakened::before(&nobody, Hasty { known }).await;
        time(&weak.seen_by(&nobody), &victims).await
    })
    .await;
}
