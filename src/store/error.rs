use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

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

impl Error {
    /// Tells a file that is not what was committed from a process that may open
    /// no more files, or the like: the object is as good as it was.
    pub fn reading(object: &ObjectName, source: io::Error) -> Self {
        let errno = source.raw_os_error().map(Errno::from_raw_os_error);
        let ours = matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::ACCESS | Errno::PERM));
        // An error without a number is a job that was given up; but a file that
        // ends too soon has none either.
        let foreign = errno.is_some() || source.kind() == io::ErrorKind::UnexpectedEof;
        if ours || !foreign { source.into() } else { Self::Unreadable { object: object.clone(), source } }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever marks an object damaged must not do so because this process is short of something.
    #[test]
    fn only_what_is_wrong_with_the_object_is_said_of_it() {
        let digest: Digest = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
        let object = ObjectName::new(&digest, crate::domain::UploadId::random());
        let of = |errno: Errno| Error::reading(&object, errno.into());
        for errno in [Errno::IO, Errno::LOOP, Errno::ISDIR, Errno::UCLEAN] {
            assert!(matches!(of(errno), Error::Unreadable { .. }), "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::ACCESS] {
            assert!(matches!(of(errno), Error::Io(_)), "{errno}");
        }
        let short = io::ErrorKind::UnexpectedEof.into();
        assert!(matches!(Error::reading(&object, short), Error::Unreadable { .. }));
        assert!(matches!(Error::reading(&object, io::Error::other("a job was given up")), Error::Io(_)));
    }

    #[test]
    fn a_spent_quota_is_a_full_disk() {
        assert!(matches!(Error::from(io::Error::from(Errno::DQUOT)), Error::Full(_)));
        assert!(matches!(Error::from(io::Error::from(Errno::NOSPC)), Error::Full(_)));
        assert!(matches!(Error::from(io::Error::from(Errno::IO)), Error::Io(_)));
    }
}
