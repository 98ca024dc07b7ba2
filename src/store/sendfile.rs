//! Sending an object without touching its bytes: from the kernel's cache to the
//! socket, as a static file server does.
//!
//! hyper takes bodies as [`Bytes`] and gives no way to a socket, but it hands
//! long `Bytes` on to the socket's `poll_write_vectored` as they are. So
//! a [`BlobReader`](super::BlobReader) that was told so gives out slices of a
//! mapping of its file, and [`SendfileIo`], which stands between hyper and the
//! socket, knows these by their address and has the kernel send that part of the
//! file. Nobody reads through the mapping. If something did (TLS, HTTP/2), it
//! would read the right bytes, but wait for the disk on an async thread and die
//! of a failing one: for such connections readers are not told so.
//!
//! What we gave up: it works on plain HTTP/1.1 alone, and reads oddly.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use memmap2::Mmap;
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::runtime::{Handle, Id};

use super::{lanes, raw};

/// Shorter slices are not worth a call of their own.
const WORTHWHILE: usize = 16 * 1024;

/// Every mapping there is, by its first address.
static MAPPED: RwLock<BTreeMap<usize, Section>> = RwLock::new(BTreeMap::new());

#[derive(Debug, Clone)]
struct Section {
    file: Arc<File>,
    /// Of its first byte, in the file.
    offset: u64,
    len: usize,
}

/// Owns a mapping; it is found in [`MAPPED`] for exactly as long.
struct Mapped(Mmap);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let address = self.0.as_ptr() as usize;
        MAPPED.write().unwrap_or_else(PoisonError::into_inner).remove(&address);
    }
}

/// A part of an object's file as `Bytes` that [`SendfileIo`] recognises.
pub(super) fn map(file: &Arc<File>, range: Range<u64>) -> io::Result<Bytes> {
    let map = raw::map_object(file, range.clone())?;
    let section = Section { file: Arc::clone(file), offset: range.start, len: map.len() };
    MAPPED.write().unwrap_or_else(PoisonError::into_inner).insert(map.as_ptr() as usize, section);
    Ok(Bytes::from_owner(Mapped(map)))
}

/// The file and the offset in it that these bytes are mapped from. They are
/// borrowed, so their mapping cannot go while we look.
fn section_of(bytes: &[u8]) -> Option<(Arc<File>, u64)> {
    let address = bytes.as_ptr() as usize;
    let mapped = MAPPED.read().unwrap_or_else(PoisonError::into_inner);
    let (first, section) = mapped.range(..=address).next_back()?;
    let within = address - first;
    (within + bytes.len() <= section.len).then(|| (Arc::clone(&section.file), section.offset + within as u64))
}

/// A plain TCP connection for hyper that sends mapped objects from their files.
#[derive(Debug)]
pub struct SendfileIo {
    stream: TokioIo<TcpStream>,
    /// The lane that waits for it, if one does.
    lane: Option<Id>,
}

impl SendfileIo {
    /// Of an accepted connection.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream: TokioIo::new(stream), lane: None }
    }

    /// Has the socket waited for by the lane this connection is on, or else by the runtime it is on.
    fn settle(&mut self) {
        let here = lanes::here();
        let lane = here.as_ref().map(Handle::id);
        if lane == self.lane {
            return;
        }
        self.lane = lane;
        let runtime = here.unwrap_or_else(Handle::current);
        let _context = runtime.enter();
        let moved = self.stream.inner().as_fd().try_clone_to_owned().and_then(|fd| TcpStream::from_std(fd.into()));
        // Without a descriptor to spare it is waited for where it was, which works as well.
        if let Ok(moved) = moved {
            self.stream = TokioIo::new(moved);
        }
    }

    fn poll_sendfile(&self, cx: &mut Context<'_>, file: &File, from: u64, len: usize) -> Poll<io::Result<usize>> {
        let stream = self.stream.inner();
        loop {
            ready!(stream.poll_write_ready(cx))?;
            let mut offset = from;
            let send = || match rustix::fs::sendfile(stream, file, Some(&mut offset), len) {
                // The file was cut. The length is promised already: only the connection can end.
                Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(sent) => Ok(sent),
                Err(Errno::INTR) => Err(io::ErrorKind::WouldBlock.into()),
                Err(error) => Err(error.into()),
            };
            match stream.try_io(Interest::WRITABLE, send) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

impl Read for SendfileIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        self.settle();
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl Write for SendfileIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.settle();
        let mapped = |slice: &IoSlice<'_>| if slice.len() >= WORTHWHILE { section_of(slice) } else { None };
        let first = slices.iter().enumerate().find_map(|(nth, slice)| Some((nth, mapped(slice)?)));
        match first {
            Some((0, (file, from))) => self.poll_sendfile(cx, &file, from, slices[0].len()),
            // The head goes first, and what else comes before.
            Some((nth, _)) => Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..nth]),
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn mapped_bytes_are_known_until_they_are_dropped() {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
        file.write_all(&content).unwrap();
        let file = Arc::new(file);
        let bytes = map(&file, 5000..95_000).unwrap();
        assert_eq!(*bytes, content[5000..95_000]);
        let part = bytes.slice(10..90_000);
        drop(bytes);
        let (_, offset) = section_of(&part).unwrap();
        assert_eq!(offset, 5010);
        assert!(section_of(&content).is_none());
        let address = part.as_ptr() as usize;
        drop(part);
        assert!(!MAPPED.read().unwrap().range(..=address).any(|(first, s)| (*first..first + s.len).contains(&address)));
    }
}
