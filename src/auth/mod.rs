//! Who asks, and may they.
//!
//! Credentials come in as text and go out as a [`Caller`]: an identity with what
//! narrows it. What a caller may do is decided by one pure function (`policy`)
//! over what the database says now, at each request and again inside the
//! transaction of a push, so that a token is never the reason why something is
//! allowed (I6). This room knows no header and no status code; `layers` speak.
//!
//! Passwords are dear on purpose, so everything around them is built to need few:
//! verdicts are remembered, equal logins share one hash, and those that need one
//! take turns. Access tokens and bearer tokens are cheap and never wait.
//!
//! What we gave up: tokens that others can verify. HS256 is enough for a registry
//! that asks itself, and one algorithm is one that nobody can be talked out of.

mod check;
mod failures;
#[cfg(test)]
mod forgeries;
mod gate;
mod identity;
mod issue;
mod login;
#[cfg(test)]
mod matrix;
mod password;
mod policy;
mod remembered;
mod scopes;
mod secret;
mod signature;
#[cfg(test)]
mod tests;
mod throttle;
mod token;
mod turns;

pub use check::{CatalogPage, CheckError, Permit};
pub use gate::{Auth, OpenError, Options, Registration, Rejection};
pub use identity::{Bearer, Caller, Credential, Identity, Peer, Robot, RobotName, RobotNameError};
pub use issue::{IssueError, Issued, MAX_CLIENT};
pub use password::{HashError, Hashed, Hasher, Password, PasswordError};
pub use policy::{Access, Claim, NamespaceAccess, Refusal};
pub use scopes::{Scopes, TooManyScopes};
pub use secret::{NewSecret, NoRandomness};
pub use throttle::{Limit, Limits};

/// What [`Rejection`] and [`CheckError`] carry of the database; for rooms that do not know it.
pub use crate::metadata::Error as MetadataError;
