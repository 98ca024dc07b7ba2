//! end-2 and end-10: blobs that are there.

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, IF_RANGE, RANGE,
};
use http::{HeaderMap, StatusCode};

use super::multipart::Multipart;
use super::{Call, Error, IntoResponse};
use crate::auth::{Access, Auth};
use crate::domain::{ByteRange, Digest, RepositoryName, Visibility};
use crate::metadata;
use crate::metadata::{DeleteBlob, Metadata, RepositoryId};
use crate::protocol::{Body, Response, WantedRange, headers};
use crate::router;
use crate::store;
use crate::store::BlobStore;

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Serves and unlinks blobs.
#[derive(Clone)]
pub struct Blobs {
    auth: Auth,
    metadata: Metadata,
    store: store::Filesystem,
}

/// A blob, or the part of it that was asked for.
pub struct BlobReply {
    digest: Digest,
    /// Whether the read needed no credentials, so that shared caches may keep it.
    public: bool,
    part: Part,
}

enum Part {
    NotModified,
    Whole { size: u64, body: Body },
    Range { range: ByteRange, size: u64, body: Body },
    Ranges { content_type: HeaderValue, length: u64, body: Body },
}

/// The blob is no more in this repository: 202 (R-BDL-01).
pub struct Deleted;

impl Blobs {
    /// Serves what metadata names from the store.
    pub fn new(auth: Auth, metadata: Metadata, store: store::Filesystem) -> Self {
        Self { auth, metadata, store }
    }

    /// end-2: a blob of this repository, whole or in ranges.
    ///
    /// A HEAD by someone who may push renews the lease of an unreferenced blob
    /// before it is answered: whoever is told "it is here" may build on it. Where
    /// it is known to be damaged, they are told that it is not: clients push what
    /// is absent, which heals it, and give up on an error.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`] where this repository has none of that digest, even
    /// where another has it (I4); [`Error::BlobDamaged`] before the first byte.
    pub async fn get(&self, request: router::BlobGet, call: Call) -> Result<BlobReply, Error> {
        let router::BlobGet { repository, digest } = request;
        let id = call.repository(&repository)?;
        let blob = self.find(id, &repository, &digest).await?;
        let public = call.facts().is_some_and(|facts| facts.visibility == Visibility::Public);
        let may_push = call.is_head() && self.auth.check(&call.caller, Access::Push, &repository).await.is_ok();
        // Whoever may push it again is told to.
        if may_push && (blob.damaged || !self.metadata.renew_lease(id, &digest).await?) {
            return Err(Error::BlobUnknown { repository, digest });
        }
        if headers::none_match_names(&call.headers, &digest) {
            return Ok(BlobReply { digest, public, part: Part::NotModified });
        }
        if call.is_head() {
            // Whether the bytes are there is not asked of the disk for each HEAD;
            // a row marked damaged is enough to not promise them.
            if blob.damaged {
                return Err(Error::BlobDamaged(digest));
            }
            return Ok(BlobReply { digest, public, part: Part::Whole { size: blob.size, body: Body::Empty } });
        }
        let part = match wanted(&call, &digest, blob.size) {
            WantedRange::Whole => {
                let (blob, reader) = self.open(id, &repository, &digest, blob, None).await?;
                Part::Whole { size: blob.size, body: sent(reader, call.plain) }
            }
            WantedRange::One(range) => {
                let (blob, reader) = self.open(id, &repository, &digest, blob, Some(range)).await?;
                Part::Range { range, size: blob.size, body: sent(reader, call.plain) }
            }
            WantedRange::Many(ranges) => self.many(id, &repository, &digest, blob, ranges).await?,
            WantedRange::Unsatisfiable => return Err(Error::RangeNotSatisfiable { size: blob.size }),
        };
        Ok(BlobReply { digest, public, part })
    }

    /// end-10: takes the blob out of this repository; others keep it.
    ///
    /// # Errors
    /// [`Error::BlobReferenced`] while a manifest here names it (R-BDL-03).
    pub async fn delete(&self, request: router::BlobDelete, call: Call) -> Result<Deleted, Error> {
        let router::BlobDelete { repository, digest } = request;
        let id = call.repository(&repository)?;
        match self.metadata.delete_blob(id, digest.clone(), call.audit_origin()).await? {
            DeleteBlob::Deleted => Ok(Deleted),
            DeleteBlob::Unknown => Err(Error::BlobUnknown { repository, digest }),
            DeleteBlob::Referenced(count) => Err(Error::BlobReferenced(count)),
        }
    }

