//! The two calls that no safe crate offers. All unsafe code of the store is here.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;

/// Lets the disk begin with these bytes, so that syncing them later is short.
/// A hint: it makes nothing durable.
pub(super) fn begin_writeback(file: &File, range: Range<u64>) {
    let Ok(offset) = i64::try_from(range.start) else { return };
    let Ok(len) = i64::try_from(range.end.saturating_sub(range.start)) else { return };
    #[expect(unsafe_code, reason = "rustix does not have this call")]
    // SAFETY: it takes no pointer, and the descriptor is open while `file` is borrowed.
    let _ = unsafe { libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
}
