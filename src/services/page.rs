use std::num::NonZeroU32;

use super::Error;
use crate::protocol::Query;

/// Entries on a page where the client does not say (R-TGL-07), and at most.
const DEFAULT: u32 = 1000;
const MAX: u32 = 10_000;

/// Which part of a list is wanted: `n` entries after `last` (R-TGL-03).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    /// `None`: nothing is wanted, `n=0` (R-TGL-04).
    pub(super) size: Option<NonZeroU32>,
    /// Whether or not it exists or is a legal name.
    pub(super) after: Option<String>,
}

impl Page {
    /// Reads `n` and `last`; too large an `n` is cut, not refused (R-TGL-05).
    pub(super) fn of(query: &Query) -> Result<Self, Error> {
        let size = match query.get("n") {
            None => NonZeroU32::new(DEFAULT),
            Some(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
                NonZeroU32::new(text.parse().unwrap_or(MAX).min(MAX))
            }
            Some(text) => return Err(Error::PageSize(text.into())),
        };
        Ok(Self { size, after: query.get("last").map(str::to_owned) })
    }

    /// One entry more than the page has tells whether another page follows.
    pub(super) fn limit(&self) -> usize {
        self.size.map_or(0, |size| size.get() as usize + 1)
    }

    /// Cuts the entry too many off; whether there was one.
    pub(super) fn cut<T>(&self, entries: &mut Vec<T>) -> bool {
        let size = self.size.map_or(0, NonZeroU32::get) as usize;
        let more = entries.len() > size;
        entries.truncate(size);
        more && size > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_page_is_cut_or_refused() {
        let size = |query: &str| Page::of(&Query::parse(query.as_bytes())).map(|page| page.limit());
        assert_eq!(size("").unwrap(), 1001);
        assert_eq!(size("n=5").unwrap(), 6);
        assert_eq!(size("n=0").unwrap(), 0);
        assert_eq!(size("n=99999999999999999999").unwrap(), 10_001);
        for query in ["n=", "n=-1", "n=a", "n=1.5", "n=%2B1"] {
            assert!(size(query).is_err(), "{query}");
        }
    }
}
