//! Secrets that stand for an account: access tokens and refresh tokens.
//!
//! They are random, so a plain hash of them is kept and found by, at the price
//! of a hash of a short text. The prefix says what one is, to people, to secret
//! scanners and to us.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::SecretString;

use super::token::sha256;

/// What a secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecretKind {
    /// A user's, as the password of programs: `dpat_…`
    Personal,
    /// A namespace's, as the password of machines: `drob_…`
    Robot,
    /// A client's, to ask for bearer tokens without the password: `drft_…`
    Refresh,
}

/// A fresh secret: shown once, kept as a hash.
pub struct NewSecret {
    /// The text for its owner.
    pub secret: SecretString,
    /// What the database keeps.
    pub hash: [u8; 32],
}

/// The operating system had no randomness to give.
#[derive(Debug, thiserror::Error)]
#[error("no randomness could be had")]
pub struct NoRandomness;

impl SecretKind {
    const ALL: [Self; 3] = [Self::Personal, Self::Robot, Self::Refresh];

    /// What each begins with.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Personal => "dpat_",
            Self::Robot => "drob_",
            Self::Refresh => "drft_",
        }
    }

    /// What the text would be, if it is a secret of ours at all.
    pub fn of(text: &str) -> Option<Self> {
        let kind = Self::ALL.into_iter().find(|kind| text.starts_with(kind.prefix()))?;
        let random = &text[kind.prefix().len()..];
        let well_formed =
            random.len() == RANDOM_LEN && random.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        well_formed.then_some(kind)
    }

    /// A fresh one of 192 random bits.
    ///
    /// # Errors
    /// [`NoRandomness`] if the system has none.
    pub fn generate(self) -> Result<NewSecret, NoRandomness> {
        let secret = format!("{}{}", self.prefix(), random::<24>()?);
        let hash = hash(&secret);
        Ok(NewSecret { secret: secret.into(), hash })
    }
}

/// Characters that 24 bytes become.
const RANDOM_LEN: usize = 32;

/// The hash under which a secret is found.
pub(super) fn hash(secret: &str) -> [u8; 32] {
    sha256(secret.as_bytes())
}

/// So many random bytes, as text that needs no quoting.
pub(super) fn random<const BYTES: usize>() -> Result<String, NoRandomness> {
    let mut bytes = [0; BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
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
        for kind in SecretKind::ALL {
            let (one, two) = (kind.generate().unwrap(), kind.generate().unwrap());
            let text = one.secret.expose_secret();
            assert_eq!(SecretKind::of(text), Some(kind));
            assert_eq!(one.hash, hash(text));
            assert_ne!(one.hash, two.hash);
            assert!(!format!("{one:?}").contains(&text[5..]));
        }
    }

    #[test]
    fn a_password_is_no_secret_of_ours() {
        for text in ["", "dpat_", "dpat_short", "hunter22", &format!("dpat_{}", "é".repeat(16)), &"drob_x".repeat(9)] {
            assert_eq!(SecretKind::of(text), None, "{text}");
        }
    }
}
