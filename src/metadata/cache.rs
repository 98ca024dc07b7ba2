//! What was read and has not changed since.
//!
//! A reader that misses notes the key's version, asks the database, and puts the
//! answer in only if the version is still the same. A write commits, then raises
//! the version and drops the entry under the same lock, then answers. So an
//! answer read before a commit never gets in after it: its version was noted
//! before the commit, hence before it was raised.
//!
//! Absence is never put in, but for pages that are empty. What we gave up: a
//! question for what is not there costs a query each time.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::manifests::StoredManifest;
use super::repositories::{Asker, Facts, RepositoryId};
use super::tags::TagPages;
use super::tokens::{AccessToken, TokenHash, TokenId};
use super::users::{Account, UserId};
use super::{Backend, blobs};
use crate::domain::{Digest, RepositoryName, Tag, Username};

/// How many locks a cache's keys are spread over.
const LOCKS: usize = 64;

/// A cache that no stale answer gets into.
pub(super) struct Guarded<K, V, W = quick_cache::UnitWeighter> {
    entries: Cache<K, Entry<V>, W>,
    versions: [Mutex<u64>; LOCKS],
    hasher: RandomState,
    /// How old an entry may be where changes made elsewhere are not seen.
    lifetime: Option<Duration>,
}

#[derive(Clone)]
pub(super) struct Entry<V> {
    value: V,
    read_at: Option<Instant>,
}

/// A key's version, noted before the database is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Version(u64);

impl<K: Hash + Eq, V: Clone> Guarded<K, V> {
    fn new(entries: usize, lifetime: Option<Duration>) -> Self {
        Self::with(Cache::new(entries), lifetime)
    }
}

impl<K: Hash + Eq, V: Clone, W: Weighter<K, Entry<V>> + Clone> Guarded<K, V, W> {
    fn with(entries: Cache<K, Entry<V>, W>, lifetime: Option<Duration>) -> Self {
        Self { entries, versions: [const { Mutex::new(0) }; LOCKS], hasher: RandomState::new(), lifetime }
    }

    /// What is known of the key.
    pub(super) fn get(&self, key: &K) -> Option<V> {
        let entry = self.entries.get(key)?;
        let fresh = match (self.lifetime, entry.read_at) {
            (Some(lifetime), Some(read_at)) => read_at.elapsed() <= lifetime,
            _ => true,
        };
        fresh.then_some(entry.value)
    }

