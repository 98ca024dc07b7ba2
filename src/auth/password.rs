//! Passwords: argon2id with a salt for each, and a pepper for all.
//!
//! The pepper (`PASSWORD_SALT`) is not in the database, so a stolen database
//! alone lets nobody guess passwords. Beside each hash stands the id of its
//! pepper: one that is introduced later is taken up at each user's next login,
//! one that was lost is said in the log instead of being taken for a typing
//! error. The id is itself a slow hash, cut short, and betrays no pepper.
//!
//! Everything here blocks for milliseconds; [`super::login`] runs it elsewhere.

use std::fmt;

use argon2::password_hash::phc;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret, SecretString};

use super::secret;
use crate::metadata::PasswordHash;

/// A password as a user may choose it.
///
/// Grammar: 6 to 1024 bytes of UTF-8, taken as they are (design §8).
#[derive(Debug, Clone)]
pub struct Password(SecretString);

/// Why a text is no [`Password`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PasswordError {
    /// It is too easy to guess.
    #[error("a password has at least {} bytes", Password::MIN_LEN)]
    TooShort,
    /// It is not worth hashing.
    #[error("a password has at most {} bytes", Password::MAX_LEN)]
    TooLong,
    /// It would be taken for an access token.
    #[error("a password does not look like an access token")]
    Token,
}

impl Password {
    /// Shortest, in bytes.
    pub const MIN_LEN: usize = 6;
    /// Longest, in bytes.
    pub const MAX_LEN: usize = 1024;

    /// Its bytes, for hashing only.
    pub(super) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl TryFrom<&str> for Password {
    type Error = PasswordError;
    fn try_from(text: &str) -> Result<Self, PasswordError> {
        match text.len() {
            ..Self::MIN_LEN => Err(PasswordError::TooShort),
            _ if secret::kind_of(text).is_some() => Err(PasswordError::Token),
            Self::MIN_LEN..=Self::MAX_LEN => Ok(Self(text.into())),
            _ => Err(PasswordError::TooLong),
        }
    }
}

/// What the database keeps of a password.
#[derive(Debug, Clone)]
pub struct Hashed {
    /// The hash, with its salt and parameters.
    pub hash: PasswordHash,
    /// Which pepper went into it, if any.
    pub pepper_id: Option<Box<str>>,
}

/// What became of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    /// It is another password.
    Wrong,
    /// It is the password.
    Right,
    /// It is the password, whose hash has old parameters or no pepper yet: hash it anew.
    RightButStale,
    /// Nobody can tell: the hash was made with a pepper that is not the one configured.
    OtherPepper,
}

impl Comparison {
    /// Whether it is the password.
    pub(super) fn is_right(self) -> bool {
        matches!(self, Self::Right | Self::RightButStale)
    }
}

/// Why a password was neither hashed nor compared.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// argon2 refused, for want of memory or of randomness.
    #[error("hashing a password failed: {0}")]
    Argon2(argon2::Error),
    /// The hash is not one.
    #[error("a stored password hash cannot be read: {0}")]
    Phc(argon2::password_hash::Error),
}

/// Hashes and compares, with one pepper or none.
pub struct Hasher {
    pepper: Option<SecretString>,
    pepper_id: Option<Box<str>>,
    /// Compared with where there is no such user, so that it takes as long.
    nobody: Hashed,
}

impl Hasher {
    /// A hasher with that pepper. Costs two hashes.
    ///
    /// # Errors
    /// [`HashError`] if argon2 refuses.
    pub fn new(pepper: Option<SecretString>) -> Result<Self, HashError> {
        let pepper_id = pepper.as_ref().map(pepper_id).transpose()?;
        let mut hasher = Self { pepper, pepper_id, nobody: Hashed { hash: PasswordHash::new(""), pepper_id: None } };
        hasher.nobody = hasher.hash_text("nobody has this password")?;
        Ok(hasher)
    }

    /// Hashes a password, with a fresh salt.
    ///
    /// # Errors
    /// [`HashError`] if argon2 refuses.
    pub fn hash(&self, password: &Password) -> Result<Hashed, HashError> {
        self.hash_text(password.expose())
    }

    /// Whether the text is the password of that hash; without one, takes as long to say no.
    ///
    /// # Errors
    /// [`HashError`] if the hash cannot be read.
    pub(super) fn compare(&self, text: &str, hashed: Option<&Hashed>) -> Result<Comparison, HashError> {
        let Some(hashed) = hashed else {
            self.matches(text, &self.nobody)?;
            return Ok(Comparison::Wrong);
        };
        if hashed.pepper_id.is_some() && hashed.pepper_id != self.pepper_id {
            self.matches(text, &self.nobody)?;
            return Ok(Comparison::OtherPepper);
        }
        match self.matches(text, hashed)? {
            None => Ok(Comparison::Wrong),
            Some(current) if current && hashed.pepper_id == self.pepper_id => Ok(Comparison::Right),
            Some(_) => Ok(Comparison::RightButStale),
        }
    }

    fn hash_text(&self, text: &str) -> Result<Hashed, HashError> {
        let hash = argon2(self.pepper.as_ref())?.hash_password(text.as_bytes()).map_err(HashError::Phc)?;
        Ok(Hashed { hash: PasswordHash::new(hash.to_string()), pepper_id: self.pepper_id.clone() })
    }

