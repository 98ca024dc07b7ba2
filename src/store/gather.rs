use std::io::IoSlice;

use bytes::{Bytes, BytesMut};

/// Collect this much before it is worth a job, and no more than this while one runs.
pub(super) const ENOUGH: usize = 512 * 1024;
/// Collect this much where it is written at once: it should still be in the core's cache.
pub(super) const IN_PLACE: usize = 128 * 1024;
/// Shorter chunks are copied together: holding each on its own could hold a
/// whole receive buffer for the sake of one byte.
const SHORT: usize = 8 * 1024;
/// More pieces than this are enough, however short.
const PIECES: usize = 128;

/// Received bytes on their way to the disk, in order.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pieces: Vec<Bytes>,
    /// Short chunks, which come after the pieces.
    short: BytesMut,
    len: usize,
}

impl Gathered {
    pub(super) fn push(&mut self, chunk: Bytes) {
        self.len += chunk.len();
        if chunk.len() < SHORT {
            self.short.extend_from_slice(&chunk);
        } else {
            self.close_short();
            self.pieces.push(chunk);
        }
    }

    fn close_short(&mut self) {
        if !self.short.is_empty() {
            self.pieces.push(std::mem::take(&mut self.short).freeze());
        }
    }

    /// How many bytes it holds.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether that many bytes are here, or as many pieces as are worth to be written.
    pub(super) fn is_enough(&self, enough: usize) -> bool {
        self.len >= enough || self.pieces.len() >= PIECES
    }

    /// Takes everything out.
    pub(super) fn take(&mut self) -> Self {
        self.close_short();
        std::mem::take(self)
    }

    /// The bytes, for a hasher.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().map(AsRef::as_ref)
    }

    /// The bytes, for one vectored write.
    pub(super) fn slices(&self) -> Vec<IoSlice<'_>> {
        self.pieces().map(IoSlice::new).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_comes_out_is_what_went_in(lengths in proptest::collection::vec(0..3 * SHORT, 0..20)) {
            let mut gathered = Gathered::default();
            let mut whole: Vec<u8> = Vec::new();
            for (nth, len) in lengths.into_iter().enumerate() {
                let chunk = vec![nth as u8; len];
                whole.extend(&chunk);
                gathered.push(chunk.into());
            }
            prop_assert_eq!(gathered.len(), whole.len());
            let taken = gathered.take();
            prop_assert_eq!(taken.pieces().collect::<Vec<_>>().concat(), whole);
            prop_assert_eq!((gathered.len(), gathered.pieces().count()), (0, 0));
        }
    }
}