    async fn find(
        &self,
        id: RepositoryId,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<metadata::Blob, Error> {
        self.metadata.blob(id, digest).await?.ok_or_else(|| unknown(repository, digest))
    }

    /// Opens the blob's object. Where its file is gone or short the database is asked
    /// once more: a re-push may have given the blob another, or it was deleted. Else
    /// it is marked, so that HEAD no longer promises it and a re-push heals it.
    async fn open(
        &self,
        id: RepositoryId,
        repository: &RepositoryName,
        digest: &Digest,
        blob: metadata::Blob,
        range: Option<ByteRange>,
    ) -> Result<(metadata::Blob, store::BlobReader), Error> {
        if blob.damaged {
            return Err(Error::BlobDamaged(digest.clone()));
        }
        if let Some(reader) = self.whole(&blob, range).await? {
            return Ok((blob, reader));
        }
        let now = self.metadata.blob_now(id, digest).await?.ok_or_else(|| unknown(repository, digest))?;
        let reader = if now.object == blob.object { None } else { self.whole(&now, range).await? };
        match reader {
            Some(reader) => Ok((now, reader)),
            None => {
                self.metadata.mark_damaged(digest.clone(), now.object).await?;
                Err(Error::BlobDamaged(digest.clone()))
            }
        }
    }

    /// A reader of the blob's object, unless that is gone or not what was committed.
    async fn whole(
        &self,
        blob: &metadata::Blob,
        range: Option<ByteRange>,
    ) -> Result<Option<store::BlobReader>, store::Error> {
        match self.store.open(&blob.object, blob.size, range).await {
            Err(store::Error::Damaged { .. }) => Ok(None),
            opened => opened,
        }
    }

    async fn many(
        &self,
        id: RepositoryId,
        repository: &RepositoryName,
        digest: &Digest,
        blob: metadata::Blob,
        ranges: Vec<ByteRange>,
    ) -> Result<Part, Error> {
        // Known before the first byte: is the file there, and whole?
        let (blob, reader) = self.open(id, repository, digest, blob, ranges.first().copied()).await?;
        let multipart = Multipart::new(ranges, blob.size);
        let (content_type, length) = (multipart.content_type(), multipart.len());
        Ok(Part::Ranges { content_type, length, body: multipart.into_body(reader) })
    }
}

/// The reader as a body; by sendfile where the connection takes it.
fn sent(reader: store::BlobReader, plain: bool) -> Body {
    Body::stream(if plain { reader.by_sendfile() } else { reader })
}

fn unknown(repository: &RepositoryName, digest: &Digest) -> Error {
    Error::BlobUnknown { repository: repository.clone(), digest: digest.clone() }
}

/// Which part is asked for; everything where `If-Range` names another version (R-BLB-17).
fn wanted(call: &Call, digest: &Digest, size: u64) -> WantedRange {
    let same_version = call.headers.get(IF_RANGE).is_none_or(|version| version == headers::entity_tag(digest));
    WantedRange::parse(call.header(RANGE).filter(|_| same_version), size)
}

impl IntoResponse for BlobReply {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::Empty);
        let mut fields = HeaderMap::with_capacity(8);
        fields.insert(ETAG, headers::entity_tag(&self.digest));
        fields.insert(headers::CONTENT_DIGEST, headers::value(self.digest.as_str()));
        fields.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let cache = if self.public { "max-age=31536000, immutable" } else { "private, max-age=31536000, immutable" };
        fields.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
        let (status, length, body) = match self.part {
            Part::NotModified => {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                *response.headers_mut() = fields;
                return response;
            }
            Part::Whole { size, body } => {
                fields.insert(CONTENT_TYPE, OCTETS);
                (StatusCode::OK, size, body)
            }
            Part::Range { range, size, body } => {
                let place = format!("bytes {}-{}/{size}", range.first(), range.last());
                fields.insert(CONTENT_RANGE, headers::value(place));
                fields.insert(CONTENT_TYPE, OCTETS);
                (StatusCode::PARTIAL_CONTENT, range.len(), body)
            }
            Part::Ranges { content_type, length, body } => {
                fields.insert(CONTENT_TYPE, content_type);
                (StatusCode::PARTIAL_CONTENT, length, body)
            }
        };
        fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
        *response.status_mut() = status;
        *response.headers_mut() = fields;
        *response.body_mut() = body;
        response
    }
}

impl IntoResponse for Deleted {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::ACCEPTED;
        response
    }
}
