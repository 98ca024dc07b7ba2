/// How many rows a page asks for: never more than the database can count, and
/// never so many that a page is no page.
pub(super) fn limit(count: usize) -> i64 {
    const MOST: i64 = 10_001; // the longest page (10,000), and one row to see whether more follow
    i64::try_from(count).map_or(MOST, |count| count.min(MOST))
}

/// Where a page begins: after this text, which a client chose. Nothing that is
/// listed has a NUL in it, so what follows one decides nothing.
pub(super) fn cursor(after: Option<&str>) -> &str {
    after.and_then(|after| after.split('\0').next()).unwrap_or_default()
}

/// A JSON array of arrays, for `EACH`.
pub(super) fn json_rows<'a, const N: usize>(rows: impl IntoIterator<Item = [&'a str; N]>) -> String {
    let rows: Vec<_> = rows.into_iter().map(|row| serde_json::Value::from(row.map(str::to_owned).to_vec())).collect();
    serde_json::Value::from(rows).to_string()
}
