//! Distribution: an OCI registry.
//!
//! A newcomer learns it by reading the doors, from the ground up. `domain` has
//! the words of a registry, built only by parsing. `protocol` has the words of
//! the wire, `store` the bytes, `metadata` all SQL, `router` the table of the
//! API. `auth` decides who asks and whether they may. `services` do what a
//! registry does, one per resource. `layers` stand around them, each a tower
//! layer; `server` wires and serves; `config` reads what an operator set, and
//! `cli` is the command line.
//!
//! A request goes through `server::stack`: route, origin, trace, metrics,
//! limits, authenticate, authorize, and then `server::dispatch`, which
//! `build.rs` writes from `routes.toml`. Names point down only, which
//! `tests/house.rs` holds.

pub mod auth;
pub mod cli;
pub mod config;
pub mod domain;
pub mod failpoint;
pub mod layers;
pub mod metadata;
pub mod protocol;
pub mod router;
pub mod server;
pub mod services;
pub mod store;
pub mod telemetry;
