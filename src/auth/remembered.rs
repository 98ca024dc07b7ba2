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
pub(super) struct Fingerprint([u8; 32]);

/// What a check found, and of which epoch of the account: another epoch, another check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The password is right.
    Right(Uuid),
    /// It is wrong, or there was no account at all.
    Wrong(Option<Uuid>),
}

/// What is known of credentials.
pub(super) struct Remembered {
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
    pub(super) fn new(right_for: Duration) -> Result<Self, NoRandomness> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| NoRandomness)?;
        Ok(Self { key, right_for, right: Cache::new(KEPT), wrong: Cache::new(KEPT) })
    }

    /// What the credential is remembered by.
    pub(super) fn fingerprint(&self, user: &Username, password: &str) -> Fingerprint {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(user.as_str().as_bytes());
        context.update(&[0]); // no username has it, so no pair reads as another
        context.update(password.as_bytes());
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.sign().as_ref());
        Fingerprint(fingerprint)
    }

    /// What was found when it was last checked.
    pub(super) fn verdict(&self, credential: &Fingerprint, now: Instant) -> Option<Verdict> {
        let right = self.right.get(credential).filter(|&(_, until)| now < until);
        let wrong = || self.wrong.get(credential).filter(|&(_, until)| now < until);
        right.map(|(epoch, _)| Verdict::Right(epoch)).or_else(|| wrong().map(|(epoch, _)| Verdict::Wrong(epoch)))
    }

    /// It was checked, and is right.
    pub(super) fn right(&self, credential: Fingerprint, epoch: Uuid, now: Instant) {
        self.right.insert(credential, (epoch, now + self.right_for));
    }

    /// It was checked, and is wrong.
    pub(super) fn wrong(&self, credential: Fingerprint, epoch: Option<Uuid>, now: Instant) {
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
    fn a_verdict_is_remembered_with_its_epoch_and_for_its_time() {
        let remembered = Remembered::new(Duration::from_secs(60)).unwrap();
        let (now, epoch) = (Instant::now(), Uuid::new_v4());
        let (right, wrong) = (remembered.fingerprint(&alice(), "correct"), remembered.fingerprint(&alice(), "Correct"));
        assert_eq!(remembered.verdict(&right, now), None);
        remembered.right(right, epoch, now);
        remembered.wrong(wrong, None, now);
        assert_eq!(remembered.verdict(&right, now), Some(Verdict::Right(epoch)));
        assert_eq!(remembered.verdict(&wrong, now), Some(Verdict::Wrong(None)));
        assert_eq!(remembered.verdict(&right, now + Duration::from_secs(60)), None);
        assert_eq!(remembered.verdict(&wrong, now + WRONG_FOR), None);
    }

    #[test]
    fn guesses_do_not_displace_what_is_right() {
        let remembered = Remembered::new(Duration::from_secs(60)).unwrap();
        let (now, epoch) = (Instant::now(), Uuid::new_v4());
        let right = remembered.fingerprint(&alice(), "correct");
        remembered.right(right, epoch, now);
        for n in 0..4 * KEPT {
            remembered.wrong(remembered.fingerprint(&alice(), &n.to_string()), None, now);
        }
        assert_eq!(remembered.verdict(&right, now), Some(Verdict::Right(epoch)));
        assert!(remembered.wrong.len() <= KEPT);
    }

    #[test]
    fn two_processes_remember_differently_and_pairs_do_not_run_together() {
        let (one, two) = (Remembered::new(WRONG_FOR).unwrap(), Remembered::new(WRONG_FOR).unwrap());
        assert!(one.fingerprint(&alice(), "x") != two.fingerprint(&alice(), "x"));
        assert!(one.fingerprint(&alice(), "bob") != one.fingerprint(&"aliceb".parse().unwrap(), "ob"));
    }
}
