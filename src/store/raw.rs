//! The calls that no safe crate offers. All unsafe code of the store is here.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;

use memmap2::{Mmap, MmapOptions};

/// Lets the disk begin with these bytes, so that syncing them later is short.
/// A hint: it makes nothing durable.
pub(super) fn begin_writeback(file: &File, range: Range<u64>) {
    let Ok(offset) = i64::try_from(range.start) else { return };
    let Ok(len) = i64::try_from(range.end.saturating_sub(range.start)) else { return };
    #[expect(unsafe_code, reason = "rustix does not have this call")]
    // SAFETY: it takes no pointer, and the descriptor is open while `file` is borrowed.
    let _ = unsafe { libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Maps a part of an object's file to read.
///
/// Invariant: an object's file is never written, cut or extended once it has its
/// name. The store opens it for reading alone and takes it away by unlinking,
/// which leaves an open file whole. Whoever cuts it by other means, or a disk
/// that fails, ends this process where the bytes are read through memory; so
/// they are not, but sent by number (see `sendfile`).
pub(super) fn map_object(file: &File, range: Range<u64>) -> io::Result<Mmap> {
    let len = usize::try_from(range.end.saturating_sub(range.start)).map_err(io::Error::other)?;
    #[expect(unsafe_code, reason = "a mapping is only as immutable as its file; see the invariant")]
    // SAFETY: the invariant above.
    unsafe {
        MmapOptions::new().offset(range.start).len(len).map(file)
    }
}
