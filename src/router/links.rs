use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::domain::{Digest, RepositoryName, UploadId};

/// What must be escaped in the value of a query parameter.
const VALUE: AsciiSet = CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'+')
    .add(b',')
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'@')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Writes the addresses that replies point to: `Location` and `Link`.
///
/// Always relative with an absolute path: nobody behind a proxy can get scheme,
/// host or port of them wrong (R-LOC-02). Upload locations carry no query, since
/// clients re-encode it (R-LOC-04).
#[derive(Debug, Clone, Default)]
pub struct Links {
    prefix: Box<str>,
}

impl Links {
    /// Links of a registry whose public URL has this path, empty for none.
    pub fn below(prefix: &str) -> Self {
        Self { prefix: prefix.trim_end_matches('/').into() }
    }

    /// Where a blob is (end-2); the colon stays as it is (V-U19).
    pub fn blob(&self, repository: &RepositoryName, digest: &Digest) -> String {
        format!("{}/v2/{repository}/blobs/{digest}", self.prefix)
    }

    /// Where a manifest is (end-3), by digest even where it was pushed by tag (R-MPT-01).
    pub fn manifest(&self, repository: &RepositoryName, digest: &Digest) -> String {
        format!("{}/v2/{repository}/manifests/{digest}", self.prefix)
    }

    /// Where an upload session goes on (end-5, 6, 13, 14).
    pub fn upload(&self, repository: &RepositoryName, upload: UploadId) -> String {
        format!("{}/v2/{repository}/blobs/uploads/{upload}", self.prefix)
    }

    /// The value of `Link` for the next page of that path (R-LOC-06).
    pub fn next_page(&self, path: &str, query: &[(&str, &str)]) -> String {
        let mut link = format!("<{}{path}", self.prefix);
        for (nth, (key, value)) in query.iter().enumerate() {
            link.push(if nth == 0 { '?' } else { '&' });
            link.push_str(key);
            link.push('=');
            link.extend(utf8_percent_encode(value, &VALUE));
        }
        link.push_str(">; rel=\"next\"");
        link
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_quoted_and_escaped() {
        let link = Links::below("/registry/").next_page("/v2/_catalog", &[("n", "1"), ("last", "team/a+b")]);
        assert_eq!(link, "</registry/v2/_catalog?n=1&last=team%2Fa%2Bb>; rel=\"next\"");
    }
}
