use crate::domain::ByteRange;

/// Parts that one request may ask for, at most (R-BLB-16).
const MAX_PARTS: usize = 1024;

/// What a `Range` header asks of some content.
///
/// Grammar: `bytes=` and `a-b`, `a-` or `-n`, joined by `,` (RFC 9110 §14.1.2).
/// What is not that is ignored, as is any range of empty content.
///
/// Source: R-BLB-10 to R-BLB-16.
#[derive(Debug, PartialEq, Eq)]
pub enum WantedRange {
    /// All of it: no header, none we understand, or parts that add up to more
    /// than the content has.
    Whole,
    One(ByteRange),
    /// Several, in the order they were asked for.
    Many(Vec<ByteRange>),
    /// Nothing that is there: 416.
    Unsatisfiable,
}

impl WantedRange {
    /// Reads the header's value, for content of `size` bytes.
    pub fn parse(header: Option<&str>, size: u64) -> Self {
        let Some(list) = header.and_then(ranges_of_bytes).filter(|_| size > 0) else { return Self::Whole };
        let Some(parts) = list.split(',').map(|part| Part::parse(part.trim())).collect::<Option<Vec<_>>>() else {
            return Self::Whole;
        };
        match parts.as_slice() {
            [part] => part.within(size).map_or(Self::Unsatisfiable, Self::One),
            _ if parts.len() > MAX_PARTS => Self::Whole,
            _ => Self::several(&parts, size),
        }
    }

    /// No part is merged, moved or dropped (R-BLB-16): where one is not there, or
    /// where they add up to more than everything, the answer is everything.
    fn several(parts: &[Part], size: u64) -> Self {
        let ranges: Vec<_> = parts.iter().filter_map(|part| part.within(size)).collect();
        let wanted = ranges.iter().try_fold(0_u64, |sum, range| sum.checked_add(range.len()));
        match (ranges.len(), wanted) {
            (0, _) => Self::Unsatisfiable,
            (found, Some(wanted)) if found == parts.len() && wanted <= size => Self::Many(ranges),
            _ => Self::Whole,
        }
    }
}

fn ranges_of_bytes(header: &str) -> Option<&str> {
    let (unit, list) = header.split_once('=')?;
    unit.trim().eq_ignore_ascii_case("bytes").then_some(list)
}

enum Part {
    From(u64, u64),
    Last(u64),
}

impl Part {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        match (first, last) {
            ("", count) => number(count).map(Self::Last),
            (first, "") => Some(Self::From(number(first)?, u64::MAX)),
            (first, last) => Some(Self::From(number(first)?, number(last)?)),
        }
    }

    fn within(&self, size: u64) -> Option<ByteRange> {
        match *self {
            Self::From(first, last) => ByteRange::within(first, last, size),
            Self::Last(count) => ByteRange::suffix(count, size),
        }
    }
}

/// Digits only; a number too large for any content is the largest one.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The `Content-Range` of a chunk: where it goes in its upload.
///
/// Grammar: `<first>-<last>`, both inclusive offsets; no unit, no total
/// (distribution-spec 1.1 *Pushing a blob in chunks*; R-UPL-11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkRange {
    pub first: u64,
    pub last: u64,
}

/// Why a text is no [`ChunkRange`]. Answered with 416 (R-UPL-13).
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a chunk's Content-Range is `<first>-<last>`, two offsets in order, without unit or total")]
pub struct ChunkRangeError;

impl ChunkRange {
    /// How many bytes the chunk has.
    #[expect(clippy::len_without_is_empty, reason = "a chunk with a range is never empty")]
    pub fn len(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }
}

impl std::str::FromStr for ChunkRange {
    type Err = ChunkRangeError;
    fn from_str(text: &str) -> Result<Self, ChunkRangeError> {
        let (first, last) = text.split_once('-').ok_or(ChunkRangeError)?;
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(ChunkRangeError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(first: u64, last: u64) -> WantedRange {
        WantedRange::One(ByteRange::within(first, last, 2048).unwrap())
    }

    #[test]
    fn the_ranges_of_the_requirements() {
        for (header, expected) in [
            ("bytes=500-1499", one(500, 1499)),
            ("bytes=500-", one(500, 2047)),
            ("bytes=0-", one(0, 2047)),
            ("bytes=-500", one(1548, 2047)),
            ("bytes=-5000", one(0, 2047)),
            ("bytes=2000-5000", one(2000, 2047)),
            ("Bytes=1-99999999999999999999999", one(1, 2047)),
            ("bytes=500-0", WantedRange::Unsatisfiable),
            ("bytes=5000-10000", WantedRange::Unsatisfiable),
            ("bytes=-0", WantedRange::Unsatisfiable),
            ("bytes=5000-, 6000-", WantedRange::Unsatisfiable),
            ("lines=0-5", WantedRange::Whole),
            ("bytes=a-b", WantedRange::Whole),
            ("bytes", WantedRange::Whole),
            ("bytes=0-1, 5000-", WantedRange::Whole),
            ("bytes=0-2000, 0-2000", WantedRange::Whole),
        ] {
            assert_eq!(WantedRange::parse(Some(header), 2048), expected, "{header}");
        }
        assert_eq!(WantedRange::parse(None, 2048), WantedRange::Whole);
        assert_eq!(WantedRange::parse(Some("bytes=0-1"), 0), WantedRange::Whole);
    }

    #[test]
    fn several_ranges_keep_their_order() {
        let part = |first, last| ByteRange::within(first, last, 2048).unwrap();
        let wanted = WantedRange::parse(Some("bytes=100-199, 0-9,-1"), 2048);
        assert_eq!(wanted, WantedRange::Many(vec![part(100, 199), part(0, 9), part(2047, 2047)]));
        let many = |n: usize| format!("bytes={}", vec!["0-0"; n].join(","));
        assert!(matches!(WantedRange::parse(Some(&many(1024)), 2048), WantedRange::Many(parts) if parts.len() == 1024));
        assert_eq!(WantedRange::parse(Some(&many(1025)), 2048), WantedRange::Whole);
    }

    #[test]
    fn a_chunk_range_has_no_unit_and_no_total() {
        assert_eq!("0-1023".parse(), Ok(ChunkRange { first: 0, last: 1023 }));
        for text in ["", "-", "1-0", "bytes 0-9/10", "bytes=0-9", "0-9/10", "+1-2", "0-"] {
            assert_eq!(text.parse::<ChunkRange>(), Err(ChunkRangeError), "{text}");
        }
    }

    proptest! {
        /// Whatever is asked, nothing outside of the content is answered.
        #[test]
        fn no_range_reaches_past_the_end(header in "bytes=[0-9,-]{0,20}", size in 0_u64..100) {
            match WantedRange::parse(Some(&header), size) {
                WantedRange::One(range) => prop_assert!(range.last() < size && range.first() <= range.last()),
                WantedRange::Many(ranges) => {
                    prop_assert!(ranges.iter().map(|range| range.len()).sum::<u64>() <= size);
                }
                WantedRange::Whole | WantedRange::Unsatisfiable => {}
            }
        }
    }
}