    /// If the text is the password of the hash: whether the hash is one as we make them now.
    fn matches(&self, text: &str, hashed: &Hashed) -> Result<Option<bool>, HashError> {
        let phc = phc::PasswordHash::new(hashed.hash.as_str()).map_err(|error| HashError::Phc(error.into()))?;
        let pepper = self.pepper.as_ref().filter(|_| hashed.pepper_id.is_some());
        match argon2(pepper)?.verify_password(text.as_bytes(), &phc) {
            Ok(()) => Ok(Some(is_current(&phc)?)),
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(None),
            Err(error) => Err(HashError::Phc(error)),
        }
    }
}

fn is_current(phc: &phc::PasswordHash) -> Result<bool, HashError> {
    let (theirs, ours) = (Params::try_from(phc).map_err(HashError::Phc)?, Params::default());
    let cost = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
    let version = phc.version == Some(Version::V0x13.into());
    Ok(version && phc.algorithm == Algorithm::Argon2id.ident() && cost(&theirs) == cost(&ours))
}

fn argon2(pepper: Option<&SecretString>) -> Result<Argon2<'_>, HashError> {
    let secret = pepper.map_or(&[][..], |pepper| pepper.expose_secret().as_bytes());
    Argon2::new_with_secret(secret, Algorithm::Argon2id, Version::V0x13, Params::default()).map_err(HashError::Argon2)
}

/// Tells peppers apart: 32 bits, which many peppers share, of a hash as slow as a password's.
fn pepper_id(pepper: &SecretString) -> Result<Box<str>, HashError> {
    let mut id = [0; 4];
    argon2(None)?
        .hash_password_into(pepper.expose_secret().as_bytes(), b"id of a pepper", &mut id)
        .map_err(HashError::Argon2)?;
    Ok(id.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").field("pepper", &self.pepper.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::try_from(text).unwrap()
    }

    fn peppered(pepper: &str) -> Hasher {
        Hasher::new(Some(pepper.into())).unwrap()
    }

    #[test]
    fn a_password_has_six_to_1024_bytes() {
        assert_eq!(Password::try_from("12345").unwrap_err(), PasswordError::TooShort);
        assert_eq!(Password::try_from(&*"x".repeat(1025)).unwrap_err(), PasswordError::TooLong);
        for good in ["123456", "äöü", " spaces count ", "a:b:c:d", &"x".repeat(1024)] {
            assert!(Password::try_from(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_password_matches_its_own_hash_only_and_no_two_hashes_are_equal() {
        let hasher = Hasher::new(None).unwrap();
        let (one, two) = (hasher.hash(&password("correct")).unwrap(), hasher.hash(&password("correct")).unwrap());
        assert!(one.hash != two.hash);
        assert!(one.hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_eq!(hasher.compare("correct", Some(&one)).unwrap(), Comparison::Right);
        assert_eq!(hasher.compare("Correct", Some(&one)).unwrap(), Comparison::Wrong);
        assert_eq!(hasher.compare("correct", None).unwrap(), Comparison::Wrong);
        assert_eq!(hasher.compare("nobody has this password", None).unwrap(), Comparison::Wrong);
    }

    #[test]
    fn a_pepper_can_come_later_but_not_change() {
        let (plain, first, second) =
            (Hasher::new(None).unwrap(), peppered("0123456789abcdef"), peppered("another pepper!!"));
        let without = plain.hash(&password("correct")).unwrap();
        let with = first.hash(&password("correct")).unwrap();
        assert_eq!(first.compare("correct", Some(&without)).unwrap(), Comparison::RightButStale);
        assert_eq!(first.compare("wrong!", Some(&without)).unwrap(), Comparison::Wrong);
        assert_eq!(first.compare("correct", Some(&with)).unwrap(), Comparison::Right);
        assert_eq!(second.compare("correct", Some(&with)).unwrap(), Comparison::OtherPepper);
        assert_eq!(plain.compare("correct", Some(&with)).unwrap(), Comparison::OtherPepper);
        assert_ne!(first.pepper_id, second.pepper_id);
        assert_eq!(first.pepper_id, peppered("0123456789abcdef").pepper_id, "the same after a restart");
    }

    #[test]
    fn a_hash_with_old_parameters_is_stale() {
        let hasher = Hasher::new(None).unwrap();
        let old = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap());
        let hash = PasswordHash::new(old.hash_password(b"correct").unwrap().to_string());
        let hashed = Hashed { hash, pepper_id: None };
        assert_eq!(hasher.compare("correct", Some(&hashed)).unwrap(), Comparison::RightButStale);
        assert_eq!(hasher.compare("wrong!", Some(&hashed)).unwrap(), Comparison::Wrong);
    }

    #[test]
    fn nothing_of_it_is_printed() {
        let hasher = peppered("0123456789abcdef");
        let hashed = hasher.hash(&password("correct horse")).unwrap();
        let printed = format!("{:?} {:?} {hasher:?}", password("correct horse"), hashed);
        for secret in ["correct", "0123456789abcdef", "argon2"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
}
