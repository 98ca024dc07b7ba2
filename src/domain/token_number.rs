use std::fmt;
use std::str::FromStr;

/// Names an access token in a path: the number it was given when it was made.
///
/// Grammar: decimal digits without a leading zero, at least 1 and at most what
/// 63 bits hold. It is no secret; whose the token is, is asked each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenNumber(i64);

/// Why a text is no [`TokenNumber`]. To a client such a token is simply unknown.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("a token is named by its number")]
pub struct TokenNumberError;

impl TokenNumber {
    /// The number.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl FromStr for TokenNumber {
    type Err = TokenNumberError;
    fn from_str(text: &str) -> Result<Self, TokenNumberError> {
        // One spelling only: no sign, no leading zero.
        let canonical = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        text.parse().ok().filter(|_| canonical).map(Self).ok_or(TokenNumberError)
    }
}

impl fmt::Display for TokenNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_one_number_and_one_spelling_of_it() {
        for text in ["1", "42", "9223372036854775807"] {
            assert_eq!(text.parse::<TokenNumber>().unwrap().to_string(), text);
        }
        for text in ["", "0", "01", "+1", "-1", " 1", "1.0", "x", "٣", "9223372036854775808"] {
            assert_eq!(text.parse::<TokenNumber>(), Err(TokenNumberError), "{text}");
        }
    }
}
