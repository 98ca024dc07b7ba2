//! end-8: the tags of a repository.

use serde::Serialize;

use super::page::Page;
use super::{Call, Error, IntoResponse};
use crate::metadata::Metadata;
use crate::protocol::{Body, Response, headers};
use crate::router;
use crate::router::Links;
use http::header::{CONTENT_TYPE, HeaderValue, LINK};

/// Lists tags.
#[derive(Clone)]
pub struct Tags {
    metadata: Metadata,
    links: Links,
}

/// One page of names under a key, and where the next one is. The catalog has the same shape.
pub struct NamePage {
    json: String,
    next: Option<String>,
}

impl Tags {
    /// Lists what `metadata` has.
    pub fn new(metadata: Metadata, links: Links) -> Self {
        Self { metadata, links }
    }

    /// end-8a, 8b: one page of tags in byte order (R-TGL-02).
    ///
    /// # Errors
    /// [`Error::PageSize`] for an `n` that is no number.
    pub async fn list(&self, request: router::TagsList, call: Call) -> Result<NamePage, Error> {
        #[derive(Serialize)]
        struct List<'a> {
            name: &'a str,
            tags: Vec<&'a str>,
        }
        let repository = request.repository;
        let id = call.repository(&repository)?;
        let page = Page::of(&call.query)?;
        let names = self.metadata.tags(id, page.after.as_deref(), page.limit()).await?;
        let mut tags: Vec<_> = names.iter().collect();
        let more = page.cut(&mut tags);
        let path = format!("/v2/{repository}/tags/list");
        let last = tags.last().copied().filter(|_| more);
        Ok(NamePage::new(&List { name: repository.as_str(), tags }, &self.links, &path, &page, last))
    }
}

impl NamePage {
    /// A page that says `body`, with a link to the next one where more follow
    /// after `last` (R-TGL-06).
    pub(super) fn new<T: Serialize>(body: &T, links: &Links, path: &str, page: &Page, last: Option<&str>) -> Self {
        let next = last.map(|last| page.next(links, path, &[], last));
        // Strings always serialise.
        Self { json: serde_json::to_string(body).unwrap_or_default(), next }
    }
}

impl IntoResponse for NamePage {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.json));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(next) = self.next {
            response.headers_mut().insert(LINK, headers::value(next));
        }
        response
    }
}
