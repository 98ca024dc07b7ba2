/// A query string, or a form of the same syntax: pairs in order, repeated keys
/// kept (R-GEN-06).
#[derive(Debug, Clone, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `application/x-www-form-urlencoded`. Nothing is malformed in that
    /// syntax; what is no UTF-8 becomes a character that no grammar here allows.
    pub fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// The first value of that key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.all(key).next()
    }

    /// Every value of that key, in order.
    pub fn all<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_keys_keep_their_order() {
        let query = Query::parse(b"tag=b&x&tag=a&scope=repository%3Aa%2Fb%3Apull+repository:c:push");
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(query.get("x"), Some(""));
        assert_eq!(query.get("scope"), Some("repository:a/b:pull repository:c:push"));
        assert_eq!(query.get("n"), None);
    }
}
