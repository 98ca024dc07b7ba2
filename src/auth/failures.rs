//! Failed logins on their way to the audit log: each is counted, and no flood of them fills the database.
//!
//! The first of its kind is written down before it is answered. Those that are
//! like it, of the same account, from the same address and for the same reason,
//! are counted in memory, and written as one entry when the registry's
//! housekeeping comes by, each minute and when the process ends, or when somebody
//! reads the log. So what an attacker can write is one entry a minute for each
//! account and address, and past [`KINDS`] of them one for all the rest.
//!
//! What we gave up: a process that is killed forgets what it counted since.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::identity::Peer;
use super::throttle::{Limited, Scope, network};
use crate::metadata::{Actor, AuditAction, AuditEntry, Metadata, Origin, Outcome};

/// Kinds that are told apart at a time.
const KINDS: usize = 1024;

/// Why a login failed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Failure {
    /// What was shown is wrong, expired or revoked.
    Wrong,
    /// The password is right and the account locked.
    Disabled,
    /// There were too many before, so that this one was not looked at.
    Limited(Limited),
    /// Too many waited to be looked at.
    Crowded,
}

/// What is counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    /// The account, where one was named and looked at.
    user: Option<Box<str>>,
    detail: &'static str,
    /// Where it came from; none of those that are not told apart.
    network: Option<IpAddr>,
}

/// Those that are not written down yet, and the last one of them.
#[derive(Debug, Default)]
struct Repeated {
    times: u64,
    address: Option<IpAddr>,
    request: Option<Box<str>>,
}

/// What was shown, as the log says it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shown {
    /// A password, or something that could be one.
    Password,
    /// A personal token, or a robot's.
    AccessToken,
    /// A refresh token.
    RefreshToken,
}

/// Writes failed logins down.
pub(super) struct Failures {
    metadata: Metadata,
    repeated: Mutex<HashMap<Kind, Repeated>>,
}

impl Failures {
    /// Into that log.
    pub(super) fn new(metadata: Metadata) -> Self {
        Self { metadata, repeated: Mutex::default() }
    }

    /// Writes one down, or counts it where one like it was a moment ago.
    pub(super) async fn note(&self, user: Option<&str>, shown: Shown, failure: Failure, peer: &Peer) {
        let detail = detail(shown, failure);
        // Whoever is slowed down for what came from their address, or for what others send, is not looked at by name.
        let nameless = matches!(failure, Failure::Crowded | Failure::Limited(Limited { scope: Scope::Address, .. }));
        let user = user.filter(|_| !nameless).map(Into::into);
        let kind = Kind { user, detail, network: Some(network(peer.address)) };
        if let Some(first) = self.count(kind, peer) {
            let entry = first.entry(1);
            let origin = peer.origin(Actor::Anonymous);
            if let Err(error) = self.metadata.audit(vec![(entry, origin)]).await {
                tracing::warn!(%error, "a failed login could not be written to the audit log yet");
                self.put_back(first, Repeated { times: 1, ..Repeated::of(peer) });
            }
        }
    }

    /// The kind, if this is its first and to be written down now.
    fn count(&self, kind: Kind, peer: &Peer) -> Option<Kind> {
        let mut repeated = self.lock();
        let full = repeated.len() >= KINDS;
        if let Some(known) = repeated.get_mut(&kind) {
            *known = Repeated { times: known.times + 1, ..Repeated::of(peer) };
            return None;
        }
        if full {
            let rest = Kind { user: None, detail: kind.detail, network: None };
            repeated.entry(rest).or_default().times += 1;
            return None;
        }
        repeated.insert(kind.clone(), Repeated::default());
        Some(kind)
    }

    /// Writes down what was counted since the last time.
    pub(super) async fn write_down(&self) {
        let mut counted = Vec::new();
        self.lock().retain(|kind, repeated| {
            // Who goes on failing goes on being counted; of others the next is a first one again.
            let goes_on = repeated.times > 0 && kind.network.is_some();
            if repeated.times > 0 {
                counted.push((kind.clone(), std::mem::take(repeated)));
            }
            goes_on
        });
        if counted.is_empty() {
            return;
        }
        let entries = counted.iter().map(|(kind, repeated)| (kind.entry(repeated.times), repeated.origin())).collect();
        if let Err(error) = self.metadata.audit(entries).await {
            tracing::warn!(%error, "failed logins could not be written to the audit log yet");
            for (kind, repeated) in counted {
                self.put_back(kind, repeated);
            }
        }
    }

