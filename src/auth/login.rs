//! A name and a password come in: whose are they?
//!
//! The cheap comes first, and the dear is in the hands of whoever causes it:
//! remembered as right → let in; remembered as wrong → refused; too many
//! failures → wait; wait for a turn, hash, compare. The same credential arriving
//! many times at once is hashed once. A name that nobody has takes the same way,
//! with the same queries and the same hash, to the same answer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::OnceCell;
use tokio::task;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::failures::{Failure, Failures, Shown};
use super::gate::Rejection;
use super::identity::Peer;
use super::password::{Comparison, HashError, Hashed, Hasher, Memory, Password};
use super::remembered::{Fingerprint, Remembered, Verdict};
use super::secret::NoRandomness;
use super::throttle::{Limited, Limits, Throttle, network};
use super::turns::{Full, Turn, Turns};
use crate::domain::Username;
use crate::metadata::{Account, Metadata, PasswordHash};

/// Hashes waiting behind one address, and in all. At 14 ms each and two at a
/// time, the last of the longest line waits for two seconds, and of all for seven.
const LONGEST_LINE: usize = 256;
const LONGEST: usize = 1024;

/// Why a check came to no verdict that others who wait for it could share.
enum Halt {
    Failed(Failure),
    Rejected(Rejection),
}

impl From<Limited> for Halt {
    fn from(limited: Limited) -> Self {
        Self::Failed(Failure::Limited(limited))
    }
}

impl From<Full> for Halt {
    fn from(_: Full) -> Self {
        Self::Failed(Failure::Crowded)
    }
}

impl From<Rejection> for Halt {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

/// Checks passwords.
pub(super) struct Logins {
    metadata: Metadata,
    hasher: Arc<Hasher>,
    pub(super) turns: Turns<Memory>,
    remembered: Remembered,
    throttle: Throttle,
    pub(super) failures: Failures,
    flights: Mutex<HashMap<Fingerprint, Weak<Flight>>>,
}

/// One check that several requests wait for.
type Flight = OnceCell<Verified>;

/// Whose the credential is, or why it is nobody's.
type Verified = Result<Account, Failure>;

impl Logins {
    pub(super) fn new(
        metadata: Metadata,
        hasher: Hasher,
        parallel: usize,
        remember_for: Duration,
        limits: Limits,
    ) -> Result<Self, NoRandomness> {
        Ok(Self {
            failures: Failures::new(metadata.clone()),
            metadata,
            hasher: Arc::new(hasher),
            turns: Turns::new(parallel, LONGEST_LINE, LONGEST),
            remembered: Remembered::new(remember_for)?,
            throttle: Throttle::new(limits),
            flights: Mutex::default(),
        })
    }

    /// The account of that name and password.
    ///
    /// A hash that has begun is counted and written down whether or not its client is still there:
    /// else whoever hangs up in time may try without end. Who hangs up before leaves the line.
    pub(super) async fn check(
        self: &Arc<Self>,
        user: &Username,
        password: &str,
        peer: &Peer,
    ) -> Result<Account, Rejection> {
        if !(Password::MIN_LEN..=Password::MAX_LEN).contains(&password.len()) {
            return Err(self.refuse(Some(user.as_str()), Shown::Password, peer).await); // nobody's, and so no hint at whose
        }
        let credential = self.remembered.fingerprint(user, password);
        if let Some(verified) = self.recall(user, &credential, peer).await? {
            return self.told(user, verified, peer).await;
        }
        let (logins, user, password, peer) =
            (Arc::clone(self), user.clone(), SecretString::from(password), peer.clone());
        let gone = CancellationToken::new();
        let _waits = gone.clone().drop_guard();
        let work = async move {
            let verified = logins.prove(&user, password.expose_secret(), credential, &peer, &gone).await?;
            logins.told(&user, verified, &peer).await
        };
        task::spawn(work.in_current_span()).await.map_err(|_| Rejection::Interrupted)?
    }

    async fn told(&self, user: &Username, verified: Verified, peer: &Peer) -> Result<Account, Rejection> {
        match verified {
            Ok(account) => Ok(account),
            Err(failure) => Err(self.fail(Some(user.as_str()), Shown::Password, failure, peer).await),
        }
    }

    /// What is remembered of a credential, if that is still true.
    async fn recall(
        &self,
        user: &Username,
        credential: &Fingerprint,
        peer: &Peer,
    ) -> Result<Option<Verified>, Rejection> {
        match self.remembered.verdict(credential, Instant::now()) {
            Some(Verdict::Right(epoch)) => {
                // Whoever may not guess any more is not told of the right guess either, however cheap it is.
                if let Err(limited) = self.throttle.check(user, peer.address, Instant::now()) {
                    return Ok(Some(Err(Failure::Limited(limited))));
                }
                match self.metadata.account(user).await? {
                    Some(account) if account.epoch == epoch && account.disabled => {
                        return Ok(Some(Err(Failure::Disabled)));
                    }
                    Some(account) if account.epoch == epoch => {
                        self.throttle.succeeded(user, peer.address);
                        return Ok(Some(Ok(account)));
                    }
                    _ => {}
                }
            }
            Some(Verdict::Wrong(epoch)) => {
                // Not the remembered account: that is there for some names only, and so would answer sooner.
                let stored = self.metadata.credentials(user).await?;
                if stored.map(|stored| stored.account.epoch) == epoch {
                    return Ok(Some(Err(Failure::Wrong)));
                }
            }
            None => {}
        }
        Ok(None)
    }

