//! (door to be written)

mod policy;
mod scopes;
mod signature;
mod throttle;
mod token;
mod turns;

pub use policy::{Access, Refusal};
pub use scopes::{Scopes, TooManyScopes};
