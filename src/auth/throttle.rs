//! Slows down whoever guesses passwords, per account and per address.
//!
//! Only failures count, and only those that cost a hash: a password that was
//! refused a moment ago is refused again for free, so that a client's second
//! attempt with it (R-TKP-01) is no second guess. Tokens never come here, so no
//! attacker can lock a working client out. Right passwords do, also remembered
//! ones: else guessing would go on for free, until the one that is let in.
//!
//! An address from which an account has logged in before is *known* for it, and
//! then only failures of that pair count. So guesses from elsewhere, or at other
//! accounts from behind the same address, do not keep the owner out.
//!
//! What we gave up: counts live in one process and are forgotten when it ends,
//! or when more keys arrive than are kept.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::time::Instant;

use crate::domain::Username;

/// So many failures at once, and one more after each pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Failures that are free.
    pub burst: u32,
    /// The time after which one more is.
    pub every: Duration,
}

/// The limits on failed logins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For one account, from all addresses it has never logged in from; and for it from each known one.
    pub account: Limit,
    /// For one address (of IPv6: one /64), over all accounts.
    pub address: Limit,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            account: Limit { burst: 20, every: Duration::from_secs(30) },
            address: Limit { burst: 60, every: Duration::from_secs(5) },
        }
    }
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// The one for the account.
    Account,
    /// The one for the address.
    Address,
}

impl Scope {
    /// The word for it in metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Address => "address",
        }
    }
}

/// Too many failures: come back later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limited {
    /// Which limit was reached.
    pub(super) scope: Scope,
    /// When the next attempt is free.
    pub(super) retry_after: Duration,
}

/// Accounts, addresses and pairs kept at most, of each.
const KEPT: usize = 16 * 1024;

type Pair = (Username, IpAddr);

/// Counts failed logins, in bounded memory.
pub(super) struct Throttle {
    accounts: Buckets<Username>,
    addresses: Buckets<IpAddr>,
    /// Addresses again, for what is no guess at an account: a job whose token was
    /// revoked is not to keep people from logging in beside it.
    secrets: Buckets<IpAddr>,
    pairs: Buckets<Pair>,
    known: Cache<Pair, ()>,
}

impl Throttle {
    /// Nothing counted yet.
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            accounts: Buckets::new(limits.account),
            addresses: Buckets::new(limits.address),
            secrets: Buckets::new(limits.address),
            pairs: Buckets::new(limits.account),
            known: Cache::new(KEPT),
        }
    }

    /// Whether the account may be tried from the address now.
    ///
    /// # Errors
    /// [`Limited`] with the time to wait.
    pub(super) fn check(&self, account: &Username, address: IpAddr, now: Instant) -> Result<(), Limited> {
        let limited = |scope, wait: Option<Duration>| match wait {
            Some(retry_after) => Err(Limited { scope, retry_after }),
            None => Ok(()),
        };
        let address = network(address);
        let pair = (account.clone(), address);
        if self.known.get(&pair).is_some() {
            return limited(Scope::Account, self.pairs.wait(&pair, now));
        }
        limited(Scope::Address, self.addresses.wait(&address, now))?;
        limited(Scope::Account, self.accounts.wait(account, now))
    }

    /// The account was tried from the address, in vain.
    pub(super) fn failed(&self, account: &Username, address: IpAddr, now: Instant) {
        let address = network(address);
        let pair = (account.clone(), address);
        if self.known.get(&pair).is_some() {
            self.pairs.count(pair, now);
        } else {
            self.addresses.count(address, now);
            self.accounts.count(account.clone(), now);
        }
    }

    /// The account's owner logged in from the address.
    pub(super) fn succeeded(&self, account: &Username, address: IpAddr) {
        self.known.insert((account.clone(), network(address)), ());
    }

    /// Counts what is no guess at an account: an unknown token, a malformed name.
    ///
    /// # Errors
    /// [`Limited`] if the address has sent too many.
    pub(super) fn unknown_secret(&self, address: IpAddr, now: Instant) -> Result<(), Limited> {
        let address = network(address);
        if let Some(retry_after) = self.secrets.wait(&address, now) {
            return Err(Limited { scope: Scope::Address, retry_after });
        }
        self.secrets.count(address, now);
        Ok(())
    }
}

/// The address as it is counted: an IPv6 host has a whole /64 to choose from.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// Leaky buckets (GCRA): of each key, when its last failure will be forgotten.
struct Buckets<K> {
    limit: Limit,
    empty_at: Cache<K, Arc<Mutex<Instant>>>,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn new(limit: Limit) -> Self {
        Self { limit, empty_at: Cache::new(KEPT) }
    }

