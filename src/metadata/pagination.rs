/// How many rows a page asks for: never more than the database can count, and
/// never so many that a page is no page.
pub(super) fn limit(count: usize) -> i64 {
    const MOST: i64 = 10_001; // the longest page (10,000), and one row to see whether more follow
    i64::try_from(count).map_or(MOST, |count| count.min(MOST))
}
