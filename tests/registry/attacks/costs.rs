//! What logging in costs a client and the server, over HTTP, for `docs/security.md`:
//! `cargo test --release --test registry -- --ignored --nocapture costs`

use std::future::IntoFuture;
use std::time::Instant;

use futures_util::future::join_all;

use crate::harness::{Client, TestRegistry};
use crate::management::personal_token;

async fn one_by_one(what: &str, clients: &[Client], path: &str, times: usize) {
    let begun = Instant::now();
    for n in 0..times {
        clients[n % clients.len()].get(path).await.is(200);
    }
    println!("{what}: {:?} each, with its connection", begun.elapsed() / u32::try_from(times).unwrap());
}

async fn at_once(what: &str, registry: &TestRegistry, clients: &[Client]) {
    let begun = Instant::now();
    for reply in join_all(clients.iter().map(|client| client.get("/auth/token").into_future())).await {
        reply.is(200);
    }
    let (took, peak) = (begun.elapsed(), registry.peak_memory() >> 20);
    println!("{} {what}: {took:?}, the server's largest size so far {peak} MiB", clients.len());
}

/// Prints figures and asserts no more than that everybody is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures and asserts nothing"]
async fn what_a_login_costs_over_http() {
    let registry = TestRegistry::start().await;
    let mut people = Vec::new();
    for _ in 0..200 {
        people.push(registry.user("ci").await);
    }
    println!("the server at rest: {} MiB at most so far", registry.peak_memory() >> 20);
    // Nothing is remembered over a restart.
    registry.restart();
    let logins: Vec<_> = people.iter().map(Client::with_basic).collect();
    println!("the server, started anew: {} MiB", registry.peak_memory() >> 20);
    at_once("logins at once by password, first", &registry, &logins).await;
    at_once("logins at once by password, remembered", &registry, &logins).await;
    registry.restart();
    let same = vec![logins[0].clone(); 200];
    at_once("logins at once of one account by password, first", &registry, &same).await;
    let (_, token) = personal_token(&people[0].log_in().await, "ci", &["*"]).await;
    at_once("logins at once by access token", &registry, &vec![token.clone(); 200]).await;

    registry.restart();
    one_by_one("login by password, first", &logins, "/auth/token", 100).await;
    one_by_one("login by password, remembered", &logins[..100], "/auth/token", 2000).await;
    one_by_one("login by access token", &[token], "/auth/token", 2000).await;
    one_by_one("a request with a JWT", &[people[0].log_in().await], "/v2/", 2000).await;
    one_by_one("a request that asks nobody who they are", &[registry.anonymous()], "/healthz", 2000).await;
}
