//! end-12: what refers to a manifest.

use http::header::{CONTENT_TYPE, HeaderValue, LINK};

use super::page::Page;
use super::{Call, Error, IntoResponse};
use crate::domain::MediaType;
use crate::metadata::Metadata;
use crate::protocol::{Body, Response, headers};
use crate::router;
use crate::router::Links;

/// Bytes of descriptors on a page, at most: clients stop reading at 4 MiB (R-REF-09).
const PAGE_BYTES: usize = 3_900_000;

/// Lists referrers.
#[derive(Clone)]
pub struct Referrers {
    metadata: Metadata,
    links: Links,
}

/// An image index of descriptors, perhaps empty, never absent (R-REF-01, R-REF-02).
#[derive(Default)]
pub struct ReferrersReply {
    /// JSON objects joined by commas.
    descriptors: String,
    filtered: bool,
    next: Option<String>,
}

impl Referrers {
    /// Lists what `metadata` has.
    pub fn new(metadata: Metadata, links: Links) -> Self {
        Self { metadata, links }
    }

    /// end-12a, 12b: every manifest here whose subject is that digest, known or
    /// not, filtered by artifact type (R-REF-04, R-REF-07). To whom the
    /// repository must look absent, it looks empty.
    ///
    /// # Errors
    /// [`Error::PageSize`] for an `n` that is no number.
    pub async fn list(&self, request: router::Referrers, call: Call) -> Result<ReferrersReply, Error> {
        let router::Referrers { repository, digest } = request;
        let page = Page::of(&call.query)?;
        // No media type has a space in it: a raw `+` became one (R-REF-07).
        let wanted = call.query.all("artifactType").filter(|kind| !kind.is_empty());
        let types: Vec<String> = wanted.map(|kind| kind.replace(' ', "+")).collect();
        let filtered = !types.is_empty();
        let Some(id) = call.facts().map(|facts| facts.id) else {
            return Ok(ReferrersReply { filtered, ..ReferrersReply::default() });
        };
        let Some(count) = page.size else { return Ok(ReferrersReply { filtered, ..ReferrersReply::default() }) };
        // A cursor of our own making is a digest; any other is none.
        let after = page.after.as_deref().and_then(|after| after.parse().ok());
        let count = count.get() as usize;
        let found = self.metadata.referrers(id, &digest, &types, after.as_ref(), count, PAGE_BYTES).await?;
        let next = found.next.map(|last| {
            let size = count.to_string();
            let mut query = vec![("n", size.as_str()), ("last", last.as_str())];
            query.extend(types.iter().map(|kind| ("artifactType", kind.as_str())));
            self.links.next_page(&format!("/v2/{repository}/referrers/{digest}"), &query)
        });
        Ok(ReferrersReply { descriptors: found.descriptors, filtered, next })
    }
}

impl IntoResponse for ReferrersReply {
    fn into_response(self) -> Response {
        const START: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":["#;
        let mut json = String::with_capacity(START.len() + self.descriptors.len() + 2);
        json.push_str(START);
        json.push_str(&self.descriptors);
        json.push_str("]}");
        let mut response = Response::new(Body::from(json));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MediaType::OCI_INDEX));
        if self.filtered {
            response.headers_mut().insert(headers::OCI_FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
        }
        if let Some(next) = self.next {
            response.headers_mut().insert(LINK, headers::value(next));
        }
        response
    }
}
