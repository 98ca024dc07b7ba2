use std::fmt;
use std::str::FromStr;

/// A movable name of a manifest within its repository: `v1.2`.
///
/// Grammar: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`, case-sensitive.
///
/// Source: distribution-spec 1.1 *Pulling manifests*; R-TAG-01, R-TAG-02.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Box<str>);

/// Why a text is no [`Tag`].
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("a tag is 1 to 128 of `[a-zA-Z0-9._-]` and begins with a letter, a digit or `_`")]
pub struct TagError;

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = TagError;
    fn from_str(text: &str) -> Result<Self, TagError> {
        let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        let goes_on = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if begins && goes_on && text.len() <= 128 { Ok(Self(text.into())) } else { Err(TagError) }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_that_clients_create_parse_and_others_do_not() {
        let longest = "x".repeat(128);
        let attachment = format!("sha256-{}.sig", "a".repeat(64));
        for tag in ["latest", "_x", "1.0_abc", "V1", &attachment, &longest] {
            assert!(tag.parse::<Tag>().is_ok(), "{tag}");
        }
        let too_long = "x".repeat(129);
        for tag in ["", ".x", "-x", "a:b", "a@b", "a/b", "a+b", "ä", "a b", &too_long] {
            assert!(tag.parse::<Tag>().is_err(), "{tag}");
        }
    }
}