    fn lock(&self, key: &K) -> MutexGuard<'_, u64> {
        let shard = usize::try_from(self.hasher.hash_one(key)).unwrap_or_default() % LOCKS;
        self.versions[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be noted before the database is asked.
    pub(super) fn version(&self, key: &K) -> Version {
        Version(*self.lock(key))
    }

    /// Keeps what was read, unless it has changed since the version was noted.
    pub(super) fn insert(&self, key: K, value: V, noted: Version) {
        let read_at = self.lifetime.map(|_| Instant::now());
        let version = self.lock(&key);
        if *version == noted.0 {
            // Still under the lock: no change can come between the look and the deed.
            self.entries.insert(key, Entry { value, read_at });
        }
    }

    /// The key has changed.
    pub(super) fn remove(&self, key: &K) {
        let mut version = self.lock(key);
        *version += 1;
        self.entries.remove(key);
    }

    /// The key has changed, to this.
    fn replace(&self, key: K, value: V) {
        let read_at = self.lifetime.map(|_| Instant::now());
        let mut version = self.lock(&key);
        *version += 1;
        self.entries.insert(key, Entry { value, read_at });
    }

    fn set(&self, key: K, value: Option<V>) {
        match value {
            Some(value) => self.replace(key, value),
            None => self.remove(&key),
        }
    }

    /// Anything may have changed.
    pub(super) fn clear(&self) {
        let mut versions = self.versions.each_ref().map(|lock| lock.lock().unwrap_or_else(PoisonError::into_inner));
        for version in &mut versions {
            **version += 1;
        }
        self.entries.clear();
    }
}

/// Manifests and pages weigh what they hold.
#[derive(Clone)]
pub(super) struct ByBytes;

/// Pages of tags are remembered up to so many bytes.
const TAG_PAGES: u64 = 2 * 1024 * 1024;

impl<K> Weighter<K, Entry<StoredManifest>> for ByBytes {
    fn weight(&self, _: &K, entry: &Entry<StoredManifest>) -> u64 {
        const BESIDE: u64 = 512; // keys, types and what the cache itself takes
        u64::try_from(entry.value.bytes.len()).unwrap_or(u64::MAX).saturating_add(BESIDE)
    }
}

impl<K> Weighter<K, Entry<TagPages>> for ByBytes {
    fn weight(&self, _: &K, entry: &Entry<TagPages>) -> u64 {
        const BESIDE: u64 = 128;
        u64::try_from(entry.value.weight()).unwrap_or(u64::MAX).saturating_add(BESIDE)
    }
}

/// All that is remembered of the database.
pub(super) struct Caches {
    pub(super) facts: Guarded<(RepositoryName, Asker), Facts>,
    pub(super) accounts: Guarded<Username, Account>,
    pub(super) accounts_by_id: Guarded<UserId, Account>,
    pub(super) tokens: Guarded<TokenId, AccessToken>,
    pub(super) secrets: Guarded<TokenHash, TokenId>,
    pub(super) links: Guarded<(RepositoryId, Digest), blobs::Link>,
    pub(super) tags: Guarded<(RepositoryId, Tag), Digest>,
    pub(super) tag_pages: Guarded<RepositoryId, TagPages, ByBytes>,
    pub(super) manifests: Guarded<(RepositoryId, Digest), StoredManifest, ByBytes>,
}

/// What a change makes untrue, and for content what is true instead, where it is there.
#[derive(Debug, Clone)]
pub(super) enum News {
    /// Who may do what where.
    Facts,
    /// Who somebody is.
    Accounts,
    Token(TokenId),
    Tokens,
    Link(RepositoryId, Digest, Option<blobs::Link>),
    Links,
    Tag(RepositoryId, Tag, Option<Digest>),
    Manifest(RepositoryId, Digest, Option<StoredManifest>),
    /// All of a repository, or more than is worth listing.
    Everything,
}

impl Caches {
    /// `staleness` is how old facts of another replica's making may be on PostgreSQL.
    pub(super) fn new(backend: Backend, staleness: Duration, manifest_bytes: u64) -> Self {
        /// An estimate on the low side, for few parts however many processors there
        /// are: nothing is kept that is larger than a part.
        const ENTRIES: usize = 256;
        let lifetime = match backend {
            Backend::Sqlite => None,
            Backend::Postgres => Some(staleness),
        };
        Self {
            facts: Guarded::new(8192, lifetime),
            accounts: Guarded::new(4096, lifetime),
            accounts_by_id: Guarded::new(4096, lifetime),
            tokens: Guarded::new(4096, lifetime),
            // A token's hash names one token for ever; whether that is still there is asked of `tokens`.
            secrets: Guarded::new(4096, None),
            // On PostgreSQL content is asked for each time, and only a manifest's bytes are taken from here.
            links: Guarded::new(16384, None),
            tags: Guarded::new(16384, None),
            tag_pages: Guarded::with(Cache::with_weighter(64, TAG_PAGES, ByBytes), None),
            manifests: Guarded::with(Cache::with_weighter(ENTRIES, manifest_bytes, ByBytes), None),
        }
    }

    /// Takes in what committed changes did, in their order, before anyone is told of them.
    pub(super) fn apply(&self, news: Vec<News>) {
        for news in news {
            match news {
                News::Facts => self.facts.clear(),
                News::Accounts => {
                    self.accounts.clear();
                    self.accounts_by_id.clear();
                }
                News::Token(id) => self.tokens.remove(&id),
                News::Tokens => self.tokens.clear(),
                News::Link(repository, digest, link) => self.links.set((repository, digest), link),
                News::Links => self.links.clear(),
                News::Tag(repository, tag, digest) => {
                    self.tags.set((repository, tag), digest);
                    self.tag_pages.remove(&repository);
                }
                News::Manifest(repository, digest, manifest) => self.manifests.set((repository, digest), manifest),
                News::Everything => self.clear(),
            }
        }
    }

    /// Forgets everything: somebody else wrote.
    pub(super) fn clear(&self) {
        self.facts.clear();
        self.accounts.clear();
        self.accounts_by_id.clear();
        self.tokens.clear();
        self.secrets.clear();
        self.links.clear();
        self.tags.clear();
        self.tag_pages.clear();
        self.manifests.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_a_change_does_not_get_in_after_it() {
        let cache = Guarded::<u8, &str>::new(8, None);
        let noted = cache.version(&1);
        cache.remove(&1); // the change commits while the reader is still on its way
        cache.insert(1, "old", noted);
        assert_eq!(cache.get(&1), None);
        cache.insert(1, "new", cache.version(&1));
        assert_eq!(cache.get(&1), Some("new"));
        let noted = cache.version(&2);
        cache.clear();
        cache.insert(2, "old", noted);
        assert_eq!((cache.get(&1), cache.get(&2)), (None, None));
    }

    #[test]
    fn where_changes_are_not_seen_nothing_is_believed_for_long() {
        let cache = Guarded::<u8, u8>::new(8, Some(Duration::ZERO));
        cache.insert(1, 1, cache.version(&1));
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(cache.get(&1), None);
    }
}
