//! Bytes: blobs, and the upload sessions that become blobs.
//!
//! The store holds bytes under names that no two commits share; which of them
//! exist for a client, the database says. So nothing here locks while bytes
//! move, and a file that no row names is harmless until a sweep finds it.
//!
//! An upload session lives here and nowhere else: starting one and appending to
//! it cost no SQL write and no fsync, and a restarted server, or another replica
//! on the same store, goes on where it stood. What we gave up: counting the
//! sessions of a repository walks a directory. Only expiry does that.
//!
//! start → (resume → write* → save)* → resume → write* → commit, which alone
//! makes a blob, once verified (I1) and durable (I2): verify the digest over
//! exactly the stored bytes → sync the file → rename it to its object's name →
//! sync the directory, and the parent of a new one → return. On a file system
//! all of that is one job on a blocking thread, and the one file that a push
//! makes is the one that stays.

mod buffers;
#[cfg(test)]
mod contract;
mod error;
mod filesystem;
mod gather;
mod hasher;
mod identity;
mod lanes;
mod layout;
mod metrics;
mod raw;
mod reader;
mod record;
mod sendfile;
mod spares;
mod steps;
mod sweep;
#[cfg(test)]
mod tests;
mod upload;
mod waiting;
mod writer;

use std::fmt;
use std::future::Future;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use uuid::Uuid;

use crate::domain::{Algorithm, ByteRange, Digest, ObjectName, RepositoryName, UploadId};

pub use error::{CommitError, Error};
pub use filesystem::Filesystem;
pub use lanes::Lanes;
pub use reader::BlobReader;
pub use sendfile::SendfileIo;
pub use upload::Upload;

/// Whose an upload session is. Only they can find it again (R-UPL-51).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOwner {
    pub repository: RepositoryName,
    /// `user:7`, `robot:3`: the account, not one of its tokens (R-UPL-63). At most 128 bytes.
    pub account: Box<str>,
}

/// What [`Session::commit`] made: an object that is verified and durable, and
/// that nobody knows of until the database names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub object: ObjectName,
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
}

/// Holds the bytes; the database says which of them exist.
///
/// # Contract
/// `store::contract::check` tests these lines; a backend that passes is done.
/// - An object can be opened only after the `commit` that made it was about to
///   return: whole and verified. Nobody reads half a blob.
/// - A session is found by its id and its owner alone, on every replica, also
///   after a restart. To anyone else it does not exist.
/// - A session has one writer at a time; others wait, boundedly.
/// - `delete` of an absent object is success, so that a sweep can be repeated.
pub trait BlobStore: Clone + Send + Sync + 'static {
    type Session: Session;
    /// Streams an object, with its exact length known from the start.
    type Reader: http_body::Body<Data = Bytes, Error = std::io::Error> + Send + 'static;

    /// Opens an empty session that computes this hash while bytes arrive. Cheap:
    /// nothing is synced, since losing an empty session costs a client nothing.
    fn start(&self, owner: &SessionOwner, algorithm: Algorithm)
    -> impl Future<Output = Result<UploadId, Error>> + Send;

    /// How many bytes are recorded; takes no lock. `None`: no such session of this owner.
    fn offset(&self, id: UploadId, owner: &SessionOwner) -> impl Future<Output = Result<Option<u64>, Error>> + Send;

    /// Takes the session up again, as its only writer. `None`: no such session
    /// of this owner, be it finished while this one waited.
    ///
    /// # Errors
    /// [`Error::Busy`] where another writer did not let go in time (R-UPL-19).
    fn resume(
        &self,
        id: UploadId,
        owner: &SessionOwner,
    ) -> impl Future<Output = Result<Option<Self::Session>, Error>> + Send;

    /// Reads `range` of an object that should have `size` bytes, or all of it.
    /// `None`: there is no such file (any more).
    ///
    /// # Errors
    /// [`Error::Damaged`] where the file has another size or its first bytes
    /// cannot be read: known before anything is sent (R-BLB-09).
    fn open(
        &self,
        object: &ObjectName,
        size: u64,
        range: Option<ByteRange>,
    ) -> impl Future<Output = Result<Option<Self::Reader>, Error>> + Send;

    /// How many bytes the object has; `None` where it is absent.
    fn size(&self, object: &ObjectName) -> impl Future<Output = Result<Option<u64>, Error>> + Send;

    /// Takes the object away. Readers that have it open finish undisturbed.
    fn delete(&self, object: &ObjectName) -> impl Future<Output = Result<(), Error>> + Send;

    /// The objects of one shard, in no order; for sweeps and verification.
    fn list(&self, shard: Shard) -> impl Future<Output = Result<Vec<Listed>, Error>> + Send;

    /// Ends sessions without a byte since `before`, unless one is being written
    /// (R-UPL-62), and removes what crashes left of finished ones.
    fn expire(&self, before: SystemTime) -> impl Future<Output = Result<Expired, Error>> + Send;

    /// Really writes and removes something small: may the store be relied on now?
    fn ping(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// The random id that was given to this store when it was made. The database
    /// it belongs to carries the same.
    fn identity(&self) -> Uuid;
}

