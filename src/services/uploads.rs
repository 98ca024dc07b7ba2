//! end-4 to end-6, 11, 13, 14: how bytes become a blob.
//!
//! A session is opened, appended to and committed; or a blob comes in one
//! request; or it is mounted from another repository without moving a byte. The
//! order of checks on a session is: does it exist, the `digest` parameter, the
//! chunk's place, its size, its body, its hash. What a refused request brought
//! is cut off again, so that the session stays as it was; what a broken PATCH
//! brought is kept (R-UPL-18).

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_RANGE, LOCATION, RANGE};
use http::{HeaderValue, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use metrics::counter;
use tokio::time::timeout;

use super::{Call, Error, IntoResponse, Push};
use crate::domain::{Algorithm, Digest, DigestError, RepositoryName, UploadId};
use crate::protocol::{Body, BodyError, BoxError, ChunkRange, Response, headers};
use crate::router;
use crate::router::Links;
use crate::store;
use crate::store::{BlobStore, CommitError, Session, SessionOwner};

/// How long a body may pause while another request waits for its session: the one
/// who sends it is likely gone, and the one who waits its retry (R-UPL-19).
const PAUSE: Duration = Duration::from_secs(3);

/// Receives blobs.
#[derive(Clone)]
pub struct Uploads {
    store: store::Filesystem,
    push: Push,
    links: Links,
}

/// What end-4 made of a request.
pub enum Started {
    /// A session to go on with: 202 (R-UPL-01).
    Session(Resume),
    /// The blob is there already: pushed whole, or mounted.
    Blob(Created),
}

/// Where an upload session stands: 202, 204, and on a 416 where to go on.
#[derive(Debug, Clone)]
pub struct Resume {
    pub location: String,
    pub upload: UploadId,
    /// Bytes recorded so far.
    pub offset: u64,
}

/// A chunk was taken in: 202 (R-UPL-10).
pub struct Appended(Resume);

/// How far a session is: 204 (R-UPL-50).
pub struct Status(Resume);

/// A session is no more: 204 (R-UPL-60).
pub struct Cancelled;

/// A blob is there, durable and linked: 201 (R-UPL-30, R-UPL-37).
pub struct Created {
    location: String,
    digest: Digest,
}

impl Uploads {
    /// Receives into this store, and links through `push`.
    pub fn new(store: store::Filesystem, push: Push, links: Links) -> Self {
        Self { store, push, links }
    }

    /// end-4a, 4b, 4c, 11: opens a session, takes a whole blob, or mounts one.
    ///
    /// `mount` is looked at first; where it does not happen the request goes on
    /// as if it had not been asked for (R-MNT-02, R-MON-04).
    ///
    /// # Errors
    /// [`Error::Refused`] where the caller's token lacks the source's scope but
    /// could have it (R-MNT-05), and those of a digest or a commit.
    pub async fn start(&self, request: router::UploadStart, mut call: Call) -> Result<Started, Error> {
        let repository = request.repository;
        if let Some(digest) = call.query.get("mount").and_then(|text| text.parse::<Digest>().ok()) {
            let mounted = self.push.mount(&call, &repository, &digest).await?;
            if mounted {
                return Ok(Started::Blob(self.created(&repository, digest)));
            }
        }
        let claimed = match call.query.get("digest") {
            Some(_) => Some(claimed_digest(&call)?),
            None => None,
        };
        let algorithm = match (&claimed, call.query.get("digest-algorithm")) {
            (Some(claimed), _) => claimed.algorithm(),
            (None, Some(name)) => {
                Algorithm::from_name(name).ok_or_else(|| DigestError::Unsupported(name.chars().take(32).collect()))?
            }
            (None, None) => Algorithm::Sha256,
        };
        let owner = owner(&call, &repository);
        let upload = self.store.start(&owner, algorithm).await?;
        let empty = call.body.is_end_stream();
        match claimed {
            // The digest of something, but nothing came: it will (R-MON-03).
            Some(claimed) if !empty || is_empty_content(&claimed) => {
                let body = std::mem::take(&mut call.body);
                let outcome = self.whole(&call, &repository, upload, body, &claimed).await;
                if outcome.is_err() {
                    self.drop_session(upload, &owner).await;
                }
                outcome.map(Started::Blob)
            }
            _ => Ok(Started::Session(self.resume(&repository, upload, 0))),
        }
    }

    /// end-5: appends a chunk in its place, or whatever comes at the end.
    ///
    /// # Errors
    /// [`Error::ChunkOrder`] and [`Error::ChunkRange`] with where to go on
    /// (R-UPL-12, R-UPL-17), [`Error::ChunkLength`]; the session stays as it was.
    pub async fn append(&self, request: router::UploadAppend, mut call: Call) -> Result<Appended, Error> {
        let router::UploadAppend { repository, upload } = request;
        let mut session = self.take_up(&call, &repository, upload).await?;
        let range = self.chunk_range(&call, &repository, upload, session.offset())?;
        // From here on a vanished client leaves what it sent.
        session.keep_unsaved();
        let body = std::mem::take(&mut call.body);
        match receive(&mut session, body, range).await {
            Ok(()) => {}
            Err(Receive::Broken(error)) => {
                session.save().await?;
                return Err(error);
            }
            Err(Receive::Refused(error)) => {
                session.cut_back().await?;
                return Err(error);
            }
        }
        let offset = session.save().await?;
        Ok(Appended(self.resume(&repository, upload, offset)))
    }

    /// end-6: appends what came and makes it all a blob.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`] ends the session (R-UPL-32), and so does a failure
    /// of the database once the bytes are an object; after any other error it is
    /// as it was before this request.
    pub async fn commit(&self, request: router::UploadCommit, mut call: Call) -> Result<Created, Error> {
        let router::UploadCommit { repository, upload } = request;
        let mut session = self.take_up(&call, &repository, upload).await?;
        let claimed = claimed_digest(&call)?;
        let range = self.chunk_range(&call, &repository, upload, session.offset())?;
        let body = std::mem::take(&mut call.body);
        if let Err(Receive::Broken(error) | Receive::Refused(error)) = receive(&mut session, body, range).await {
            session.cut_back().await?;
            return Err(error);
        }
        self.seal(&call, &repository, session, claimed).await
    }

    /// end-13: how far the session is.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`] also for another repository's or account's (R-UPL-51).
    pub async fn status(&self, request: router::UploadStatus, call: Call) -> Result<Status, Error> {
        let router::UploadStatus { repository, upload } = request;
        let offset = self.store.offset(upload, &owner(&call, &repository)).await?.ok_or(Error::UploadUnknown)?;
        Ok(Status(self.resume(&repository, upload, offset)))
    }

    /// end-14: drops the session and its bytes.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`], as [`Self::status`].
    pub async fn cancel(&self, request: router::UploadCancel, call: Call) -> Result<Cancelled, Error> {
        let router::UploadCancel { repository, upload } = request;
        self.take_up(&call, &repository, upload).await?.discard().await?;
        Ok(Cancelled)
    }

    async fn whole(
        &self,
        call: &Call,
        repository: &RepositoryName,
        upload: UploadId,
        body: Body,
        claimed: &Digest,
    ) -> Result<Created, Error> {
        let mut session = self.take_up(call, repository, upload).await?;
        match receive(&mut session, body, None).await {
            Ok(()) => self.seal(call, repository, session, claimed.clone()).await,
            Err(Receive::Broken(error) | Receive::Refused(error)) => Err(error),
        }
    }

    async fn seal(
        &self,
        call: &Call,
        repository: &RepositoryName,
        session: <store::Filesystem as BlobStore>::Session,
        claimed: Digest,
    ) -> Result<Created, Error> {
        let stored = session.commit(&claimed).await.map_err(|error| match error {
            CommitError::Mismatch { claimed, actual } => Error::DigestMismatch { claimed, actual },
            CommitError::Store(error) => error.into(),
        })?;
        self.push.link(call, repository, stored).await?;
        Ok(self.created(repository, claimed))
    }

    async fn take_up(
        &self,
        call: &Call,
        repository: &RepositoryName,
        upload: UploadId,
    ) -> Result<<store::Filesystem as BlobStore>::Session, Error> {
        self.store.resume(upload, &owner(call, repository)).await?.ok_or(Error::UploadUnknown)
    }

    async fn drop_session(&self, upload: UploadId, owner: &SessionOwner) {
        if let Ok(Some(session)) = self.store.resume(upload, owner).await {
            // What cannot be removed now expires like any idle session.
            let _ = session.discard().await;
        }
    }

    /// The chunk's place, if it says one and it is the right one (R-UPL-11 to R-UPL-14, R-UPL-34).
    fn chunk_range(
        &self,
        call: &Call,
        repository: &RepositoryName,
        upload: UploadId,
        offset: u64,
    ) -> Result<Option<ChunkRange>, Error> {
        let Some(header) = call.headers.get(CONTENT_RANGE) else { return Ok(None) };
        let resume = || self.resume(repository, upload, offset);
        let range: ChunkRange = header
            .to_str()
            .unwrap_or_default()
            .parse()
            .map_err(|error| Error::ChunkRange { error, resume: resume() })?;
        if range.first != offset {
            return Err(Error::ChunkOrder { first: range.first, resume: resume() });
        }
        match call.body.exact_len() {
            Some(body) if body != range.len() => Err(Error::ChunkLength { range: range.len(), body }),
            _ => Ok(Some(range)),
        }
    }

    fn resume(&self, repository: &RepositoryName, upload: UploadId, offset: u64) -> Resume {
        Resume { location: self.links.upload(repository, upload), upload, offset }
    }

    fn created(&self, repository: &RepositoryName, digest: Digest) -> Created {
        Created { location: self.links.blob(repository, &digest), digest }
    }
}

/// Why a body was not taken in.
enum Receive {
    /// The connection broke, or stalled: what came is good as far as it goes.
    Broken(Error),
    /// It is not what it said it would be, or there is no room for it.
    Refused(Error),
}

/// Appends the whole body, which must have as many bytes as its range.
async fn receive(session: &mut impl Session, mut body: Body, range: Option<ChunkRange>) -> Result<(), Receive> {
    let begun = session.offset();
    let received = counter!("registry_upload_bytes_total");
    while let Some(frame) = next(session, &mut body).await {
        let frame = frame.map_err(|error| Receive::Broken(Error::of_body(error)))?;
        let Ok(data) = frame.into_data() else { continue };
        if let Some(range) = range.filter(|range| session.offset() - begun + data.len() as u64 > range.len()) {
            let body = session.offset() - begun + data.len() as u64;
            return Err(Receive::Refused(Error::ChunkLength { range: range.len(), body }));
        }
        received.increment(data.len() as u64);
        session.write(data).await.map_err(|error| Receive::Refused(error.into()))?;
    }
    let body = session.offset() - begun;
    match range {
        Some(range) if range.len() != body => Err(Receive::Refused(Error::ChunkLength { range: range.len(), body })),
        _ => Ok(()),
    }
}

/// What comes next of a body, which must not be long where somebody waits for its session.
async fn next(session: &impl Session, body: &mut Body) -> Option<Result<Frame<Bytes>, BoxError>> {
    let mut frame = pin!(body.frame());
    tokio::select! {
        biased;
        frame = &mut frame => frame,
        () = session.wanted() => timeout(PAUSE, frame).await.unwrap_or_else(|_| Some(Err(BodyError::Stalled.into()))),
    }
}

/// Whose the sessions of this request are (R-UPL-63).
fn owner(call: &Call, repository: &RepositoryName) -> SessionOwner {
    SessionOwner { repository: repository.clone(), account: call.caller.account() }
}

/// The `digest` parameter; where it is repeated, all must agree (R-UPL-33, R-UPL-38).
fn claimed_digest(call: &Call) -> Result<Digest, Error> {
    let mut values = call.query.all("digest");
    let first: Digest = values.next().filter(|text| !text.is_empty()).ok_or(Error::DigestMissing)?.parse()?;
    if values.all(|other| other == first.as_str()) { Ok(first) } else { Err(Error::DigestsDiffer) }
}

fn is_empty_content(digest: &Digest) -> bool {
    const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const SHA512: &str = "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
                          47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";
    matches!(digest.hex(), SHA256 | SHA512)
}

impl Resume {
    /// `0-<last byte>`; `0-0` where there is none yet, which docker can read (R-UPL-20).
    pub fn range(&self) -> HeaderValue {
        headers::value(format!("0-{}", self.offset.saturating_sub(1)))
    }

    fn into_response(self, status: StatusCode) -> Response {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = status;
        let fields = response.headers_mut();
        fields.insert(LOCATION, headers::value(&self.location));
        fields.insert(RANGE, self.range());
        fields.insert(headers::UPLOAD_UUID, headers::value(self.upload.to_string()));
        response
    }
}

impl IntoResponse for Started {
    fn into_response(self) -> Response {
        match self {
            Self::Session(resume) => resume.into_response(StatusCode::ACCEPTED),
            Self::Blob(created) => created.into_response(),
        }
    }
}

impl IntoResponse for Appended {
    fn into_response(self) -> Response {
        self.0.into_response(StatusCode::ACCEPTED)
    }
}

impl IntoResponse for Status {
    fn into_response(self) -> Response {
        self.0.into_response(StatusCode::NO_CONTENT)
    }
}

impl IntoResponse for Cancelled {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    }
}

impl IntoResponse for Created {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::CREATED;
        response.headers_mut().insert(LOCATION, headers::value(&self.location));
        response.headers_mut().insert(headers::CONTENT_DIGEST, headers::value(self.digest.as_str()));
        response
    }
}
