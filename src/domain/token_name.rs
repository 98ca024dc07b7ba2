use std::fmt;
use std::str::FromStr;

/// What a user calls a personal token, to know it again in a list: `laptop`, `CI of app`.
///
/// Grammar: 1 to 64 characters, none of them a control character, and no space
/// at either end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenName(Box<str>);

/// Why a text is no [`TokenName`].
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("a token's name is 1 to 64 characters without control characters, and no space at either end")]
pub struct TokenNameError;

impl TokenName {
    /// Longest name, in characters.
    pub const MAX_LEN: usize = 64;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenName {
    type Err = TokenNameError;
    fn from_str(text: &str) -> Result<Self, TokenNameError> {
        let well_formed = (1..=Self::MAX_LEN).contains(&text.chars().count())
            && !text.chars().any(char::is_control)
            && text.trim() == text;
        if well_formed { Ok(Self(text.into())) } else { Err(TokenNameError) }
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_that_can_be_read() {
        for text in ["laptop", "CI of app", "ノート", &"é".repeat(64)] {
            assert_eq!(text.parse::<TokenName>().unwrap().as_str(), text);
        }
        for text in ["", " ", " a", "a ", "a\nb", "a\0", "\u{85}", &"x".repeat(65)] {
            assert_eq!(text.parse::<TokenName>(), Err(TokenNameError), "{text:?}");
        }
    }
}
