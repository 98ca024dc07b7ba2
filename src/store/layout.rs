//! Where things lie below the store's root, and every change of a directory.
//!
//! ```text
//! identity                                  random id, made once
//! uploads/<upload id>                       a session: owner and records, or
//!                                           one that is finished, to be used again
//! uploads/<upload id>.data                  its bytes, from the first one on
//! blobs/<alg>/<2 hex>/<hex>.<upload id>     an object, see `ObjectName`
//! ```
//!
//! Nothing in `uploads/` is ever synced but the bytes that become an object.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, CWD, FallocateFlags, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;

use super::steps::{Step, Steps};
use super::{Error, Shard};
use crate::domain::{Algorithm, Digest, ObjectName, UploadId};
use crate::failpoint::failpoint;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const PRIVATE_DIRECTORY: Mode = Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP);
const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR).union(Mode::RGRP);

/// A file takes as many bytes more than it holds without having anything reserved: the rest of
/// its last block, and what says where its blocks are.
const SLACK: u64 = 256 * 1024;
const EXT: u64 = 0xEF53;
/// The kernel's numbers of file systems whose files are on this host.
const LOCAL: [u64; 8] = {
    const XFS: u64 = 0x5846_5342;
    const BTRFS: u64 = 0x9123_683E;
    const F2FS: u64 = 0xF2F5_2010;
    const ZFS: u64 = 0x2FC1_2FC1;
    const BCACHEFS: u64 = 0xCA45_1A4E;
    const TMPFS: u64 = 0x0102_1994;
    const OVERLAY: u64 = 0x794C_7630;
    [EXT, XFS, BTRFS, F2FS, ZFS, BCACHEFS, TMPFS, OVERLAY]
};

/// Whether a call may wait for the disk. On an async thread it must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// `WouldBlock` rather than wait.
    None,
    Unlimited,
}

/// The directories of the store, opened once.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) path: PathBuf,
    root: OwnedFd,
    uploads: OwnedFd,
    blobs: OwnedFd,
    /// Whether opening what the kernel has cached asks nobody else, as a network file system does.
    pub(super) local: bool,
    /// Whether writing costs less where room was reserved before, see [`reserve`](Self::reserve).
    pub(super) reserves: bool,
    /// Shards whose directory is known to be durable in its parent.
    durable: Vec<AtomicBool>,
    /// What has become durable in which order, for a test to judge.
    pub(super) steps: Steps,
}

