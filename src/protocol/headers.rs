//! Headers that a registry reads and writes.

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH};

use crate::domain::Digest;

/// Whose API this is; old docker looks for it on the ping (R-GEN-13).
pub const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
/// The digest of what is answered (R-BLB-03, R-MGT-04).
pub const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// The id of an upload session (R-UPL-02).
pub const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// The subject that a pushed manifest refers to (R-MPT-14).
pub const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// A tag that a manifest was pushed with (R-MPT-17).
pub const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
/// Which filters a referrers list was put through (R-REF-07).
pub const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
/// Names a request in logs and to the client (I8).
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A header's value from text of our own making.
///
/// Digests, numbers, parsed names and escaped links are visible ASCII, so the
/// value is always good; a text that is not would be sent empty, never split.
pub fn value(text: impl AsRef<str>) -> HeaderValue {
    HeaderValue::from_str(text.as_ref()).unwrap_or(HeaderValue::from_static(""))
}

/// The strong entity tag of content with that digest (R-BLB-06).
pub fn entity_tag(digest: &Digest) -> HeaderValue {
    let mut quoted = String::with_capacity(digest.as_str().len() + 2);
    quoted.push('"');
    quoted.push_str(digest.as_str());
    quoted.push('"');
    value(quoted)
}

/// Whether `If-None-Match` names that digest: in a list, weak, without quotes,
/// or as `*` (R-BLB-07).
pub fn none_match_names(headers: &HeaderMap, digest: &Digest) -> bool {
    headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(',')).any(
        |entry| {
            let entry = entry.trim();
            let strong = entry.strip_prefix("W/").unwrap_or(entry);
            entry == "*" || strong.trim_matches('"') == digest.as_str()
        },
    )
}

/// The declared length of the body.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_none_match_is_read_in_every_spelling() {
        let digest: Digest = format!("sha256:{}", "0a".repeat(32)).parse().unwrap();
        let other = format!("\"sha256:{}\"", "0b".repeat(32));
        for (text, expected) in [
            (format!("\"{digest}\""), true),
            (digest.to_string(), true),
            (format!("W/\"{digest}\""), true),
            (format!("{other}, \"{digest}\""), true),
            ("*".to_owned(), true),
            (other, false),
            (String::new(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, text.parse().unwrap());
            assert_eq!(none_match_names(&headers, &digest), expected, "{text}");
        }
    }
}
