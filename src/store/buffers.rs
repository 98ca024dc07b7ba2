use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Buffers of one length that are used again and again: large ones from the
/// allocator would be zeroed, or mapped and unmapped, each time.
#[derive(Debug, Clone)]
pub(super) struct Buffers(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    len: usize,
    /// How many unused ones are kept.
    spare: usize,
    free: Mutex<Vec<Box<[u8]>>>,
}

/// One of them; it goes back when dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    filled: usize,
    pool: Arc<Pool>,
}

impl Buffers {
    pub(super) fn new(len: usize, spare: usize) -> Self {
        Self(Arc::new(Pool { len, spare, free: Mutex::default() }))
    }

    /// A buffer whose content is whatever it was used for last.
    pub(super) fn take(&self) -> Buffer {
        let free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = free.unwrap_or_else(|| vec![0; self.0.len].into());
        Buffer { bytes, filled: 0, pool: Arc::clone(&self.0) }
    }
}

impl Buffer {
    /// Room for at most this many bytes.
    pub(super) fn room(&mut self, at_most: usize) -> &mut [u8] {
        let len = self.bytes.len().min(at_most);
        &mut self.bytes[..len]
    }

    /// Its first bytes, now that they were filled.
    pub(super) fn filled(mut self, len: usize) -> Bytes {
        self.filled = len.min(self.bytes.len());
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < self.pool.spare {
            free.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_once_nobody_reads_it() {
        let buffers = Buffers::new(8, 1);
        let mut first = buffers.take();
        first.room(3).copy_from_slice(b"abc");
        let address = first.bytes.as_ptr();
        let bytes = first.filled(3);
        let second = buffers.take();
        assert_ne!(second.bytes.as_ptr(), address);
        let slice = bytes.slice(1..);
        drop(bytes);
        assert_eq!(&*slice, b"bc");
        drop(slice);
        assert_eq!(buffers.take().bytes.as_ptr(), address);
    }
}
