//! Distribution: an OCI registry.

pub mod auth;
pub mod cli;
pub mod config;
pub mod domain;
pub mod layers;
pub mod metadata;
pub mod protocol;
pub mod router;
pub mod server;
pub mod services;
pub mod store;
pub mod telemetry;
