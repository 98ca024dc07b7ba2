use std::io;
use std::path::PathBuf;

use crate::domain::{Digest, ObjectName};

/// What can go wrong below a blob. "Not there" is no error but `None`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No space or no quota is left. Space freed makes writing work again.
    #[error("no space is left where the blobs are stored: {0}")]
    Full(#[source] io::Error),
    /// Another request writes to this session and did not finish in time.
    #[error("another request is still writing to this upload")]
    Busy,
    /// The object is there but not what was once committed.
    #[error("{object} should have {expected} bytes, its file has {actual}")]
    Damaged { object: ObjectName, expected: u64, actual: u64 },
    /// The object is there but the disk does not give it.
    #[error("{object} cannot be read: {source}")]
    Unreadable { object: ObjectName, source: io::Error },
    /// The directory given for the store does not serve as one.
    #[error("cannot use {} for blobs: {source}; create it and make it writable for this user", path.display())]
    Root { path: PathBuf, source: io::Error },
    /// Anything else the operating system refuses.
    #[error("the blob store failed: {0}")]
    Io(#[source] io::Error),
}

/// Why an upload did not become a blob.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    #[error("the uploaded bytes hash to {actual}, not to {claimed}")]
    Mismatch { claimed: Digest, actual: Digest },
    #[error(transparent)]
    Store(#[from] Error),
}

impl From<io::Error> for Error {
    /// A full disk and a spent quota are told apart from everything else.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(error),
            _ => Self::Io(error),
        }
    }
}

impl From<io::Error> for CommitError {
    fn from(error: io::Error) -> Self {
        Self::Store(error.into())
    }
}
