use std::num::NonZeroU32;
use std::str::FromStr;

use serde::Serialize;

use super::Error;
use super::reply::List;
use crate::domain::TokenNumber;
use crate::metadata::TokenId;
use crate::protocol::Query;
use crate::router::Links;

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

    /// Where the page begins, in a list that is ordered by `T`.
    ///
    /// # Errors
    /// [`Error::Cursor`] for a `last` that no such list has shown.
    pub(super) fn cursor<T: FromStr>(&self) -> Result<Option<T>, Error> {
        let after = self.after.as_deref().filter(|text| !text.is_empty());
        after.map(|text| text.parse().map_err(|_| Error::Cursor(text.into()))).transpose()
    }

    /// As [`Page::cursor`], in a list of tokens.
    pub(super) fn token_cursor(&self) -> Result<Option<TokenId>, Error> {
        Ok(self.cursor::<TokenNumber>()?.map(|number| TokenId::from_number(number.get())))
    }

    /// The page of a list below that path: `rows` as they were asked for, with
    /// [`Page::limit`], each under its place in the order and as it is shown.
    pub(super) fn list<R, V: Serialize>(
        &self,
        mut rows: Vec<R>,
        links: &Links,
        path: &str,
        place: impl Fn(&R) -> String,
        view: impl Fn(R) -> V,
    ) -> List<V> {
        let more = self.cut(&mut rows);
        let last = rows.last().filter(|_| more).map(place);
        let next = last.map(|last| self.next(links, path, &[], &last));
        List::of(rows.into_iter().map(view).collect(), next)
    }

    /// The value of `Link` for the page after `last`, with what else the query said.
    pub(super) fn next(&self, links: &Links, path: &str, filter: &[(&str, &str)], last: &str) -> String {
        let size = self.size.map_or(0, NonZeroU32::get).to_string();
        let mut query = filter.to_vec();
        query.extend([("n", size.as_str()), ("last", last)]);
        links.next_page(path, &query)
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