    fn put_back(&self, kind: Kind, back: Repeated) {
        let mut repeated = self.lock();
        let since = repeated.entry(kind).or_default();
        let times = since.times + back.times;
        let last = if since.times > 0 { std::mem::take(since) } else { back };
        *since = Repeated { times, ..last };
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Kind, Repeated>> {
        self.repeated.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kind {
    /// Under the name by which the log knows it when it acts.
    fn target(&self) -> String {
        match self.user.as_deref().map(|user| (user, user.split_once('+'))) {
            None => "unknown".to_owned(),
            Some((_, Some((namespace, robot)))) => format!("robot:{namespace}/{robot}"),
            Some((user, None)) => format!("user:{user}"),
        }
    }

    fn entry(&self, times: u64) -> AuditEntry {
        AuditEntry {
            action: AuditAction::Login,
            target: self.target(),
            detail: Some(self.detail.to_owned()),
            outcome: Outcome::Failure,
            times,
        }
    }
}

impl Repeated {
    fn of(peer: &Peer) -> Self {
        Self { times: 0, address: Some(peer.address), request: peer.request.clone() }
    }

    fn origin(&self) -> Origin {
        Origin { actor: Actor::Anonymous, address: self.address, request: self.request.clone() }
    }
}

fn detail(shown: Shown, failure: Failure) -> &'static str {
    match (shown, failure) {
        (Shown::Password, Failure::Wrong) => "password",
        (Shown::Password, Failure::Disabled) => "password, account disabled",
        (Shown::Password, Failure::Limited(_)) => "password, after too many failures",
        (Shown::Password, Failure::Crowded) => "password, too many at once",
        // Only passwords wait.
        (Shown::AccessToken, Failure::Wrong | Failure::Disabled | Failure::Crowded) => "access token",
        (Shown::AccessToken, Failure::Limited(_)) => "access token, after too many failures",
        (Shown::RefreshToken, Failure::Wrong | Failure::Disabled | Failure::Crowded) => "refresh token",
        (Shown::RefreshToken, Failure::Limited(_)) => "refresh token, after too many failures",
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::metadata::{AuditFilter, AuditRecord, Options};

    async fn failures() -> (tempfile::TempDir, Failures) {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/registry.db", directory.path().display());
        (directory, Failures::new(Metadata::open(&Options::new(url)).await.unwrap()))
    }

    fn peer(last: u8, request: &str) -> Peer {
        Peer { address: [192, 0, 2, last].into(), request: Some(request.into()) }
    }

    impl Failures {
        /// The log, oldest first, and how much there is of it.
        async fn log(&self) -> Vec<(Box<str>, u64, Option<Box<str>>)> {
            let line = |entry: AuditRecord| (entry.target, entry.times, entry.request);
            let log = self.metadata.audit_export(&AuditFilter::default(), None, 10_000).await.unwrap();
            log.into_iter().map(line).collect()
        }
    }

    #[tokio::test]
    async fn the_first_is_written_at_once_and_its_like_are_counted() {
        let (_directory, failures) = failures().await;
        for n in 1..=5 {
            failures.note(Some("alice"), Shown::Password, Failure::Wrong, &peer(1, &format!("r{n}"))).await;
        }
        let line = |times, request: &str| ("user:alice".into(), times, Some(request.into()));
        assert_eq!(failures.log().await, [line(1, "r1")]);
        failures.write_down().await;
        assert_eq!(failures.log().await, [line(1, "r1"), line(4, "r5")]);
        // Who goes on is counted on; who stopped, and begins again, is written at once again.
        failures.note(Some("alice"), Shown::Password, Failure::Wrong, &peer(1, "r6")).await;
        assert_eq!(failures.log().await.len(), 2);
        failures.write_down().await;
        failures.write_down().await;
        assert_eq!(failures.log().await[2..], [line(1, "r6")]);
        failures.note(Some("alice"), Shown::Password, Failure::Wrong, &peer(1, "r7")).await;
        assert_eq!(failures.log().await[3..], [line(1, "r7")]);
    }

    #[tokio::test]
    async fn another_account_address_or_reason_is_another_entry() {
        let (_directory, failures) = failures().await;
        let limited = |scope| Failure::Limited(Limited { scope, retry_after: Duration::from_secs(1) });
        for (user, shown, failure, from) in [
            ("alice", Shown::Password, Failure::Wrong, 1),
            ("bob", Shown::Password, Failure::Wrong, 1),
            ("alice", Shown::Password, Failure::Wrong, 2),
            ("alice", Shown::AccessToken, Failure::Wrong, 1),
            ("alice", Shown::Password, Failure::Disabled, 1),
            ("alice", Shown::Password, limited(Scope::Account), 1),
            // However many names are tried from an address that is slowed down, it is one entry.
            ("alice", Shown::Password, limited(Scope::Address), 1),
            ("carol", Shown::Password, limited(Scope::Address), 1),
            // And when too many wait.
            ("alice", Shown::Password, Failure::Crowded, 1),
            ("carol", Shown::Password, Failure::Crowded, 1),
            ("team+ci", Shown::AccessToken, Failure::Wrong, 1),
        ] {
            failures.note(Some(user), shown, failure, &peer(from, "r")).await;
        }
        let targets: Vec<_> = failures.log().await.into_iter().map(|(target, ..)| target).collect();
        let alice = "user:alice";
        assert_eq!(
            targets.iter().map(|t| &**t).collect::<Vec<_>>(),
            [alice, "user:bob", alice, alice, alice, alice, "unknown", "unknown", "robot:team/ci"]
        );
    }

    #[tokio::test]
    async fn a_flood_is_counted_to_the_last_and_does_not_fill_the_log() {
        let (_directory, failures) = failures().await;
        for n in 0..3000_u32 {
            let peer = Peer { address: Ipv4Addr::from(n).into(), request: None };
            failures.note(Some(&format!("user{n}")), Shown::Password, Failure::Wrong, &peer).await;
        }
        failures.write_down().await;
        let log = failures.log().await;
        assert_eq!(log.len(), KINDS + 1);
        assert_eq!(log.iter().map(|(_, times, _)| times).sum::<u64>(), 3000);
        failures.write_down().await;
        assert!(failures.lock().is_empty(), "nothing is kept of it");
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_counted_on() {
        let (_directory, failures) = failures().await;
        failures.metadata.close().await;
        for n in 1..=3 {
            failures.note(Some("alice"), Shown::Password, Failure::Wrong, &peer(1, &format!("r{n}"))).await;
        }
        failures.write_down().await;
        let lost: Vec<_> =
            failures.lock().values().map(|repeated| (repeated.times, repeated.request.clone())).collect();
        assert_eq!(lost, [(3, Some("r3".into()))]);
    }
}
