//! What was acknowledged survives: servers are killed under their clients, over
//! and over, and everything they had said yes to is looked for.
//!
//! A registry is the real binary on real files. Several clients push blobs,
//! images, referrers and mounts, move and delete tags, and delete manifests and
//! blobs, each in repositories of its own, one request at a time: so at a crash
//! what is there must equal what was acknowledged, or that with the one change
//! that was in flight, and nothing else (I2, I3). Servers die by SIGKILL at
//! random moments, in the middle of starting, and at failpoints between every
//! two durable steps; they start again on the same files, with nobody's help.
//!
//! The short form runs with all tests. The long form is one command:
//!
//! ```text
//! CRASH_KILLS=2000 cargo test --release --test crash -- --nocapture
//! ```
//!
//! `CRASH_POWER_CUTS` is the same for power cuts, and `CRASH_SERVER` names another
//! build of the server. `CRASH_SEED` repeats what clients do and how servers die; the moments
//! themselves are the machine's. Those on PostgreSQL are ignored unless asked for by
//! `-- --include-ignored`; where it is, `TEST_POSTGRES_URL` says.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that is surprised should say so and stop")]

mod check;
mod client;
mod content;
mod database;
mod faults;
mod files;
mod life;
mod line;
mod model;
mod order;
mod people;
#[path = "../common/port.rs"]
mod port;
mod power;
mod random;
mod server;
mod tally;
mod trace;

use std::time::{Duration, Instant};

use life::{Life, PLACES, Plan};
use tally::Tally;

/// Deaths of one life, after which a new registry begins.
const ROUNDS: usize = 25;

/// A test has no configuration; this is its command line.
#[expect(clippy::disallowed_methods, reason = "no room of the registry reads this")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn number(name: &str) -> Option<u64> {
    setting(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Where PostgreSQL is.
fn postgres() -> String {
    setting("TEST_POSTGRES_URL").expect("TEST_POSTGRES_URL names a server")
}

/// Lives until so many servers have died, or time is up in the short form.
fn kill(name: &str, replicas: usize, postgres: Option<String>) {
    let long = number("CRASH_KILLS");
    let seed = number("CRASH_SEED").unwrap_or_else(|| u64::from(uuid::Uuid::new_v4().as_fields().0));
    let begun = Instant::now();
    let mut total = Tally::default();
    for nth in 0.. {
        let enough = match long {
            Some(kills) => total.deaths() >= kills,
            None => nth > 0 && begun.elapsed() > Duration::from_secs(25),
        };
        if enough {
            break;
        }
        let rounds = if long.is_some() { ROUNDS } else { 12 };
        let seed = seed.wrapping_add(nth);
        let plan = Plan { seed, clients: 6, replicas, rounds, postgres: postgres.clone() };
        println!("{name}: {plan:?}");
        let mut life = Life::begin(plan);
        life.live();
        total.merge(&life.tally);
        if nth % 10 == 9 {
            println!("{name}, so far, after {:?}:\n{total}\n", begun.elapsed());
        }
    }
    println!("{name}, after {:?}:\n{total}\n", begun.elapsed());
    if long.is_some_and(|kills| kills >= 1000) {
        let never = total.never_died_at(&PLACES);
        assert!(never.is_empty(), "no server died at {never:?}: are they still passed?");
    }
    // Told exactly above; asserted so that a busy machine fails nobody.
    assert!(total.slowest() < Duration::from_secs(20), "{:?}", total.slowest());
}

#[test]
fn what_was_acknowledged_survives_on_sqlite() {
    kill("SQLite", 1, None);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn what_was_acknowledged_survives_on_postgresql() {
    kill("PostgreSQL", 1, Some(postgres()));
}

/// Replicas share a database and a store; one dies, the others go on.
#[test]
#[ignore = "needs PostgreSQL"]
fn what_was_acknowledged_survives_with_replicas() {
    kill("two replicas on PostgreSQL", 2, Some(postgres()));
}
