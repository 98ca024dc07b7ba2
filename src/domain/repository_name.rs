use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::namespace::{self, Namespace};

/// Names a repository: `library/ubuntu`.
///
/// Grammar: components of `[a-z0-9]+` joined by one `.`, one `_`, two `__` or
/// any number of `-`; components joined by `/`. 1 to 255 bytes, no folding, no
/// trimming. Any component may be `blobs`, `manifests`, `tags` and the like.
///
/// Source: distribution-spec 1.1 *Pulling manifests*; R-NAM-01 to R-NAM-05.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName(Arc<str>);

/// Why a text is no [`RepositoryName`]. The client reads it under `NAME_INVALID`.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum RepositoryNameError {
    #[error("a repository name is empty")]
    Empty,
    #[error("a repository name has at most {max} bytes, this one has {0}", max = namespace::MAX_LEN)]
    TooLong(usize),
    #[error(
        "`{0}` is no component of a repository name: lower-case letters and digits, \
         joined by `.`, `_`, `__` or `-`"
    )]
    Component(Box<str>),
}

impl RepositoryName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its first component.
    pub fn namespace(&self) -> Namespace {
        Namespace::of_checked(self.namespace_str())
    }

    /// Its first component, borrowed.
    pub fn namespace_str(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(first, _)| first)
    }
}

impl FromStr for RepositoryName {
    type Err = RepositoryNameError;
    fn from_str(text: &str) -> Result<Self, RepositoryNameError> {
        if text.is_empty() {
            return Err(RepositoryNameError::Empty);
        }
        if text.len() > namespace::MAX_LEN {
            return Err(RepositoryNameError::TooLong(text.len()));
        }
        match text.split('/').find(|component| !namespace::is_component(component.as_bytes())) {
            Some(component) => Err(RepositoryNameError::Component(component.into())),
            None => Ok(Self(text.into())),
        }
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for RepositoryName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_valid_and_invalid_names_of_the_requirements() {
        let longest = "a".repeat(255);
        let valid = [
            "a",
            "0",
            "a/b",
            "a/b/c/d/e",
            "a--b",
            "a---b",
            "a__b",
            "a.b_c-d",
            "foo/bar-baz/0.1",
            "localhost/x",
            "blobs/uploads",
            &longest,
        ];
        for name in valid {
            assert!(name.parse::<RepositoryName>().is_ok(), "{name}");
        }
        let too_long = "a".repeat(256);
        let invalid = [
            "", "A", "a/B", "_a", "a_", "-a", "a-", ".a", "a.", "a..b", "a___b", "a._b", "a.-b", "a_-b", "a//b", "/a",
            "a/", "a b", "a:b", "a@b", "a%b", "ä", &too_long,
        ];
        for name in invalid {
            assert!(name.parse::<RepositoryName>().is_err(), "{name}");
        }
    }

    proptest! {
        /// R-NAM-01: whatever the grammar generates is a name, and its namespace is its first component.
        #[test]
        fn every_name_of_the_grammar_parses(
            name in "[a-z0-9]{1,5}((\\.|_|__|-{1,3})[a-z0-9]{1,5}){0,3}(/[a-z0-9]{1,5}((\\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}){0,4}"
        ) {
            let parsed = name.parse::<RepositoryName>().unwrap();
            prop_assert_eq!(parsed.as_str(), &name);
            let namespace = parsed.namespace();
            prop_assert_eq!(Some(namespace.as_str()), name.split('/').next());
        }
    }
}