/// One upload's writer: it holds the session's lock until it is dropped.
///
/// Dropped without [`save`](Self::save) or [`commit`](Self::commit), the
/// session stays as it was last recorded, unless [`keep_unsaved`](Self::keep_unsaved)
/// was called. A future of these methods that is dropped half-way leaves no
/// hole: what was accepted is in order, or is not there.
pub trait Session: Send + 'static {
    /// Bytes accepted so far, recorded or not.
    fn offset(&self) -> u64;

    /// Returns once another request of this process waits for this session, so
    /// that a writer whose client has fallen silent can make way (R-UPL-19).
    /// Waiters of other replicas are not seen; they are told to come again.
    fn wanted(&self) -> impl Future<Output = ()> + Send;

    /// From now on, what was accepted is recorded even if this writer is just
    /// dropped: a PATCH keeps the prefix it received (R-UPL-18).
    fn keep_unsaved(&mut self);

    /// Appends. Hashing and writing go on in the background while the next
    /// chunk is received, or are done at once on a thread that may wait for the
    /// disk; at most about 1 MiB waits at any time (I7).
    ///
    /// # Errors
    /// Also those of earlier chunks. After an error the session takes no more
    /// bytes until it is cut back; `save` keeps what had arrived before it.
    fn write(&mut self, chunk: Bytes) -> impl Future<Output = Result<(), Error>> + Send;

    /// Records everything accepted so far; returns the offset recorded.
    fn save(&mut self) -> impl Future<Output = Result<u64, Error>> + Send;

    /// Forgets what was written since the session was resumed or last saved;
    /// returns that offset.
    fn cut_back(&mut self) -> impl Future<Output = Result<u64, Error>> + Send;

    /// Verifies the whole content against `claimed` and makes it an object that
    /// survives a power cut (I2). The session is gone.
    ///
    /// # Errors
    /// [`CommitError::Mismatch`] discards the session (R-UPL-32). After an
    /// [`Error::Full`] it is as it was last recorded.
    fn commit(self, claimed: &Digest) -> impl Future<Output = Result<Stored, CommitError>> + Send;

    /// Ends the session and drops its bytes.
    fn discard(self) -> impl Future<Output = Result<(), Error>> + Send;
}

/// A part of the store that is listed at once: the objects whose hash, of this
/// algorithm, begins with this byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    pub algorithm: Algorithm,
    pub first_byte: u8,
}

impl Shard {
    /// All 512 of them.
    pub fn all() -> impl Iterator<Item = Self> {
        [Algorithm::Sha256, Algorithm::Sha512]
            .into_iter()
            .flat_map(|algorithm| (0..=u8::MAX).map(move |first_byte| Self { algorithm, first_byte }))
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:02x}", self.algorithm.name(), self.first_byte)
    }
}

/// An object as a listing finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub object: ObjectName,
    /// In bytes.
    pub size: u64,
    /// When it got its name; an orphan's age counts from here.
    pub committed: SystemTime,
}

/// What [`BlobStore::expire`] took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expired {
    pub sessions: u64,
    /// In bytes.
    pub freed: u64,
}

/// How the store behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a second writer of one session waits for the first (R-UPL-19).
    pub lock_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { lock_wait: Duration::from_secs(10) }
    }
}
