//! Secrets that stand for an account: personal, robot and refresh tokens.
//!
//! They are random, so a plain hash of them is kept and found by, at the price
//! of hashing a short text. The prefix says what one is, to people, to secret
//! scanners and to us.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::SecretString;

use super::token::sha256;
use crate::metadata::{TokenHash, TokenKind};

/// A fresh secret: shown once, kept as a hash.
pub struct NewSecret {
    /// The text for its owner.
    pub secret: SecretString,
    /// What the database keeps.
    pub hash: TokenHash,
}

/// The operating system had no randomness to give.
#[derive(Debug, thiserror::Error)]
#[error("the system has no randomness to give")]
pub struct NoRandomness;

impl NewSecret {
    /// A fresh one of 192 random bits.
    ///
    /// # Errors
    /// [`NoRandomness`] if the system has none.
    pub fn generate(kind: TokenKind) -> Result<Self, NoRandomness> {
        let secret = format!("{}{}", prefix(kind), random::<24>()?);
        let hash = hash(&secret);
        Ok(Self { secret: secret.into(), hash })
    }
}

/// Characters that 24 bytes become.
const RANDOM_LEN: usize = 32;

fn prefix(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Personal => "dpat_",
        TokenKind::Robot => "drob_",
        TokenKind::Refresh => "drft_",
    }
}

/// What the text would be, if it is a secret of ours at all.
pub(super) fn kind_of(text: &str) -> Option<TokenKind> {
    let kinds = [TokenKind::Personal, TokenKind::Robot, TokenKind::Refresh];
    kinds.into_iter().find(|&kind| text.strip_prefix(prefix(kind)).is_some_and(is_random))
}

fn is_random(text: &str) -> bool {
    text.len() == RANDOM_LEN && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// The hash under which a secret is found.
pub(super) fn hash(secret: &str) -> TokenHash {
    TokenHash(sha256(secret.as_bytes()))
}

/// So many random bytes, as text that needs no quoting.
pub(super) fn random<const BYTES: usize>() -> Result<String, NoRandomness> {
    Ok(URL_SAFE_NO_PAD.encode(random_bytes::<BYTES>()?))
}

/// So many random bytes.
pub(super) fn random_bytes<const BYTES: usize>() -> Result<[u8; BYTES], NoRandomness> {
    let mut bytes = [0; BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

impl fmt::Debug for NewSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSecret").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn a_fresh_secret_says_its_kind_and_nothing_else() {
        for kind in [TokenKind::Personal, TokenKind::Robot, TokenKind::Refresh] {
            let (one, two) = (NewSecret::generate(kind).unwrap(), NewSecret::generate(kind).unwrap());
            let text = one.secret.expose_secret();
            assert_eq!(kind_of(text), Some(kind));
            assert!(one.hash == hash(text) && one.hash != two.hash);
            assert!(!format!("{one:?}").contains(&text[5..]));
        }
    }

    #[test]
    fn a_password_is_no_secret_of_ours() {
        for text in ["", "dpat_", "dpat_short", "hunter22", &format!("dpat_{}", "é".repeat(16)), &"drob_x".repeat(9)] {
            assert_eq!(kind_of(text), None, "{text}");
        }
    }
}
