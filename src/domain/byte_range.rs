/// A part of some content that exists: never empty, never past the end.
///
/// Both ends are offsets in bytes from the content's start; `last` is inclusive,
/// as in `Content-Range` (RFC 9110 §14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    first: u64,
    last: u64,
}

impl ByteRange {
    /// From `first` to `last`, cut at the end of content of `size` bytes; `None`
    /// where nothing of it exists (R-BLB-10, R-BLB-13).
    pub fn within(first: u64, last: u64, size: u64) -> Option<Self> {
        (first <= last && first < size).then(|| Self { first, last: last.min(size - 1) })
    }

    /// The last `count` bytes of content of `size` bytes; `None` where that is
    /// nothing (R-BLB-12).
    pub fn suffix(count: u64, size: u64) -> Option<Self> {
        (count > 0 && size > 0).then(|| Self { first: size.saturating_sub(count), last: size - 1 })
    }

    /// Offset of the first byte.
    pub fn first(self) -> u64 {
        self.first
    }

    /// Offset of the last byte, inclusive.
    pub fn last(self) -> u64 {
        self.last
    }

    /// How many bytes it has, at least one.
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub fn len(self) -> u64 {
        self.last - self.first + 1
    }
}
