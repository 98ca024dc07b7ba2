use std::fmt;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;

/// The header that names a request in the logs (design I8).
pub(crate) const REQUEST_ID: &str = "x-request-id";

/// What came back, with ways to say what was expected.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) request: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// Panics unless the status is this one.
    #[track_caller]
    pub(crate) fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Panics unless this is the spec's error JSON with that status, and that code in every entry.
    #[track_caller]
    pub(crate) fn is_error(&self, status: u16, code: &str) -> &Self {
        self.is(status);
        let codes = self.error_codes();
        assert!(!codes.is_empty() && codes.iter().all(|c| c == code), "wanted {code}: {self:?}");
        self
    }

    /// The code of each error in the body.
    #[track_caller]
    pub(crate) fn error_codes(&self) -> Vec<String> {
        let body = self.json();
        let errors = body["errors"].as_array().unwrap_or_else(|| panic!("no `errors`: {self:?}"));
        errors.iter().map(|error| error["code"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// A header that is there exactly once.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let values = self.header_lines(name);
        assert_eq!(values.len(), 1, "`{name}` once, please: {self:?}");
        values[0]
    }

    /// Every line of a header.
    #[track_caller]
    pub(crate) fn header_lines(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().expect("visible ASCII")).collect()
    }

    /// A header's items, over all its lines and commas.
    #[track_caller]
    pub(crate) fn header_items(&self, name: &str) -> Vec<&str> {
        self.header_lines(name).into_iter().flat_map(|line| line.split(',')).map(str::trim).collect()
    }

    /// Panics unless the header is there once with this value.
    #[track_caller]
    pub(crate) fn has(&self, name: &str, value: &str) -> &Self {
        assert_eq!(self.header(name), value, "`{name}`: {self:?}");
        self
    }

    /// Panics if the header is there.
    #[track_caller]
    pub(crate) fn lacks(&self, name: &str) -> &Self {
        assert!(!self.headers.contains_key(name), "no `{name}`, please: {self:?}");
        self
    }

    /// Panics unless the body is exactly this.
    #[track_caller]
    pub(crate) fn has_body(&self, bytes: &[u8]) -> &Self {
        let same = self.body == bytes;
        assert!(same, "another body of {} bytes, wanted {}: {self:?}", self.body.len(), bytes.len());
        self
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// The strings of an array in the JSON body.
    #[track_caller]
    pub(crate) fn strings(&self, field: &str) -> Vec<String> {
        let body = self.json();
        let array = body[field].as_array().unwrap_or_else(|| panic!("`{field}` is an array: {self:?}"));
        array.iter().map(|value| value.as_str().expect("a string").to_owned()).collect()
    }

    /// The target of the `Link` to the next page, if there is one.
    #[track_caller]
    pub(crate) fn next(&self) -> Option<String> {
        if !self.headers.contains_key("link") {
            return None;
        }
        let link = self.header("link");
        let target = link.strip_prefix('<').and_then(|rest| rest.strip_suffix(r#">; rel="next""#));
        Some(target.unwrap_or_else(|| panic!("not `<…>; rel=\"next\"`: {self:?}")).to_owned())
    }

    /// Everything an observer could compare: status, headers and body, without what
    /// differs between any two replies. `names` are replaced in the texts, so that a
    /// reply about one repository can be compared with one about another.
    pub(crate) fn appearance(&self, names: &[&str]) -> (u16, Vec<(String, String)>, String) {
        let plain = |text: &str| {
            let mut text = text.to_owned();
            for name in names {
                text = text.replace(name, "<name>").replace(&name.replace('/', "%2F"), "<name>");
            }
            text
        };
        let mut headers: Vec<_> = self
            .headers
            .iter()
            .filter(|(name, _)| *name != REQUEST_ID && *name != "date")
            .map(|(name, value)| (name.to_string(), plain(&String::from_utf8_lossy(value.as_bytes()))))
            .collect();
        headers.sort();
        (self.status, headers, plain(&String::from_utf8_lossy(&self.body)))
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.request, self.status)?;
        for (name, value) in &self.headers {
            write!(f, "\n    {name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
        }
        let shown = &self.body[..self.body.len().min(600)];
        write!(f, "\n    {}", String::from_utf8_lossy(shown))
    }
}
