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

use argon2::password_hash::phc::{self, Output, ParamsString, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use secrecy::{ExposeSecret, SecretString};

use super::secret::{self, NoRandomness};
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
    /// argon2 refused.
    #[error("hashing a password failed")]
    Argon2(#[source] argon2::Error),
    /// No salt could be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The hash is not one, or of something else.
    #[error("a stored password hash cannot be read")]
    Phc(#[source] argon2::password_hash::Error),
}

/// What hashing is done in: 19 MiB, worth keeping from one hash to the next.
#[derive(Default)]
pub(super) struct Memory(Vec<Block>);

/// Blocks of 1 KiB that are asked for at least. glibc maps whatever is larger
/// than 32 MiB on its own and unmaps it when it is freed; anything smaller it
/// may keep, once for each of its arenas. What is not touched costs nothing.
const MAPPED: usize = 33 * 1024;

impl Memory {
    fn blocks(&mut self, count: usize) -> &mut [Block] {
        if self.0.capacity() < count {
            self.0 = Vec::with_capacity(count.max(MAPPED));
        }
        if self.0.len() < count {
            self.0.resize(count, Block::new());
        }
        &mut self.0[..count]
    }
}

/// Hashes and compares, with one pepper or none.
pub struct Hasher {
    pepper: Option<SecretString>,
    pepper_id: Option<Box<str>>,
    /// Compared with where there is no such user, so that it takes as long.
    nobody: Hashed,
}

impl Hasher {
    /// A hasher with that pepper. Costs a hash or two.
    ///
    /// # Errors
    /// [`HashError`] if argon2 refuses.
    pub fn new(pepper: Option<SecretString>) -> Result<Self, HashError> {
        let mut memory = Memory::default();
        let pepper_id = pepper.as_ref().map(|pepper| pepper_id(pepper, &mut memory)).transpose()?;
        let nobody = Hashed { hash: PasswordHash::new(""), pepper_id: None };
        let mut hasher = Self { pepper, pepper_id, nobody };
        hasher.nobody = hasher.hash_text("nobody has this password", &mut memory)?;
        Ok(hasher)
    }

    /// Hashes a password, with a fresh salt.
    ///
    /// # Errors
    /// [`HashError`] if argon2 refuses.
    pub fn hash(&self, password: &Password) -> Result<Hashed, HashError> {
        self.hash_in(password, &mut Memory::default())
    }

    /// The same, in memory that is there already.
    pub(super) fn hash_in(&self, password: &Password, memory: &mut Memory) -> Result<Hashed, HashError> {
        self.hash_text(password.expose(), memory)
    }

    /// Whether the text is the password of that hash; without one, takes as long to say no.
    pub(super) fn compare(
        &self,
        text: &str,
        hashed: Option<&Hashed>,
        memory: &mut Memory,
    ) -> Result<Comparison, HashError> {
        let Some(hashed) = hashed else {
            self.matches(text, &self.nobody, memory)?;
            return Ok(Comparison::Wrong);
        };
        if hashed.pepper_id.is_some() && hashed.pepper_id != self.pepper_id {
            self.matches(text, &self.nobody, memory)?;
            return Ok(Comparison::OtherPepper);
        }
        match self.matches(text, hashed, memory)? {
            None => Ok(Comparison::Wrong),
            Some(current) if current && hashed.pepper_id == self.pepper_id => Ok(Comparison::Right),
            Some(_) => Ok(Comparison::RightButStale),
        }
    }

    fn hash_text(&self, text: &str, memory: &mut Memory) -> Result<Hashed, HashError> {
        let salt: [u8; 16] = secret::random_bytes()?;
        let params = Params::default();
        let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
        let argon2 = argon2(Algorithm::Argon2id, Version::V0x13, params.clone(), self.pepper.as_ref())?;
        fill(&argon2, text.as_bytes(), &salt, &mut output, memory)?;
        let phc = phc::PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&params).map_err(HashError::Phc)?,
            salt: Some(Salt::new(&salt).map_err(unreadable)?),
            hash: Some(Output::new(&output).map_err(unreadable)?),
        };
        Ok(Hashed { hash: PasswordHash::new(phc.to_string()), pepper_id: self.pepper_id.clone() })
    }

    /// If the text is the password of the hash: whether the hash is one as we make them now.
    fn matches(&self, text: &str, hashed: &Hashed, memory: &mut Memory) -> Result<Option<bool>, HashError> {
        let phc = phc::PasswordHash::new(hashed.hash.as_str()).map_err(unreadable)?;
        let algorithm = Algorithm::try_from(phc.algorithm.as_str()).map_err(HashError::Phc)?;
        let version = Version::try_from(phc.version.unwrap_or(Version::V0x13.into())).map_err(HashError::Argon2)?;
        let params = Params::try_from(&phc).map_err(HashError::Phc)?;
        let (Some(salt), Some(expected)) = (phc.salt, phc.hash) else {
            return Err(HashError::Phc(argon2::password_hash::Error::SaltInvalid));
        };
        let pepper = self.pepper.as_ref().filter(|_| hashed.pepper_id.is_some());
        let mut output = [0; Output::MAX_LENGTH];
        let output = &mut output[..expected.len()];
        fill(&argon2(algorithm, version, params.clone(), pepper)?, text.as_bytes(), &salt, output, memory)?;
        // `Output` compares in constant time.
        let same = Output::new(output).map_err(unreadable)? == expected;
        let ours = Params::default();
        let costs_the_same =
            params.m_cost() == ours.m_cost() && params.t_cost() == ours.t_cost() && params.p_cost() == ours.p_cost();
        Ok(same.then_some(algorithm == Algorithm::Argon2id && version == Version::V0x13 && costs_the_same))
    }
}