    /// Hashes the password, or waits for whoever hashes the same.
    async fn prove(
        &self,
        user: &Username,
        password: &str,
        credential: Fingerprint,
        peer: &Peer,
        gone: &CancellationToken,
    ) -> Result<Verified, Rejection> {
        let flight = self.flight(credential);
        let compare = || self.compare(user, password, credential, peer.address, gone);
        let outcome = flight.get_or_try_init(compare).await.cloned();
        self.land(flight);
        match outcome {
            Ok(verified) => Ok(verified),
            Err(Halt::Failed(failure)) => Ok(Err(failure)),
            Err(Halt::Rejected(rejection)) => Err(rejection),
        }
    }

    /// Hashes a new password, in turn.
    pub(super) async fn hash(&self, password: Password, from: IpAddr) -> Result<Hashed, Rejection> {
        let turn = self.turns.take(network(from)).await.map_err(|_| Rejection::Overloaded)?;
        let hasher = Arc::clone(&self.hasher);
        let job = move || {
            let mut turn = turn; // ends with the work, even if nobody waits for it any more
            hasher.hash_in(&password, &mut turn.tools)
        };
        Ok(task::spawn_blocking(job).await.map_err(|_| Rejection::Interrupted)??)
    }

    /// Refuses what costs no hash, and counts it for its address. Nobody with good credentials is held up by it.
    pub(super) async fn refuse(&self, user: Option<&str>, shown: Shown, peer: &Peer) -> Rejection {
        let failure = match self.throttle.unknown_secret(peer.address, Instant::now()) {
            Ok(()) => Failure::Wrong,
            Err(limited) => Failure::Limited(limited),
        };
        self.fail(user, shown, failure, peer).await
    }

    /// Writes a failed login down, or sees to it that it will be. What the client is told of it.
    async fn fail(&self, user: Option<&str>, shown: Shown, failure: Failure, peer: &Peer) -> Rejection {
        self.failures.note(user, shown, failure, peer).await;
        match failure {
            Failure::Wrong | Failure::Disabled => Rejection::Invalid,
            Failure::Limited(limited) => limited.into(),
            Failure::Crowded => Rejection::Overloaded,
        }
    }

    async fn compare(
        &self,
        user: &Username,
        password: &str,
        credential: Fingerprint,
        from: IpAddr,
        gone: &CancellationToken,
    ) -> Result<Verified, Halt> {
        self.throttle.check(user, from, Instant::now())?;
        let turn = gone.run_until_cancelled(self.turns.take(network(from))).await;
        let turn = turn.ok_or(Rejection::Interrupted)??;
        self.throttle.check(user, from, Instant::now())?; // those before us may have failed meanwhile
        Ok(self.compare_in(turn, user, password, credential, from).await?)
    }

    async fn compare_in(
        &self,
        turn: Turn<Memory>,
        user: &Username,
        password: &str,
        credential: Fingerprint,
        from: IpAddr,
    ) -> Result<Verified, Rejection> {
        let stored = self.metadata.credentials(user).await?;
        let hashed = stored
            .as_ref()
            .map(|stored| Hashed { hash: stored.password_hash.clone(), pepper_id: stored.pepper_id.clone() });
        let job = {
            let (hasher, text) = (Arc::clone(&self.hasher), SecretString::from(password));
            move || {
                let mut turn = turn;
                compare_and_renew(&hasher, text.expose_secret(), hashed.as_ref(), &mut turn.tools)
            }
        };
        let (comparison, renewed) = task::spawn_blocking(job).await.map_err(|_| Rejection::Interrupted)??;
        match stored {
            Some(stored) if comparison.is_right() => {
                self.throttle.succeeded(user, from);
                self.remembered.right(credential, stored.account.epoch, Instant::now());
                if let Some(renewed) = renewed {
                    self.renew(&stored.account, stored.password_hash, renewed).await;
                }
                Ok(if stored.account.disabled { Err(Failure::Disabled) } else { Ok(stored.account) })
            }
            stored => {
                if comparison == Comparison::OtherPepper {
                    tracing::error!(%user, "the password was hashed with another PASSWORD_SALT than the one that is set");
                }
                self.throttle.failed(user, from, Instant::now());
                self.remembered.wrong(credential, stored.map(|stored| stored.account.epoch), Instant::now());
                Ok(Err(Failure::Wrong))
            }
        }
    }

    async fn renew(&self, account: &Account, old: PasswordHash, new: Hashed) {
        if let Err(error) = self.metadata.rehash(account.id, old, new.hash, new.pepper_id).await {
            tracing::warn!(%error, user = %account.name, "a password hash could not be renewed");
        }
    }

    fn flight(&self, credential: Fingerprint) -> Arc<Flight> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&credential).and_then(Weak::upgrade) {
            return flight;
        }
        let flight = Arc::new(Flight::new());
        flights.insert(credential, Arc::downgrade(&flight));
        flight
    }

    /// Forgets the flights that nobody waits for any more.
    fn land(&self, flight: Arc<Flight>) {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        drop(flight);
        flights.retain(|_, flight| flight.strong_count() > 0);
    }
}

fn compare_and_renew(
    hasher: &Hasher,
    text: &str,
    hashed: Option<&Hashed>,
    memory: &mut Memory,
) -> Result<(Comparison, Option<Hashed>), HashError> {
    let comparison = hasher.compare(text, hashed, memory)?;
    let renewed = match (comparison, Password::try_from(text)) {
        (Comparison::RightButStale, Ok(password)) => Some(hasher.hash_in(&password, memory)?),
        _ => None,
    };
    Ok((comparison, renewed))
}
