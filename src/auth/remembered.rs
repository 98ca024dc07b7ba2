//! Credentials that were checked a moment ago, so that a fleet's logins do not cost a hash each.
//!
//! A credential is kept as its HMAC under a key that this process made up, which
//! is of no use to who reads the memory of another. It counts only for the token
//! epoch it was checked in: a new password, disabling or deleting ends it at once.
//! Wrong ones are kept more briefly, and so that they do not displace right ones.

use std::time::Duration;

use quick_cache::sync::Cache;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::time::Instant;
use uuid::Uuid;

use super::secret::NoRandomness;
use crate::domain::Username;

/// Credentials kept at most, of each verdict.
const KEPT: usize = 8 * 1024;

/// How long a wrong one stays wrong without being looked at again (R-TKP-01).
const WRONG_FOR: Duration = Duration::from_secs(30);

/// A credential, unrecognisable.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// What is known of credentials.
pub struct Remembered {
    key: hmac::Key,
    right_for: Duration,
    right: Cache<Fingerprint, (Uuid, Instant)>,
    wrong: Cache<Fingerprint, (Option<Uuid>, Instant)>,
}

impl Remembered {
    /// Nothing yet; right ones are kept that long.
    ///
    /// # Errors
    /// [`NoRandomness`] if the system has none for the key.
    pub fn new(right_for: Duration) -> Result<Self, NoRandomness> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| NoRandomness)?;
        Ok(Self { key, right_for, right: Cache::new(KEPT), wrong: Cache::new(KEPT) })
    }

    /// What the credential is remembered by.
    pub fn fingerprint(&self, user: &Username, password: &str) -> Fingerprint {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(user.as_str().as_bytes());
        context.update(&[0]); // no username has it, so no pair reads as another
        context.update(password.as_bytes());
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.sign().as_ref());
        Fingerprint(fingerprint)
    }

    /// Whether it was right in that epoch.
    pub fn is_right(&self, credential: &Fingerprint, epoch: Uuid, now: Instant) -> bool {
        self.right.get(credential).is_some_and(|(of, until)| of == epoch && now < until)
    }

    /// Whether it was wrong in that epoch, or while there was no such account.
    pub fn is_wrong(&self, credential: &Fingerprint, epoch: Option<Uuid>, now: Instant) -> bool {
        self.wrong.get(credential).is_some_and(|(of, until)| of == epoch && now < until)
    }

    /// It was checked, and is right.
    pub fn right(&self, credential: Fingerprint, epoch: Uuid, now: Instant) {
        self.right.insert(credential, (epoch, now + self.right_for));
    }

    /// It was checked, and is wrong.
    pub fn wrong(&self, credential: Fingerprint, epoch: Option<Uuid>, now: Instant) {
        self.wrong.insert(credential, (epoch, now + WRONG_FOR));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> Username {
        "alice".parse().unwrap()
    }

    #[test]
    fn a_right_credential_is_remembered_for_its_epoch_and_its_time() {
        let remembered = Remembered::new(Duration::from_secs(60)).unwrap();
        let (now, epoch) = (Instant::now(), Uuid::new_v4());
        let credential = remembered.fingerprint(&alice(), "correct");
        assert!(!remembered.is_right(&credential, epoch, now));
        remembered.right(credential, epoch, now);
        assert!(remembered.is_right(&credential, epoch, now));
        assert!(!remembered.is_right(&credential, Uuid::new_v4(), now), "the password was changed since");
        assert!(!remembered.is_right(&credential, epoch, now + Duration::from_secs(61)));
        let other = remembered.fingerprint(&alice(), "Correct");
        assert!(!remembered.is_right(&other, epoch, now));
    }

    #[test]
    fn a_wrong_credential_stays_wrong_until_the_account_changes() {
        let remembered = Remembered::new(Duration::from_secs(60)).unwrap();
        let now = Instant::now();
        let credential = remembered.fingerprint(&alice(), "wrong!");
        remembered.wrong(credential, None, now);
        assert!(remembered.is_wrong(&credential, None, now));
        assert!(!remembered.is_wrong(&credential, Some(Uuid::new_v4()), now), "there is such an account now");
        assert!(!remembered.is_wrong(&credential, None, now + WRONG_FOR));
    }

    #[test]
    fn two_processes_remember_differently_and_pairs_do_not_run_together() {
        let (one, two) = (Remembered::new(WRONG_FOR).unwrap(), Remembered::new(WRONG_FOR).unwrap());
        assert!(one.fingerprint(&alice(), "x") != two.fingerprint(&alice(), "x"));
        assert!(one.fingerprint(&alice(), "bob") != one.fingerprint(&"aliceb".parse().unwrap(), "ob"));
    }
}
