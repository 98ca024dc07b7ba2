//! Making the registry hash passwords until it drowns.

use std::future::IntoFuture;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::harness::{Client, Reply, TestRegistry, basic, unique_name, unique_text};

/// The n-th address of an attacker who has many.
fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 90, (n / 200) as u8, 2 + (n % 200) as u8)
}

/// A login that costs a hash and fails.
async fn waste(client: Client) -> Reply {
    let client = client.with_authorization(&basic(&unique_name("nobody"), &unique_text("wrong")));
    client.get("/auth/token").faults_welcome().await
}

/// argon2 floods: memory is bounded, since few hashes run at a time however many are wanted, and whoever needs none
/// is answered meanwhile.
///
/// Bites: with 512 hashes at a time instead of two, the peak grew by 517 MiB instead of 33.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_logins_is_bounded() {
    let registry = TestRegistry::start().await;
    let alice = registry.user("alice").await;
    join_all((0..4).map(|_| alice.get("/v2/").into_future())).await;
    let before = registry.peak_memory();
    let flood = tokio::spawn(join_all((0..400).map(|n| waste(registry.anonymous().at_address(address(n))))));
    let mut slowest = Duration::ZERO;
    while !flood.is_finished() {
        let begun = Instant::now();
        alice.get("/v2/").await.is(200);
        slowest = slowest.max(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for reply in flood.await.unwrap() {
        // Those who would wait too long are told so at once.
        assert!(matches!(reply.status, 401 | 429 | 503), "{reply:?}");
    }
    let grown = (registry.peak_memory() - before) >> 20;
    assert!(grown < 150, "the flood took {grown} MiB");
    assert!(slowest < Duration::from_secs(5), "a token was checked only after {slowest:?}");
}

/// argon2 floods: who stands in line behind one address waits for that address; others are served in between.
///
/// Bites: with one line for all (`Turns` keyed by a constant) the login came after 54 of the 55.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_from_one_address_holds_up_nobody_else() {
    let registry = TestRegistry::start().await;
    let alice = registry.user("alice").await;
    let attacker = registry.anonymous().at_address(address(1000));
    let flood: Vec<_> = (0..55).map(|_| tokio::spawn(waste(attacker.clone()))).collect();
    // The line has formed once the first of it is through.
    while !flood.iter().any(tokio::task::JoinHandle::is_finished) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // A new password, since the old one is remembered and costs no hash.
    let before = flood.iter().filter(|login| login.is_finished()).count();
    let bob = registry.anonymous().at_address(address(1001)).as_user(alice.name(), &unique_text("wrong"));
    bob.with_basic().get("/auth/token").await.is(401);
    let after = flood.iter().filter(|login| login.is_finished()).count();
    assert!(after - before < 20, "{} of the flood went first", after - before);
    join_all(flood).await;
}

/// A fleet of 200 jobs that log in at once is served, be they one account or many, with passwords or with tokens.
///
/// Bites: with a line of at most 100 (`LONGEST_LINE`) the rest of the many is turned away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_is_served() {
    let registry = TestRegistry::start().await;
    let ci = registry.user("ci").await;
    let new = unique_text("changed");
    let change = serde_json::json!({ "old_password": ci.password(), "password": new });
    ci.put(&format!("/api/v1/users/{}/password", ci.name())).json(&change).await.is(204);
    let one = ci.as_user(ci.name(), &new).with_basic();
    for reply in join_all((0..200).map(|_| one.get("/auth/token").into_future())).await {
        reply.is(200);
    }
    // Registering hashes as a login does.
    let people = (0..200).map(|_| {
        let body = serde_json::json!({ "username": unique_name("job"), "password": "a good password" });
        registry.anonymous().post("/api/v1/users").json(&body).into_future()
    });
    let mut names = Vec::new();
    for reply in join_all(people).await {
        names.push(reply.is(201).json()["username"].as_str().unwrap().to_owned());
    }
    registry.restart();
    let jobs = names.iter().map(|name| registry.anonymous().as_user(name, "a good password").with_basic());
    for reply in join_all(jobs.map(|job| job.get("/auth/token").into_future())).await {
        reply.is(200);
    }
}
