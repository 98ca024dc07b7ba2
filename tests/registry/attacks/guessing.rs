//! Guessing passwords.

use std::net::Ipv4Addr;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::weakened::{Answer, Meddler, answer};
use super::{Breaches, Weakened};
use crate::harness::{Client, TestRegistry, basic, unique_name, unique_text};
use crate::management::personal_token;

/// A registry that counts nothing: whoever is slowed down is told that the guess was wrong.
struct Patient;

impl Meddler for Patient {
    fn after(&self, _: &Parts, reply: &mut Answer) {
        if reply.status() == StatusCode::TOO_MANY_REQUESTS {
            *reply = answer(401, &json!({ "errors": [{ "code": "UNAUTHORIZED", "message": "wrong" }] }));
            reply.headers_mut().insert("www-authenticate", HeaderValue::from_static("Basic realm=\"x\""));
        }
    }
}

/// A registry that locks the account itself: after failures, whatever comes in its name is turned away.
struct Locking {
    victim: String,
}

impl Meddler for Locking {
    fn before(&self, request: &mut Parts) -> Option<Answer> {
        let theirs = request.headers.contains_key("authorization") && request.uri.path() != "/auth/token";
        theirs.then(|| {
            let text = format!("{} is locked", self.victim);
            let mut answer = answer(429, &json!({ "errors": [{ "code": "TOOMANYREQUESTS", "message": text }] }));
            answer.headers_mut().insert("retry-after", HeaderValue::from_static("60"));
            answer
        })
    }
}

/// Tries that password at the token service.
async fn guess(client: &Client, name: &str, password: &str) -> crate::harness::Reply {
    client.with_authorization(&basic(name, password)).get("/auth/token").await
}

/// Guesses at one account from many addresses, until the registry has had enough.
async fn guess_at_one_account(client: &Client, victim: &str) -> Breaches {
    let mut got = Breaches::default();
    let mut answered = 0;
    for n in 0..40_u8 {
        let from = client.at_address(Ipv4Addr::new(127, 88, 1, 2 + n));
        let reply = guess(&from, victim, &unique_text("guess")).await;
        answered += usize::from(reply.status == 401);
        if reply.status == 429 {
            let wait: u64 = reply.header("retry-after").parse().unwrap();
            got.add_if(!(1..=60).contains(&wait), || format!("told to wait for {wait} s"));
        }
    }
    // A busy machine takes its time, in which one more becomes free.
    got.add_if(answered > 24, || format!("{answered} of 40 guesses at one account were answered"));
    got
}

/// Brute force per account: from the 21st failure on, guesses are not answered, wherever they come from.
#[tokio::test]
async fn guesses_at_an_account_are_limited() {
    let registry = TestRegistry::start().await;
    let victim = registry.user("alice").await;
    guess_at_one_account(&registry.anonymous(), victim.name()).await.none();
    // Not even the right one, which is remembered: somebody who is turned away learns nothing.
    let stranger = registry.anonymous().at_address(Ipv4Addr::new(127, 88, 1, 99));
    guess(&stranger, victim.name(), victim.password()).await.is_error(429, "TOOMANYREQUESTS");

    let other = registry.user("bob").await;
    let weak = Weakened::before(&registry.anonymous(), Patient).await;
    guess_at_one_account(&weak.seen_by(&registry.anonymous()), other.name()).await.some();
}

/// Tries one password at many accounts from one address, and one more once it was told it may.
async fn spray(client: &Client, neighbour: &Client) -> Breaches {
    let mut got = Breaches::default();
    let (mut answered, mut wait) = (0, 0);
    for _ in 0..80 {
        let reply = guess(client, &unique_name("somebody"), "password").await;
        answered += usize::from(reply.status == 401);
        if reply.status == 429 {
            wait = reply.header("retry-after").parse().unwrap();
        }
    }
    // A busy machine takes its time, in which a few more become free.
    got.add_if(answered > 70, || format!("{answered} of 80 guesses from one address were answered"));
    let reply = guess(neighbour, &unique_name("somebody"), "password").await;
    got.add_if(reply.status != 401, || format!("the neighbour pays for it: {reply:?}"));
    if wait > 0 {
        tokio::time::sleep(Duration::from_secs(wait + 1)).await;
        let reply = guess(client, &unique_name("somebody"), "password").await;
        got.add_if(reply.status != 401, || format!("`Retry-After` was no promise: {reply:?}"));
    }
    got
}

/// Brute force per address: one password at many accounts is no way around the limit, and `Retry-After` is honest.
#[tokio::test]
async fn guesses_from_an_address_are_limited() {
    let registry = TestRegistry::start().await;
    let nobody = registry.anonymous();
    let (one, two) = (nobody.at_address(Ipv4Addr::new(127, 88, 2, 2)), nobody.at_address(Ipv4Addr::new(127, 88, 2, 3)));
    spray(&one, &two).await.none();
    let weak = Weakened::before(&nobody, Patient).await;
    spray(&weak.seen_by(&one), &weak.seen_by(&two)).await.some();
}

/// What the owner of an account can still do with what they have.
async fn locked_out(credentials: &[(&str, &Client)]) -> Breaches {
    let mut got = Breaches::default();
    for (what, client) in credentials {
        let reply = client.get("/v2/").await;
        got.add_if(reply.status != 200, || format!("the owner is locked out with {what}: {reply:?}"));
    }
    got
}

/// An attacker does not lock the victim out of what is valid: tokens of any kind, and the password where it was used.
#[tokio::test]
async fn an_attacker_locks_nobody_out() {
    let registry = TestRegistry::start().await;
    let alice = registry.user("alice").await.at_address(Ipv4Addr::new(127, 88, 3, 2));
    alice.with_basic().get("/v2/").await.is(200);
    let (_, token) = personal_token(&alice, "ci", &["*"]).await;
    let session = alice.log_in().await;
    for n in 0..60_u8 {
        let attacker = registry.anonymous().at_address(Ipv4Addr::new(127, 88, 3, 100 + n));
        guess(&attacker, alice.name(), &unique_text("guess")).await;
    }
    let elsewhere = token.at_address(Ipv4Addr::new(127, 88, 3, 3));
    let remembered = alice.with_basic();
    let credentials = [
        ("a JWT", &session),
        ("an access token", &token),
        ("an access token from a new address", &elsewhere),
        ("the password, from where it was used before", &remembered),
    ];
    locked_out(&credentials).await.none();

    let weak = Weakened::before(&registry.anonymous(), Locking { victim: alice.name().to_owned() }).await;
    let through: Vec<_> = credentials.iter().map(|(what, client)| (*what, weak.seen_by(client))).collect();
    let through: Vec<_> = through.iter().map(|(what, client)| (*what, client)).collect();
    locked_out(&through).await.all(4);
}
