//! What a later look at the disk finds: objects by shard, and sessions that
//! nobody goes on with. Everything here blocks.

use std::collections::HashSet;
use std::fs::{DirEntry, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::layout::{self, Patience, Root};
use super::{Expired, Listed, Shard, record};
use crate::domain::{ObjectName, UploadId};

/// The name of a file that was written only to see whether that works.
pub(super) const PROBE: &str = "probe.";

/// The objects of one shard. A file that is no object's is not ours to judge.
pub(super) fn list(root: &Root, shard: Shard) -> io::Result<Vec<Listed>> {
    let entries = match std::fs::read_dir(root.path.join("blobs").join(shard.to_string())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut objects = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let object = name.to_str().and_then(|name| format!("{shard}/{name}").parse::<ObjectName>().ok());
        let (Some(object), Some(metadata)) = (object, metadata(&entry)?) else { continue };
        // Its content may be days older than its name; a rename is what changes the inode last.
        let committed = modified(&metadata).max(time(metadata.ctime(), metadata.ctime_nsec()));
        objects.push(Listed { object, size: metadata.len(), committed });
    }
    Ok(objects)
}

/// Removes the uploads that have been idle since `before`.
pub(super) fn expire(root: &Root, before: SystemTime) -> io::Result<Expired> {
    let mut expired = Expired::default();
    let mut seen = HashSet::new();
    for entry in std::fs::read_dir(root.path.join("uploads"))? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        match layout::session_of(name) {
            Some(id) if seen.insert(id) => expire_session(root, id, before, &mut expired)?,
            None if name.starts_with(PROBE) && metadata(&entry)?.is_some_and(|m| modified(&m) < before) => {
                root.remove_upload(name)?;
            }
            _ => {}
        }
    }
    Ok(expired)
}

fn expire_session(root: &Root, id: UploadId, before: SystemTime, expired: &mut Expired) -> io::Result<()> {
    let session = root.open_session(id, Patience::Unlimited)?;
    if let Some(session) = session.as_ref() {
        // A session with a writer never expires (R-UPL-62).
        match rustix::fs::flock(session, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    let data = root.open_data(id, Patience::Unlimited)?;
    let mut bytes = 0;
    for file in [session.as_ref(), data.as_ref()].into_iter().flatten() {
        let metadata = file.metadata()?;
        if modified(&metadata) >= before {
            return Ok(());
        }
        bytes = metadata.len(); // of the data, where there is some
    }
    // What waited to be used again was no session any more.
    if session.as_ref().is_none_or(|session| !record::is_finished(session)) {
        expired.sessions += 1;
    }
    expired.freed += data.map_or(0, |_| bytes);
    root.remove_session_file(id)?;
    root.remove_data(id)
}

/// `None` where the file went while we looked.
fn metadata(entry: &DirEntry) -> io::Result<Option<Metadata>> {
    match entry.metadata() {
        Ok(metadata) => Ok(Some(metadata).filter(Metadata::is_file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn modified(metadata: &Metadata) -> SystemTime {
    time(metadata.mtime(), metadata.mtime_nsec())
}

fn time(seconds: i64, nanoseconds: i64) -> SystemTime {
    let whole = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    UNIX_EPOCH + whole + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or_default())
}
