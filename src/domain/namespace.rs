use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The first component of a repository's name: whose repositories these are.
///
/// Grammar: one component of a repository name, `[a-z0-9]+` joined by one `.`,
/// one `_`, two `__` or any number of `-`; 1 to 255 bytes.
///
/// Source: R-NAM-01 for the grammar; the idea of an owner is this registry's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(Arc<str>);

/// Why a text is no [`Namespace`].
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is not one component of a repository name: lower-case letters and digits, \
     joined by `.`, `_`, `__` or `-`"
)]
pub struct NamespaceError(Box<str>);

/// Longest namespace and repository name, in bytes (R-NAM-02).
pub(super) const MAX_LEN: usize = 255;

impl Namespace {
    /// The namespace as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The namespace of a name whose grammar was checked already.
    pub(super) fn of_checked(component: &str) -> Self {
        Self(component.into())
    }
}

impl FromStr for Namespace {
    type Err = NamespaceError;
    fn from_str(text: &str) -> Result<Self, NamespaceError> {
        if text.len() <= MAX_LEN && is_component(text.as_bytes()) {
            Ok(Self(text.into()))
        } else {
            Err(NamespaceError(text.into()))
        }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the bytes are one component of a repository name (R-NAM-01).
pub(super) fn is_component(bytes: &[u8]) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !alphanumeric(first) || !alphanumeric(last) {
        return false;
    }
    let mut at = 0;
    while at < bytes.len() {
        let separator = at;
        while at < bytes.len() && !alphanumeric(bytes[at]) {
            at += 1;
        }
        let joined = match &bytes[separator..at] {
            b"" | b"." | b"_" | b"__" => true,
            run => run.iter().all(|&b| b == b'-'),
        };
        if !joined {
            return false;
        }
        while at < bytes.len() && alphanumeric(bytes[at]) {
            at += 1;
        }
    }
    true
}
