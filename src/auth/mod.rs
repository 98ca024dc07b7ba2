//! (door to be written)

#[cfg(test)]
mod matrix;
mod password;
mod policy;
mod remembered;
mod scopes;
mod secret;
mod signature;
mod throttle;
mod token;
mod turns;

pub use policy::{Access, Refusal};
pub use scopes::{Scopes, TooManyScopes};
