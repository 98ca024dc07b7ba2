//! end-3, end-7, end-9: manifests by tag and digest.

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderValue, LOCATION};
use http::{HeaderMap, StatusCode};
use sha2::{Digest as _, Sha256, Sha512};

use super::{Call, Error, IntoResponse, Push};
use crate::domain::{Algorithm, Digest, Manifest, Reference, RepositoryName, Tag};
use crate::metadata::{Metadata, NewManifest, PutError, StoredManifest};
use crate::protocol::{Body, Response, headers};
use crate::router;
use crate::router::Links;

/// Tags that one push may set, at most (R-MPT-17 wants at least 64).
const MAX_TAGS: usize = 100;

/// What manifests go by.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether what a manifest names may be missing (H-56).
    pub sparse: bool,
}

/// Keeps manifests, byte for byte.
#[derive(Clone)]
pub struct Manifests {
    metadata: Metadata,
    push: Push,
    links: Links,
    options: Options,
}

/// A manifest as it was pushed.
pub struct ManifestReply {
    manifest: StoredManifest,
    by_digest: bool,
    not_modified: bool,
}

/// A manifest is there, with all that goes with it: 201 (R-MPT-01).
pub struct Created {
    location: String,
    digest: Digest,
    subject: Option<Digest>,
    tags: Vec<Tag>,
}

/// A tag, or a manifest with all its tags, is no more: 202 (R-MDL-05).
pub struct Deleted;

impl Manifests {
    /// Reads from `metadata`, writes through `push`.
    pub fn new(metadata: Metadata, push: Push, links: Links, options: Options) -> Self {
        Self { metadata, push, links, options }
    }

    /// end-3: the manifest as it was pushed. `Accept` never changes it (R-MGT-03).
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`] if this repository has no such tag or digest,
    /// even where another has it (I4).
    pub async fn get(&self, request: router::ManifestGet, call: Call) -> Result<ManifestReply, Error> {
        let router::ManifestGet { repository, reference } = request;
        let id = call.repository(&repository)?;
        match self.metadata.manifest(id, &reference).await? {
            Some(manifest) => {
                let not_modified = headers::none_match_names(&call.headers, &manifest.digest);
                Ok(ManifestReply { manifest, by_digest: matches!(reference, Reference::Digest(_)), not_modified })
            }
            None => Err(Error::ManifestUnknown { repository, reference }),
        }
    }

    /// end-7a, 7b: stores the exact bytes, with tags, references and the entry in
    /// its subject's referrers, all together or not at all (I3).
    ///
    /// # Errors
    /// Those of a manifest that is none, [`Error::DigestMismatch`], and
    /// [`Error::ManifestReferences`] naming each digest that is not here.
    pub async fn put(&self, request: router::ManifestPut, mut call: Call) -> Result<Created, Error> {
        let router::ManifestPut { repository, reference } = request;
        let tags = tags_of(&call, &reference)?;
        let bytes = call.bytes().await?;
        let parsed = Manifest::parse(call.header(CONTENT_TYPE), &bytes)?;
        let digest = match &reference {
            Reference::Tag(_) => digest_of(Algorithm::Sha256, &bytes),
            Reference::Digest(claimed) => {
                let actual = digest_of(claimed.algorithm(), &bytes);
                if actual != *claimed {
                    return Err(Error::DigestMismatch { claimed: claimed.clone(), actual });
                }
                actual
            }
        };
        let subject = parsed.subject.clone();
        let sparse = self.options.sparse;
        let manifest = NewManifest { digest: digest.clone(), bytes, manifest: parsed, tags: tags.clone(), sparse };
        match self.metadata.put_manifest(self.push.target(&call, &repository), manifest).await {
            Ok(()) => {}
            Err(PutError::Missing(missing)) => return Err(Error::ManifestReferences { repository, missing }),
            Err(PutError::Database(error)) => return Err(error.into()),
        }
        let location = self.links.manifest(&repository, &digest);
        let tags = if matches!(reference, Reference::Digest(_)) { tags } else { Vec::new() };
        Ok(Created { location, digest, subject, tags })
    }

    /// end-9: a tag alone, or a manifest with all its tags.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`] where there is none (R-MDL-03).
    pub async fn delete(&self, request: router::ManifestDelete, call: Call) -> Result<Deleted, Error> {
        let router::ManifestDelete { repository, reference } = request;
        let id = call.repository(&repository)?;
        let deleted = match &reference {
            Reference::Tag(tag) => self.metadata.delete_tag(id, tag.clone(), call.audit_origin()).await?,
            Reference::Digest(digest) => self.metadata.delete_manifest(id, digest.clone(), call.audit_origin()).await?,
        };
        if deleted { Ok(Deleted) } else { Err(unknown(repository, reference)) }
    }
}

fn unknown(repository: RepositoryName, reference: Reference) -> Error {
    Error::ManifestUnknown { repository, reference }
}

/// The tags that this push sets: the reference, or the `tag` parameters beside a digest (R-MPT-17).
fn tags_of(call: &Call, reference: &Reference) -> Result<Vec<Tag>, Error> {
    if let Reference::Tag(tag) = reference {
        return Ok(vec![tag.clone()]);
    }
    let count = call.query.all("tag").count();
    if count > MAX_TAGS {
        return Err(Error::TooManyTags { count, most: MAX_TAGS });
    }
    let mut tags: Vec<Tag> = Vec::with_capacity(count);
    for text in call.query.all("tag") {
        let tag = text.parse().map_err(|error| Error::Tag { text: text.chars().take(200).collect(), error })?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    Ok(tags)
}

fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    match algorithm {
        Algorithm::Sha256 => Digest::from_hash(algorithm, &Sha256::digest(bytes)),
        Algorithm::Sha512 => Digest::from_hash(algorithm, &Sha512::digest(bytes)),
    }
}

impl IntoResponse for ManifestReply {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::Empty);
        let mut fields = HeaderMap::with_capacity(8);
        fields.insert(ETAG, headers::entity_tag(&self.manifest.digest));
        fields.insert(headers::CONTENT_DIGEST, headers::value(self.manifest.digest.as_str()));
        if !self.by_digest {
            fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        if self.not_modified {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            fields.insert(CONTENT_TYPE, headers::value(&self.manifest.media_type));
            fields.insert(CONTENT_LENGTH, HeaderValue::from(self.manifest.bytes.len()));
            *response.body_mut() = Body::from(self.manifest.bytes);
        }
        *response.headers_mut() = fields;
        response
    }
}

impl IntoResponse for Created {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::CREATED;
        let fields = response.headers_mut();
        fields.insert(LOCATION, headers::value(&self.location));
        fields.insert(headers::CONTENT_DIGEST, headers::value(self.digest.as_str()));
        if let Some(subject) = &self.subject {
            fields.insert(headers::OCI_SUBJECT, headers::value(subject.as_str()));
        }
        for tag in &self.tags {
            fields.append(headers::OCI_TAG, headers::value(tag.as_str()));
        }
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
