use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Namespace;
use super::namespace::is_component;

/// Names a user, and with it the namespace that is theirs.
///
/// Grammar: one component of a repository name, 1 to 64 bytes, so that
/// `<username>/<anything>` is a repository (design: identity and authorization).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Username(Arc<str>);

/// Why a text is no [`Username`].
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("a username is 1 to 64 lower-case letters and digits, joined by `.`, `_`, `__` or `-`")]
pub struct UsernameError;

impl Username {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The namespace that bears the user's name.
    pub fn namespace(&self) -> Namespace {
        Namespace::of_checked(&self.0)
    }
}

impl FromStr for Username {
    type Err = UsernameError;
    fn from_str(text: &str) -> Result<Self, UsernameError> {
        if text.len() <= 64 && is_component(text.as_bytes()) { Ok(Self(text.into())) } else { Err(UsernameError) }
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