    /// How long until one more failure is free, if it is not.
    fn wait(&self, key: &K, now: Instant) -> Option<Duration> {
        let empty_at = *self.empty_at.get(key)?.lock().unwrap_or_else(PoisonError::into_inner);
        let room = self.limit.every * self.limit.burst.saturating_sub(1);
        empty_at.checked_duration_since(now + room).filter(|wait| !wait.is_zero())
    }

    fn count(&self, key: K, now: Instant) {
        let fresh = || Ok::<_, std::convert::Infallible>(Arc::new(Mutex::new(now)));
        let Ok(empty_at) = self.empty_at.get_or_insert_with(&key, fresh);
        let mut empty_at = empty_at.lock().unwrap_or_else(PoisonError::into_inner);
        *empty_at = (*empty_at).max(now) + self.limit.every;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        account: Limit { burst: 3, every: Duration::from_secs(10) },
        address: Limit { burst: 5, every: Duration::from_secs(1) },
    };

    fn user(name: &str) -> Username {
        name.parse().unwrap()
    }

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn an_account_is_slowed_down_after_its_burst_and_says_for_how_long() {
        let (throttle, now) = (Throttle::new(LIMITS), Instant::now());
        for attacker in 1..=3 {
            assert_eq!(throttle.check(&user("alice"), address(attacker), now), Ok(()));
            throttle.failed(&user("alice"), address(attacker), now);
        }
        let limited = Limited { scope: Scope::Account, retry_after: Duration::from_secs(10) };
        assert_eq!(throttle.check(&user("alice"), address(9), now), Err(limited));
        assert_eq!(throttle.check(&user("alice"), address(9), now + limited.retry_after), Ok(()));
        assert_eq!(throttle.check(&user("bob"), address(9), now), Ok(()), "another account is free");
    }

    #[test]
    fn an_address_is_slowed_down_over_all_accounts() {
        let (throttle, now) = (Throttle::new(LIMITS), Instant::now());
        for n in 0..5 {
            throttle.failed(&user(&format!("user{n}")), address(1), now);
        }
        let limited = throttle.check(&user("somebody"), address(1), now).unwrap_err();
        assert_eq!(limited.scope, Scope::Address);
        assert_eq!(throttle.check(&user("somebody"), address(2), now), Ok(()));
    }

    #[test]
    fn an_address_the_account_has_used_stays_open_to_it() {
        let (throttle, now) = (Throttle::new(LIMITS), Instant::now());
        throttle.succeeded(&user("alice"), address(1));
        for n in 0..50 {
            throttle.failed(&user("alice"), address(100 + n), now);
            throttle.failed(&user(&format!("user{n}")), address(1), now);
        }
        assert_eq!(throttle.check(&user("alice"), address(1), now), Ok(()));
        assert!(throttle.check(&user("alice"), address(200), now).is_err());
        for _ in 0..3 {
            throttle.failed(&user("alice"), address(1), now);
        }
        assert!(throttle.check(&user("alice"), address(1), now).is_err(), "guesses from there count, too");
    }

    #[test]
    fn a_host_with_many_ipv6_addresses_is_one() {
        let (throttle, now) = (Throttle::new(LIMITS), Instant::now());
        for n in 0..5 {
            throttle.failed(&user(&format!("user{n}")), format!("2001:db8::{n}").parse().unwrap(), now);
        }
        assert!(throttle.check(&user("x"), "2001:db8::ffff".parse().unwrap(), now).is_err());
        assert_eq!(throttle.check(&user("x"), "2001:db8:0:1::1".parse().unwrap(), now), Ok(()));
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), address(1));
    }

    #[test]
    fn unknown_tokens_are_slowed_down_and_keep_nobody_from_logging_in() {
        let (throttle, now) = (Throttle::new(LIMITS), Instant::now());
        for _ in 0..5 {
            assert_eq!(throttle.unknown_secret(address(1), now), Ok(()));
        }
        assert_eq!(throttle.unknown_secret(address(1), now).unwrap_err().scope, Scope::Address);
        assert_eq!(throttle.check(&user("alice"), address(1), now), Ok(()));
        assert_eq!(throttle.unknown_secret(address(2), now), Ok(()));
    }

    #[test]
    fn memory_is_bounded_whatever_names_arrive() {
        let (throttle, now) = (Throttle::new(LIMITS), Instant::now());
        for n in 0..100_000_u32 {
            throttle.failed(&user(&format!("u{n}")), IpAddr::V4(n.into()), now);
        }
        assert!(throttle.accounts.empty_at.len() <= KEPT && throttle.addresses.empty_at.len() <= KEPT);
    }
}