impl Root {
    /// Opens the store's directories and creates what is missing of them.
    pub(super) fn prepare(path: &Path) -> Result<Self, Error> {
        let refused = |source: io::Error| Error::Root { path: path.to_path_buf(), source };
        create_durably(path).map_err(refused)?;
        let open = || -> io::Result<Self> {
            let root = rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty())?;
            for name in ["uploads", "blobs", "blobs/sha256", "blobs/sha512"] {
                make_directory(&root, name)?;
            }
            let uploads = rustix::fs::openat(&root, "uploads", DIRECTORY, Mode::empty())?;
            let blobs = rustix::fs::openat(&root, "blobs", DIRECTORY, Mode::empty())?;
            rustix::fs::fsync(&blobs)?;
            rustix::fs::fsync(&root)?;
            let kind = rustix::fs::fstatfs(&root).ok().and_then(|stat| u64::try_from(stat.f_type).ok());
            let (local, reserves) = (kind.is_some_and(|kind| LOCAL.contains(&kind)), kind == Some(EXT));
            let durable = Shard::all().map(|_| AtomicBool::new(false)).collect();
            let steps = Steps::default();
            Ok(Self { path: path.to_path_buf(), root, uploads, blobs, local, reserves, durable, steps })
        };
        open().map_err(refused)
    }

    /// The directory itself.
    pub(super) fn directory(&self) -> &OwnedFd {
        &self.root
    }

    /// A new session's file.
    pub(super) fn create_session(&self, id: UploadId) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.uploads, session_name(id), flags, PRIVATE_FILE)?.into())
    }

    /// Gives a session's file the name of another session, which is new.
    pub(super) fn rename_session(&self, old: UploadId, new: UploadId) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.uploads, session_name(old), &self.uploads, session_name(new))?)
    }

    /// A session's file, to be locked, read and written.
    pub(super) fn open_session(&self, id: UploadId, patience: Patience) -> io::Result<Option<File>> {
        self.open(&self.uploads, &session_name(id), OFlags::RDWR, patience)
    }

    /// The bytes of a session that has some.
    pub(super) fn open_data(&self, id: UploadId, patience: Patience) -> io::Result<Option<File>> {
        self.open(&self.uploads, &data_name(id), OFlags::RDWR, patience)
    }

    /// An empty file for a session's bytes. What bears its name already goes:
    /// it was never recorded.
    pub(super) fn create_data(&self, id: UploadId) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let create = || rustix::fs::openat(&self.uploads, data_name(id), flags, PRIVATE_FILE);
        let file = create().or_else(|error| match error {
            // Removed, never truncated: it could be an object's other name.
            Errno::EXIST => self.unlink(&self.uploads, &data_name(id)).and_then(|()| create()),
            other => Err(other),
        })?;
        Ok(file.into())
    }

    /// Sets room aside behind a file's end, where that makes writing there cheaper: ext4 does its
    /// accounts for each block that grows a file, or else once for all that is reserved. A hint:
    /// where there is no room, the write itself will say so.
    pub(super) fn reserve(&self, data: &File, room: Range<u64>) {
        if self.reserves {
            let _ = rustix::fs::fallocate(data, FallocateFlags::KEEP_SIZE, room.start, room.end - room.start);
        }
    }

    /// Gives back what was reserved behind a file's end, where it is worth a call. A hint as well.
    pub(super) fn release(&self, data: &File, metadata: &Metadata) {
        if self.reserves && metadata.blocks() * 512 > metadata.size() + SLACK {
            let _ = data.set_len(metadata.size());
        }
    }

    /// An object's file; `None` where it is absent.
    pub(super) fn open_object(&self, object: &ObjectName, patience: Patience) -> io::Result<Option<File>> {
        self.open(&self.blobs, object.as_str(), OFlags::RDONLY, patience)
    }

    /// An object's length; `None` where it is absent.
    pub(super) fn object_size(&self, object: &ObjectName) -> io::Result<Option<u64>> {
        match rustix::fs::statat(&self.blobs, object.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(u64::try_from(stat.st_size).unwrap_or_default())),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a session's bytes, which are synced already, an object that a power
    /// cut does not take.
    pub(super) fn publish(&self, id: UploadId, digest: &Digest) -> io::Result<ObjectName> {
        let shard = Shard::of(digest);
        let mut object = ObjectName::new(digest, id);
        let mut made = false;
        loop {
            match rename_new(&self.uploads, &data_name(id), &self.blobs, object.as_str()) {
                Ok(()) => break,
                Err(Errno::NOENT) if !made => {
                    made = true;
                    self.durable(shard).store(false, Ordering::Relaxed);
                    make_directory(&self.blobs, &shard.to_string())?;
                    self.steps.took(|| Step::MakeDirectory(shard.to_string()));
                    failpoint("store.commit.directory_made")?;
                }
                // A crash has left this session behind although it was committed: a name is never used again.
                Err(Errno::EXIST) => object = ObjectName::new(digest, UploadId::random()),
                Err(error) => return Err(error.into()),
            }
        }
        self.steps.took(|| Step::Rename { from: data_name(id), to: object.to_string() });
        let durable = failpoint("store.commit.renamed")
            .and_then(|()| self.sync_shard(shard))
            .and_then(|()| failpoint("store.commit.published"));
        if let Err(error) = durable {
            // Nobody knows of it yet, and nobody ever shall.
            let _ = self.remove_object(&object);
            return Err(error);
        }
        Ok(object)
    }

    /// Makes what was renamed into this shard durable.
    fn sync_shard(&self, shard: Shard) -> io::Result<()> {
        self.sync_directory(&shard.to_string())?;
        failpoint("store.commit.directory_synced")?;
        let durable = self.durable(shard);
        if !durable.load(Ordering::Relaxed) {
            // Once for each process: whoever made the directory may not have got this far.
            self.sync_directory(shard.algorithm.name())?;
            durable.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn sync_directory(&self, name: &str) -> io::Result<()> {
        let directory = rustix::fs::openat(&self.blobs, name, DIRECTORY, Mode::empty())?;
        rustix::fs::fsync(&directory)?;
        self.steps.took(|| Step::SyncDirectory(name.to_owned()));
        Ok(())
    }

    fn durable(&self, shard: Shard) -> &AtomicBool {
        &self.durable[shard.index()]
    }

    /// Removes an object's file; an absent one is removed already.
    pub(super) fn remove_object(&self, object: &ObjectName) -> io::Result<()> {
        self.steps.took(|| Step::RemoveObject(object.to_string()));
        Ok(self.unlink(&self.blobs, object.as_str())?)
    }

    /// Removes a session's file.
    pub(super) fn remove_session_file(&self, id: UploadId) -> io::Result<()> {
        self.remove_upload(&session_name(id))
    }

    /// Removes a session's bytes.
    pub(super) fn remove_data(&self, id: UploadId) -> io::Result<()> {
        self.remove_upload(&data_name(id))
    }

    /// Removes a file among the uploads by its name.
    pub(super) fn remove_upload(&self, name: &str) -> io::Result<()> {
        Ok(self.unlink(&self.uploads, name)?)
    }

    /// A small file with a name of its own among the uploads, to see whether writing works.
    pub(super) fn create_probe(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.uploads, name, flags, PRIVATE_FILE)?.into())
    }

    fn unlink(&self, directory: &OwnedFd, name: &str) -> Result<(), Errno> {
        match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            other => other,
        }
    }

    fn open(&self, at: &OwnedFd, name: &str, flags: OFlags, patience: Patience) -> io::Result<Option<File>> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened = match patience {
            Patience::None if self.local => rustix::fs::openat2(at, name, flags, Mode::empty(), ResolveFlags::CACHED),
            Patience::None => return Err(io::ErrorKind::WouldBlock.into()),
            Patience::Unlimited => rustix::fs::openat(at, name, flags, Mode::empty()),
        };
        match opened {
            Ok(file) => Ok(Some(file.into())),
            Err(Errno::NOENT) => Ok(None),
            // Older kernels, and those where a filter forbids this call, do not know it.
            Err(Errno::NOSYS | Errno::INVAL | Errno::PERM) if patience == Patience::None => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The name of a session's file.
pub(super) fn session_name(id: UploadId) -> String {
    id.to_string()
}

/// The name of the file with a session's bytes.
pub(super) fn data_name(id: UploadId) -> String {
    format!("{id}.data")
}

/// Which session a file among the uploads belongs to.
pub(super) fn session_of(name: &str) -> Option<UploadId> {
    name.strip_suffix(".data").unwrap_or(name).parse().ok()
}

/// Gives a file a new name that nothing has yet.
pub(super) fn rename_new(from: &OwnedFd, old: &str, to: &OwnedFd, new: &str) -> Result<(), Errno> {
    match rustix::fs::renameat_with(from, old, to, new, RenameFlags::NOREPLACE) {
        // Network file systems know no such rename, but they do refuse to link over a file.
        Err(Errno::INVAL | Errno::NOSYS) => {
            rustix::fs::linkat(from, old, to, new, AtFlags::empty())?;
            rustix::fs::unlinkat(from, old, AtFlags::empty())
        }
        other => other,
    }
}

fn make_directory(at: &OwnedFd, name: &str) -> Result<(), Errno> {
    match rustix::fs::mkdirat(at, name, PRIVATE_DIRECTORY) {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// Creates a directory with its parents, each durable in its own.
fn create_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_durably(parent)?;
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(parent)?.sync_all(),
    }
}

impl Shard {
    fn of(digest: &Digest) -> Self {
        let first_byte = digest.hex().get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        Self { algorithm: digest.algorithm(), first_byte: first_byte.unwrap_or_default() }
    }

    fn index(self) -> usize {
        let half = match self.algorithm {
            Algorithm::Sha256 => 0,
            Algorithm::Sha512 => 256,
        };
        half + usize::from(self.first_byte)
    }
}
