//! The registry from outside: the real binary, a real socket, nothing of its insides.
//!
//! `harness/` starts servers and speaks HTTP to them; every other module is one
//! subject of the specification, and every test says in its doc comment which
//! requirement it would break. `coverage` reads those comments, holds the table in
//! `tests/README.md` equal to them, and knows what has no test yet and why.
//!
//! The same suite runs on both databases: SQLite by itself, PostgreSQL where
//! `TEST_POSTGRES_URL` names a server on which databases may be created.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that is surprised should say so and stop")]

mod harness;

mod anonymity;
mod attacks;
mod blobs;
mod catalog;
mod challenges;
mod clients;
mod configuration;
mod conformance;
mod conformance_head;
mod coverage;
mod deletes;
mod errors;
mod http;
mod http2;
mod jwt;
mod locations;
mod management;
mod manifest_validation;
mod manifests;
mod monolithic;
mod mounts;
mod names;
mod operations;
mod ping;
#[path = "../common/port.rs"]
mod port;
mod ranges;
mod recovery;
mod references;
mod referrers;
mod replicas;
mod scopes;
mod tags;
mod token_post;
mod tokens;
mod uploads;
mod users;
mod visibility;
mod wire;
