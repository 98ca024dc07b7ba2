use std::sync::Arc;

use http::header::{ALLOW, CONTENT_RANGE, LOCATION, RANGE, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::IntoResponse;
use super::uploads::Resume;
use crate::auth;
use crate::auth::{Refusal, Rejection, RobotNameError};
use crate::domain::{
    Digest, DigestError, Grant, ManifestError, MediaTypeError, Namespace, Reference, RepositoryName, TagError,
    TokenNumber, Username, UsernameError,
};
use crate::metadata;
use crate::protocol::{
    BodyError, BoxError, Challenge, ChallengeError, ChunkRangeError, ErrorCode, ErrorReply, Response, headers,
};
use crate::store;

/// What a service can answer besides success. A variant says what happened, in
/// domain types; what the client reads of it is decided in [`Error::answer`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no repository {0}")]
    NameUnknown(RepositoryName),
    #[error("{repository} has no blob {digest}")]
    BlobUnknown { repository: RepositoryName, digest: Digest },
    #[error("{repository} has no manifest {reference}")]
    ManifestUnknown { repository: RepositoryName, reference: Reference },
    #[error("there is no such upload session, or no more; start a new one")]
    UploadUnknown,
    #[error("none of the blob's ranges that were asked for is there: it has {size} bytes")]
    RangeNotSatisfiable { size: u64 },
    #[error("`n={0}` is no number of entries")]
    PageSize(Box<str>),
    #[error("`{0}` is nothing that such a list goes on after")]
    Cursor(Box<str>),

    #[error("the upload has {} bytes, the chunk begins at {first}", .resume.offset)]
    ChunkOrder { first: u64, resume: Resume },
    #[error("{error}")]
    ChunkRange { error: ChunkRangeError, resume: Resume },
    #[error("the chunk's Content-Range has {range} bytes, its body {body}")]
    ChunkLength { range: u64, body: u64 },
    #[error("the request needs `digest=` with the blob's digest")]
    DigestMissing,
    #[error("`digest=` stands there several times with different values")]
    DigestsDiffer,
    #[error("digest: {0}")]
    Digest(#[from] DigestError),
    #[error("the bytes hash to {actual}, not to {claimed}")]
    DigestMismatch { claimed: Digest, actual: Digest },

    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("the manifest names what {repository} does not have")]
    ManifestReferences { repository: RepositoryName, missing: Vec<Digest> },
    #[error("`tag={text}`: {error}")]
    Tag { text: Box<str>, error: TagError },
    #[error("{count} tags in one request are too many; at most {most} are set at once")]
    TooManyTags { count: usize, most: usize },
    #[error("the blob is still named by {0} manifests of this repository; delete them first")]
    BlobReferenced(u64),

    #[error("the account may not do this here")]
    Denied,
    #[error("{refusal}")]
    Refused { refusal: Refusal, scope: String, repository: Option<RepositoryName> },
    #[error("username or password is wrong")]
    Credentials,
    #[error("too many logins at once")]
    Overloaded,
    #[error("too many failed attempts; try again in {} seconds", .retry_after.as_secs().max(1))]
    Throttled { retry_after: std::time::Duration },
    #[error(transparent)]
    TooManyScopes(#[from] auth::TooManyScopes),
    #[error("the scopes asked for do not fit into one token; ask for fewer")]
    TokenTooLong,

    #[error("the request's JSON is not as documented: {0}")]
    Json(serde_json::Error),
    #[error("{0}")]
    Form(&'static str),
    #[error("username: {0}")]
    Username(#[from] UsernameError),
    #[error("artifactType: {0}")]
    MediaType(#[from] MediaTypeError),
    #[error(transparent)]
    Password(#[from] auth::PasswordError),
    #[error("the username `{0}` is taken, as a username or as a namespace; choose another")]
    UsernameTaken(Username),
    #[error("the password as it is now must stand in `old_password`")]
    OldPassword,
    #[error("users make tokens for themselves, logged in with their password: no token makes another")]
    PasswordNeeded,
    #[error("there is no user {0}")]
    UserUnknown(Username),
    #[error("{0} is the last admin who can log in; make another one first")]
    LastAdmin(Username),
    #[error("there is no token {0} here")]
    TokenUnknown(TokenNumber),
    #[error("there is one of that name already; choose another")]
    TokenNameTaken,
    #[error("whose it would be is gone")]
    TokenOwnerGone,
    #[error(transparent)]
    RobotName(#[from] RobotNameError),
    #[error("`{grant}` is not within the namespace {namespace}, which is as far as its robots reach")]
    RobotScope { grant: Grant, namespace: Namespace },
    #[error("there is no namespace {0}")]
    NamespaceUnknown(Namespace),
    #[error("the namespace {0} is somebody else's")]
    NamespaceTaken(Namespace),
    #[error("the namespace {namespace} is {user}'s; transfer it first")]
    NamespaceOwner { namespace: Namespace, user: Username },
    #[error("the log knows no action `{0}`")]
    AuditAction(Box<str>),

    #[error(transparent)]
    Body(BodyError),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    #[error("{0} is damaged or missing where the blobs are stored")]
    BlobDamaged(Digest),
    /// A fault of ours that no other room's error carries.
    #[error(transparent)]
    Fault(Arc<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// What is wrong with a body that ended early.
    pub fn of_body(error: BoxError) -> Self {
        match error.downcast::<BodyError>() {
            Ok(known) => Self::Body(*known),
            Err(other) => Self::Body(BodyError::Broken(other)),
        }
    }

    /// Status and code of each failure (R-ERR-01). No `_` arm: a new variant must choose.
    fn answer(&self) -> (StatusCode, ErrorCode) {
        use ErrorCode as Code;
        use StatusCode as Status;
        match self {
            Self::NameUnknown(_) => (Status::NOT_FOUND, Code::NameUnknown),
            Self::BlobUnknown { .. } => (Status::NOT_FOUND, Code::BlobUnknown),
            Self::ManifestUnknown { .. } => (Status::NOT_FOUND, Code::ManifestUnknown),
            Self::UploadUnknown => (Status::NOT_FOUND, Code::BlobUploadUnknown),
            Self::RangeNotSatisfiable { .. } => (Status::RANGE_NOT_SATISFIABLE, Code::Unsupported),
            Self::PageSize(_) => (Status::BAD_REQUEST, Code::Unsupported),
            Self::Cursor(_) | Self::AuditAction(_) => (Status::BAD_REQUEST, Code::RequestInvalid),
            Self::ChunkOrder { .. } | Self::ChunkRange { .. } => {
                (Status::RANGE_NOT_SATISFIABLE, Code::BlobUploadInvalid)
            }
            Self::ChunkLength { .. } => (Status::BAD_REQUEST, Code::SizeInvalid),
            Self::DigestMissing | Self::DigestsDiffer | Self::Digest(_) | Self::DigestMismatch { .. } => {
                (Status::BAD_REQUEST, Code::DigestInvalid)
            }
            Self::Manifest(_) | Self::Tag { .. } => (Status::BAD_REQUEST, Code::ManifestInvalid),
            Self::ManifestReferences { .. } => (Status::BAD_REQUEST, Code::ManifestBlobUnknown),
            Self::TooManyTags { .. } => (Status::URI_TOO_LONG, Code::Unsupported),
            Self::BlobReferenced(_) => (Status::METHOD_NOT_ALLOWED, Code::Unsupported),
            Self::Denied
            | Self::OldPassword
            | Self::PasswordNeeded
            | Self::Refused { refusal: Refusal::Denied, .. } => (Status::FORBIDDEN, Code::Denied),
            Self::Refused { refusal: Refusal::Challenge { .. }, .. } | Self::Credentials => {
                (Status::UNAUTHORIZED, Code::Unauthorized)
            }
            Self::Refused { refusal: Refusal::Hidden, repository: Some(_), .. } => {
                (Status::NOT_FOUND, Code::NameUnknown)
            }
            Self::Refused { refusal: Refusal::Hidden, repository: None, .. }
            | Self::UserUnknown(_)
            | Self::TokenUnknown(_)
            | Self::TokenOwnerGone
            | Self::NamespaceUnknown(_) => (Status::NOT_FOUND, Code::NotFound),
            Self::Throttled { .. } => (Status::TOO_MANY_REQUESTS, Code::TooManyRequests),
            Self::Json(_)
            | Self::Form(_)
            | Self::TooManyScopes(_)
            | Self::TokenTooLong
            | Self::RobotName(_)
            | Self::RobotScope { .. }
            | Self::MediaType(_) => (Status::BAD_REQUEST, Code::RequestInvalid),
            Self::Username(_) => (Status::BAD_REQUEST, Code::UsernameInvalid),
            Self::Password(_) => (Status::BAD_REQUEST, Code::PasswordInvalid),
            Self::UsernameTaken(_) => (Status::CONFLICT, Code::UsernameTaken),
            Self::LastAdmin(_) | Self::TokenNameTaken | Self::NamespaceTaken(_) | Self::NamespaceOwner { .. } => {
                (Status::CONFLICT, Code::Conflict)
            }
            Self::Body(BodyError::TooLong { .. }) => (Status::PAYLOAD_TOO_LARGE, Code::SizeInvalid),
            Self::Body(BodyError::Stalled) => (Status::REQUEST_TIMEOUT, Code::SizeInvalid),
            Self::Body(BodyError::Broken(_)) => (Status::BAD_REQUEST, Code::SizeInvalid),
            Self::Store(store::Error::Full(_)) => (Status::INSUFFICIENT_STORAGE, Code::Unavailable),
            Self::Store(store::Error::Busy) | Self::Overloaded => (Status::SERVICE_UNAVAILABLE, Code::Unavailable),
            Self::Store(_) | Self::BlobDamaged(_) | Self::Fault(_) => (Status::INTERNAL_SERVER_ERROR, Code::Unknown),
            Self::Metadata(metadata::Error::Denied) => (Status::FORBIDDEN, Code::Denied),
            Self::Metadata(metadata::Error::Full(_)) => (Status::INSUFFICIENT_STORAGE, Code::Unavailable),
            Self::Metadata(error) if error.is_passing() => (Status::SERVICE_UNAVAILABLE, Code::Unavailable),
            Self::Metadata(_) => (Status::INTERNAL_SERVER_ERROR, Code::Unknown),
        }
    }

    /// What a login's rejection is to the token service's client.
    pub(super) fn of_rejection(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Invalid => Self::Credentials,
            Rejection::Throttled { retry_after } => Self::Throttled { retry_after },
            Rejection::Overloaded => Self::Overloaded,
            Rejection::Metadata(error) => error.into(),
            fault @ (Rejection::Hash(_) | Rejection::Interrupted) => Self::Fault(Arc::new(fault)),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, code) = self.answer();
        match status {
            StatusCode::INTERNAL_SERVER_ERROR => return ErrorReply::broken(Arc::new(self)).into_response(),
            StatusCode::SERVICE_UNAVAILABLE => return ErrorReply::unavailable(Arc::new(self)).into_response(),
            StatusCode::INSUFFICIENT_STORAGE => return ErrorReply::full(Arc::new(self)).into_response(),
            _ => {}
        }
        let mut reply = ErrorReply::new(status, code, self.to_string());
        match self {
            Self::Refused { refusal: Refusal::Challenge { insufficient_scope }, scope, .. } => {
                let error = insufficient_scope.then_some(ChallengeError::InsufficientScope);
                let message = "credentials are needed for this, or other ones";
                reply = ErrorReply::unauthorized(message, Challenge { scope, error });
            }
            Self::ManifestReferences { missing, repository } => {
                let mut missing = missing.into_iter();
                if let Some(first) = missing.next() {
                    let text = |digest: &Digest| format!("{repository} has no blob or manifest {digest}");
                    reply =
                        ErrorReply::new(status, code, text(&first)).with_detail(json!({ "digest": first.as_str() }));
                    missing.for_each(|d| reply.add(code, text(&d), Some(json!({ "digest": d.as_str() }))));
                }
            }
            Self::RangeNotSatisfiable { size } => {
                reply.headers.insert(CONTENT_RANGE, headers::value(format!("bytes */{size}")));
            }
            Self::ChunkOrder { resume, .. } | Self::ChunkRange { resume, .. } => {
                reply.headers.insert(LOCATION, headers::value(&resume.location));
                reply.headers.insert(RANGE, resume.range());
                reply.headers.insert(headers::UPLOAD_UUID, headers::value(resume.upload.to_string()));
            }
            Self::BlobReferenced(_) => {
                reply.headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            Self::Throttled { retry_after } => reply = reply.retry_after(retry_after.as_secs()),
            // The token endpoint does not send its clients to itself (R-TKG-09).
            Self::Credentials => {
                let basic = HeaderValue::from_static("Basic realm=\"distribution\", charset=\"UTF-8\"");
                reply.headers.insert(WWW_AUTHENTICATE, basic);
            }
            _ => {}
        }
        reply.into_response()
    }
}
