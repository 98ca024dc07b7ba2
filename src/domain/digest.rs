use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A hash that this registry can compute, and so can promise to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    /// The registered name, as it stands before the `:`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// How many hex digits a hash has.
    pub fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }

    /// The algorithm of that registered name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "sha256" => Some(Self::Sha256),
            "sha512" => Some(Self::Sha512),
            _ => None,
        }
    }
}

/// Names bytes by their hash: `sha256:9f86…0a08`.
///
/// Grammar: `sha256:` and 64, or `sha512:` and 128, of `[0-9a-f]`. Any other
/// algorithm is refused, since a digest we cannot recompute is a promise we
/// cannot keep (I1). 71 or 135 bytes long.
///
/// Source: image-spec 1.1 *Descriptor › Digests*; R-DIG-01 to R-DIG-03.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(Arc<str>);

/// Why a text is no [`Digest`]. The client reads it under `DIGEST_INVALID`,
/// or, where [`Unsupported`](Self::Unsupported) names content to read, as if
/// that content were absent (R-DIG-03).
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum DigestError {
    #[error("a digest is an algorithm, `:` and a hash, such as `sha256:` and 64 hex digits")]
    Malformed,
    #[error("{} needs {} lower-case hex digits", .0.name(), .0.hex_len())]
    Hex(Algorithm),
    #[error("algorithm `{0}` is not supported; use sha256 or sha512")]
    Unsupported(Box<str>),
}

impl Digest {
    /// The digest as text, algorithm included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Which hash it is.
    pub fn algorithm(&self) -> Algorithm {
        // The two lengths differ, so the text need not be read again.
        if self.0.len() == "sha256:".len() + Algorithm::Sha256.hex_len() {
            Algorithm::Sha256
        } else {
            Algorithm::Sha512
        }
    }

    /// The hash in hex, without the algorithm.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }

    /// The digest whose hash has these bytes.
    ///
    /// # Panics
    /// Where the length is not the algorithm's: hashers return fixed lengths.
    pub fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Self {
        assert_eq!(hash.len() * 2, algorithm.hex_len(), "a hash of another algorithm");
        let mut text = String::with_capacity(7 + algorithm.hex_len());
        text.push_str(algorithm.name());
        text.push(':');
        for byte in hash {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
        Self(text.into())
    }
}

impl FromStr for Digest {
    type Err = DigestError;
    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (name, encoded) = text.split_once(':').ok_or(DigestError::Malformed)?;
        if let Some(algorithm) = Algorithm::from_name(name) {
            let well_formed =
                encoded.len() == algorithm.hex_len() && encoded.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            return if well_formed { Ok(Self(text.into())) } else { Err(DigestError::Hex(algorithm)) };
        }
        if is_algorithm(name) && is_encoded(encoded) {
            Err(DigestError::Unsupported(name.into()))
        } else {
            Err(DigestError::Malformed)
        }
    }
}

/// `[a-z0-9]+([+._-][a-z0-9]+)*`, and short enough to be repeated in a message.
fn is_algorithm(name: &str) -> bool {
    name.len() <= 32
        && name
            .split(['+', '.', '_', '-'])
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

/// `[a-zA-Z0-9=_-]+`
fn is_encoded(encoded: &str) -> bool {
    !encoded.is_empty() && encoded.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-'))
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_is_taken_apart_as_it_was_put_together() {
        let digest: Digest = EMPTY.parse().unwrap();
        assert_eq!(digest.algorithm(), Algorithm::Sha256);
        assert_eq!(digest.hex(), &EMPTY[7..]);
        let long = format!("sha512:{}", "0f".repeat(64)).parse::<Digest>().unwrap();
        assert_eq!(long.algorithm(), Algorithm::Sha512);
        assert_eq!(Digest::from_hash(Algorithm::Sha512, &[0x0f; 64]), long);
    }

    #[test]
    fn malformed_and_unsupported_are_told_apart() {
        let unsupported = |text: &str| matches!(text.parse::<Digest>(), Err(DigestError::Unsupported(_)));
        assert!(unsupported(&format!("blake3:{}", "0".repeat(64))));
        assert!(unsupported("multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8"));
        let upper = EMPTY.to_uppercase().replace("SHA256", "sha256");
        for text in [
            "",
            "sha256",
            "sha256:",
            "sha256:totallywrong",
            "sha256:baddigeststring",
            &upper,
            ":",
            "a::b",
            "A:b",
            "md5:ä",
        ] {
            let error = text.parse::<Digest>().unwrap_err();
            assert!(!matches!(error, DigestError::Unsupported(_)), "{text}: {error}");
        }
    }
}
