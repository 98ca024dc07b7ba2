//! Memory as on a machine that has run for a day: all of it in use, mostly as page cache.
//!
//! A virtual machine may give memory that nobody uses back to its host within
//! seconds, and then pays for the first use of each page many times what the
//! work itself costs. What is written here is written into memory that was used
//! a moment ago, on every server alike.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::Path;

use crate::{GIB, KIB, MIB, Result};

/// What stays free, so that the kernel has some at hand.
const FREE: usize = 768 * MIB;

/// A file of nothing but holes, which takes page cache and no disk.
pub(crate) struct Memory {
    holes: File,
    len: usize,
}

impl Memory {
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        let (holes, len) = (tempfile::tempfile_in(directory)?, meminfo("MemTotal")?);
        holes.set_len(u64::try_from(len)?)?;
        Ok(Self { holes, len })
    }

    /// Has the page cache take what is free.
    pub(crate) fn use_up(&mut self) -> Result {
        let mut buffer = vec![0; 4 * MIB];
        self.holes.rewind()?;
        for nth in 0..self.len / buffer.len() {
            if nth % 16 == 0 && meminfo("MemFree")? < FREE {
                break;
            }
            self.holes.read_exact(&mut buffer)?;
        }
        Ok(())
    }
}

/// Uses more memory once than what will be written takes, so that it is there.
pub(crate) fn touch(writes: usize) {
    std::hint::black_box(vec![1_u8; writes + writes / 4 + 256 * MIB]);
}

/// The machine's memory, in GiB.
pub(crate) fn total() -> Result<usize> {
    Ok(meminfo("MemTotal")? / GIB)
}

/// A line of `/proc/meminfo`, in bytes.
fn meminfo(name: &str) -> Result<usize> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).ok_or("no such memory")?;
    let kib: usize = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * KIB)
}
