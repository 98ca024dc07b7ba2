//! Serving an object: what the kernel has cached is read at once, on the async
//! thread, since that waits for nobody. Once it would have to wait for the disk,
//! reading moves to the blocking threads, one block ahead of the client.

use std::fs::File;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use rustix::fs::Advice;
use rustix::io::{Errno, ReadWriteFlags};
use tokio::task::JoinHandle;

use super::buffers::Buffers;
use super::filesystem::Shared;
use super::metrics::timed;
use super::sendfile;
use crate::domain::ByteRange;

/// How much is read at once where nothing waits.
pub(super) const INLINE: usize = 256 * 1024;
/// How much is read at once where the disk is waited for.
const BLOCK: usize = 1024 * 1024;
/// Shorter parts are not worth a mapping.
const WORTH_MAPPING: u64 = INLINE as u64;
/// Where a mapped part is probed for being cached.
const PROBES: usize = 256 * 1024;

/// A part of an object, streamed. It ends with an error rather than short.
#[derive(Debug)]
pub struct BlobReader {
    source: Source,
    /// Where the next frame begins, and where the last one ends.
    position: u64,
    end: u64,
    next: Next,
}

/// An object's file, and what reading it takes.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) file: Arc<File>,
    pub(super) shared: Arc<Shared>,
}

/// Where buffers come from.
#[derive(Debug)]
pub(super) struct Pools {
    inline: Buffers,
    block: Buffers,
}

impl Default for Pools {
    fn default() -> Self {
        Self { inline: Buffers::new(INLINE, 16), block: Buffers::new(BLOCK, 8) }
    }
}

#[derive(Debug)]
enum Next {
    /// Here already: a short object is read when it is opened.
    Ready(Bytes),
    /// In the kernel's cache, as far as we know.
    Cached,
    /// On its way from the disk.
    Coming(JoinHandle<io::Result<Bytes>>),
    /// All that is still to come, as memory that is not to be touched.
    Mapped(Bytes),
    /// The same, while its next block is on its way to the kernel's cache.
    Warming(Bytes, JoinHandle<io::Result<()>>),
}

impl BlobReader {
    /// Of these bytes of the file, the first of which may have been read already.
    pub(super) fn new(source: Source, range: Range<u64>, first: Option<Bytes>) -> Self {
        let next = first.map_or(Next::Cached, Next::Ready);
        Self { source, position: range.start, end: range.end, next }
    }

    /// How many bytes are still to come.
    pub fn remaining(&self) -> u64 {
        self.end - self.position
    }

    /// Another part of the same object, whatever has become of its name by now.
    /// For answers of several ranges (R-BLB-16).
    #[must_use]
    pub fn part(&self, range: ByteRange) -> Self {
        Self::new(self.source.clone(), range.first()..range.last() + 1, None)
    }

    /// The same bytes for a connection of plain HTTP/1.1 whose IO is a
    /// [`SendfileIo`](super::SendfileIo); for any other this is wrong. Where it
    /// would not pay, nothing changes.
    #[must_use]
    pub fn by_sendfile(mut self) -> Self {
        if matches!(self.next, Next::Cached)
            && self.remaining() > WORTH_MAPPING
            && let Ok(mapped) = sendfile::map(&self.source.file, self.position..self.end)
        {
            self.next = Next::Mapped(mapped);
        }
        self
    }