fn argon2(
    algorithm: Algorithm,
    version: Version,
    params: Params,
    pepper: Option<&SecretString>,
) -> Result<Argon2<'_>, HashError> {
    let secret = pepper.map_or(&[][..], |pepper| pepper.expose_secret().as_bytes());
    Argon2::new_with_secret(secret, algorithm, version, params).map_err(HashError::Argon2)
}

fn fill(
    argon2: &Argon2<'_>,
    text: &[u8],
    salt: &[u8],
    output: &mut [u8],
    memory: &mut Memory,
) -> Result<(), HashError> {
    let blocks = memory.blocks(argon2.params().block_count());
    argon2.hash_password_into_with_memory(text, salt, output, blocks).map_err(HashError::Argon2)
}

fn unreadable(error: phc::Error) -> HashError {
    HashError::Phc(error.into())
}

/// Tells peppers apart: 32 bits, which many peppers share, of a hash as slow as a password's.
fn pepper_id(pepper: &SecretString, memory: &mut Memory) -> Result<Box<str>, HashError> {
    let mut id = [0; 4];
    let argon2 = argon2(Algorithm::Argon2id, Version::V0x13, Params::default(), None)?;
    fill(&argon2, pepper.expose_secret().as_bytes(), b"id of a pepper", &mut id, memory)?;
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
    use argon2::password_hash::PasswordHasher;

    fn password(text: &str) -> Password {
        Password::try_from(text).unwrap()
    }

    fn peppered(pepper: &str) -> Hasher {
        Hasher::new(Some(pepper.into())).unwrap()
    }

    fn compare(hasher: &Hasher, text: &str, hashed: Option<&Hashed>) -> Result<Comparison, HashError> {
        hasher.compare(text, hashed, &mut Memory::default())
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
        assert_eq!(compare(&hasher, "correct", Some(&one)).unwrap(), Comparison::Right);
        assert_eq!(compare(&hasher, "Correct", Some(&one)).unwrap(), Comparison::Wrong);
        assert_eq!(compare(&hasher, "correct", None).unwrap(), Comparison::Wrong);
        assert_eq!(compare(&hasher, "nobody has this password", None).unwrap(), Comparison::Wrong);
    }

    /// Whether there is such a user shows in the answer no sooner: all three cost a hash.
    #[test]
    fn who_has_no_password_or_one_of_another_pepper_costs_the_same() {
        let (ours, theirs) = (peppered("0123456789abcdef"), peppered("another pepper!!"));
        let other = theirs.hash(&password("correct")).unwrap();
        let own = ours.hash(&password("correct")).unwrap();
        for hashed in [None, Some(&other), Some(&own)] {
            let mut memory = Memory::default();
            ours.compare("whatever", hashed, &mut memory).unwrap();
            assert_eq!(memory.0.len(), Params::default().block_count());
            assert!(memory.0.iter().all(|block| block.as_ref().iter().any(|&word| word != 0)), "filled");
        }
    }

    #[test]
    fn a_pepper_can_come_later_but_not_change() {
        let (plain, first, second) =
            (Hasher::new(None).unwrap(), peppered("0123456789abcdef"), peppered("another pepper!!"));
        let without = plain.hash(&password("correct")).unwrap();
        let with = first.hash(&password("correct")).unwrap();
        assert_eq!(compare(&first, "correct", Some(&without)).unwrap(), Comparison::RightButStale);
        assert_eq!(compare(&first, "wrong!", Some(&without)).unwrap(), Comparison::Wrong);
        assert_eq!(compare(&first, "correct", Some(&with)).unwrap(), Comparison::Right);
        assert_eq!(compare(&second, "correct", Some(&with)).unwrap(), Comparison::OtherPepper);
        assert_eq!(compare(&plain, "correct", Some(&with)).unwrap(), Comparison::OtherPepper);
        assert_ne!(first.pepper_id, second.pepper_id);
        assert_eq!(first.pepper_id, peppered("0123456789abcdef").pepper_id, "the same after a restart");
    }

    #[test]
    fn a_hash_with_old_parameters_is_stale() {
        let hasher = Hasher::new(None).unwrap();
        let old = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap());
        let hash = PasswordHash::new(old.hash_password(b"correct").unwrap().to_string());
        let hashed = Hashed { hash, pepper_id: None };
        assert_eq!(compare(&hasher, "correct", Some(&hashed)).unwrap(), Comparison::RightButStale);
        assert_eq!(compare(&hasher, "wrong!", Some(&hashed)).unwrap(), Comparison::Wrong);
    }

    /// Others can read our hashes, and we theirs; in memory that was used before.
    #[test]
    fn a_hash_is_what_argon2_itself_makes_of_it() {
        use argon2::password_hash::PasswordVerifier;
        let pepper = b"0123456789abcdef";
        let reference =
            Argon2::new_with_secret(pepper, Algorithm::Argon2id, Version::V0x13, Params::default()).unwrap();
        let (ours, mut memory) = (peppered("0123456789abcdef"), Memory::default());
        let hashed = ours.hash_in(&password("correct"), &mut memory).unwrap();
        let phc = phc::PasswordHash::new(hashed.hash.as_str()).unwrap();
        reference.verify_password(b"correct", &phc).unwrap();
        let theirs = PasswordHash::new(reference.hash_password(b"correct").unwrap().to_string());
        let theirs = Hashed { hash: theirs, pepper_id: ours.pepper_id.clone() };
        assert_eq!(ours.compare("correct", Some(&theirs), &mut memory).unwrap(), Comparison::Right);
        assert_eq!(ours.compare("Correct", Some(&theirs), &mut memory).unwrap(), Comparison::Wrong);
        assert!(memory.0.capacity() * 1024 > 32 * 1024 * 1024, "so that it is given back");
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