    /// The bytes of the next frame, of which there is one.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let block = self.position..self.end.min(self.position + BLOCK as u64);
        loop {
            match &mut self.next {
                Next::Ready(bytes) => {
                    let bytes = std::mem::take(bytes);
                    self.next = Next::Cached;
                    return Poll::Ready(Ok(bytes));
                }
                Next::Cached => match self.source.read_cached(self.position..self.end) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.next = Next::Coming(self.source.fetch(block.clone()));
                    }
                    read => return Poll::Ready(read),
                },
                Next::Coming(job) => {
                    let joined = ready!(Pin::new(job).poll(cx));
                    self.next = Next::Cached;
                    let bytes = joined.map_err(io::Error::other)??;
                    if block.end < self.end {
                        self.next = Next::Coming(self.source.fetch(block.end..self.end.min(block.end + BLOCK as u64)));
                    }
                    return Poll::Ready(Ok(bytes));
                }
                Next::Mapped(rest) => {
                    if self.source.is_cached(block.clone())? {
                        return Poll::Ready(Ok(rest.split_to(rest.len().min(BLOCK))));
                    }
                    self.next = Next::Warming(std::mem::take(rest), self.source.fetch_to_cache(block.clone()));
                }
                Next::Warming(rest, job) => {
                    let joined = ready!(Pin::new(job).poll(cx));
                    let mut rest = std::mem::take(rest);
                    let bytes = rest.split_to(rest.len().min(BLOCK));
                    self.next = Next::Mapped(rest);
                    return Poll::Ready(joined.map_err(io::Error::other)?.map(|()| bytes));
                }
            }
        }
    }
}

impl Source {
    /// Reads what is cached; `WouldBlock` where the first byte is not.
    pub(super) fn read_cached(&self, range: Range<u64>) -> io::Result<Bytes> {
        timed(&self.shared.metrics.read, || {
            let want = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            if want <= INLINE / 4 {
                let mut bytes = vec![0; want];
                let len = read_nowait(&self.file, &mut bytes, range.start)?;
                bytes.truncate(len);
                return Ok(bytes.into());
            }
            let mut buffer = self.shared.pools.inline.take();
            let len = read_nowait(&self.file, buffer.room(want), range.start)?;
            Ok(buffer.filled(len))
        })
    }

    /// Begins to read a block.
    fn fetch(&self, block: Range<u64>) -> JoinHandle<io::Result<Bytes>> {
        let source = self.clone();
        tokio::task::spawn_blocking(move || {
            timed(&source.shared.metrics.read, || {
                let want = usize::try_from(block.end - block.start).map_err(io::Error::other)?;
                let mut buffer = source.shared.pools.block.take();
                source.file.read_exact_at(buffer.room(want), block.start)?;
                Ok(buffer.filled(want))
            })
        })
    }

    /// Begins to bring a block into the kernel's cache.
    fn fetch_to_cache(&self, block: Range<u64>) -> JoinHandle<io::Result<()>> {
        let source = self.clone();
        tokio::task::spawn_blocking(move || timed(&source.shared.metrics.read, || source.warm(block)))
    }

    /// Whether these bytes are cached, as far as a few of them tell.
    fn is_cached(&self, block: Range<u64>) -> io::Result<bool> {
        let last = block.end - 1;
        for at in block.step_by(PROBES).chain([last]) {
            match read_nowait(&self.file, &mut [0], at) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Waits until these bytes are cached, while the disk goes on to the next ones.
    fn warm(&self, block: Range<u64>) -> io::Result<()> {
        let ahead = NonZeroU64::new(4 * (block.end - block.start));
        rustix::fs::fadvise(&self.file, block.start, ahead, Advice::WillNeed)?;
        let last = block.end - 1;
        block.step_by(PROBES / 4).chain([last]).try_for_each(|at| self.file.read_exact_at(&mut [0], at))
    }
}

/// Reads from the kernel's cache alone, at least one byte.
pub(super) fn read_nowait(file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
    match rustix::io::preadv2(file, &mut [IoSliceMut::new(into)], at, ReadWriteFlags::NOWAIT) {
        Ok(0) if !into.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(len) => Ok(len),
        // Not every file system can promise not to wait.
        Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => Err(io::ErrorKind::WouldBlock.into()),
        Err(error) => Err(error.into()),
    }
}

impl Body for BlobReader {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.position == self.end {
            return Poll::Ready(None);
        }
        let bytes = ready!(self.poll_bytes(cx))?;
        self.position += bytes.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.position == self.end
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining())
    }
}
