use std::error::Error;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::{Body, Response};

/// The codes of error bodies: the specification's 14, two for faults of our own
/// (R-ERR-05), and the management API's.
///
/// Source: distribution-spec 1.1 *Error Codes*; R-ERR-03.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    Unauthorized,
    Denied,
    Unsupported,
    TooManyRequests,
    /// Our own fault, 500.
    Unknown,
    /// Not now: 503, or 507 where the disk is full.
    Unavailable,
    /// Management: the request's JSON or a field of it is not as documented.
    RequestInvalid,
    /// Management: no username by its grammar.
    UsernameInvalid,
    /// Management: no acceptable password.
    PasswordInvalid,
    /// Management: that name belongs to somebody.
    UsernameTaken,
    /// Management: no such thing, or none that the caller may see.
    NotFound,
    /// Management: the state of things forbids it.
    Conflict,
}

impl ErrorCode {
    /// The code as it stands in a body.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::Unknown => "UNKNOWN",
            Self::Unavailable => "UNAVAILABLE",
            Self::RequestInvalid => "REQUEST_INVALID",
            Self::UsernameInvalid => "USERNAME_INVALID",
            Self::PasswordInvalid => "PASSWORD_INVALID",
            Self::UsernameTaken => "USERNAME_TAKEN",
            Self::NotFound => "NOT_FOUND",
            Self::Conflict => "CONFLICT",
        }
    }
}

/// A refusal or failure as the client reads it: `{"errors":[{"code",…}]}` under
/// one status (R-ERR-01, R-ERR-04).
#[derive(Debug)]
pub struct ErrorReply {
    pub status: StatusCode,
    /// What goes with it, such as where to resume.
    pub headers: HeaderMap,
    errors: Vec<Entry>,
    cause: Option<Cause>,
    challenge: Option<Challenge>,
}

/// Why a reply is a failure of ours. Rides in the reply's extensions to be
/// logged once, with the request id, and is never sent (I8).
#[derive(Debug, Clone)]
pub struct Cause(pub Arc<dyn Error + Send + Sync>);

/// What a 401 asks for. Rides in the reply's extensions to the layer that knows
/// under which address the client sees us, and becomes `WWW-Authenticate` there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Challenge {
    /// The scopes that were needed, joined by one space; empty for none (R-CHL-06).
    pub scope: String,
    /// What is wrong with the credentials that came (R-CHL-07).
    pub error: Option<ChallengeError>,
}

/// The `error` of a challenge (R-CHL-07).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengeError {
    /// The token or password is bad, expired or revoked.
    InvalidToken,
    /// The token is good but does not reach this far.
    InsufficientScope,
}

impl ChallengeError {
    /// The word for it in a challenge.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
        }
    }
}

#[derive(Debug, Serialize)]
struct Entry {
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<serde_json::Value>,
}

impl ErrorReply {
    /// One error under that status.
    pub fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        let errors = Vec::with_capacity(1);
        let mut reply = Self { status, headers: HeaderMap::new(), errors, cause: None, challenge: None };
        reply.add(code, message, None);
        reply
    }

    /// One more error of the same request.
    pub fn add(&mut self, code: ErrorCode, message: impl Into<String>, detail: Option<serde_json::Value>) {
        self.errors.push(Entry { code: code.as_str(), message: message.into(), detail });
    }

    /// The first error once more, with details.
    #[must_use]
    pub fn with_detail(mut self, detail: serde_json::Value) -> Self {
        if let Some(first) = self.errors.first_mut() {
            first.detail = Some(detail);
        }
        self
    }

    /// A failure of ours: 500. Its cause is logged and not sent (I8).
    pub fn broken(cause: Arc<dyn Error + Send + Sync>) -> Self {
        let text = "the registry failed; its operator finds the cause in the log under this request's id";
        Self::failure(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Unknown, text, cause)
    }

    /// Something that we need is away for now: 503.
    pub fn unavailable(cause: Arc<dyn Error + Send + Sync>) -> Self {
        let text = "the registry cannot answer this now; try again in a moment";
        Self::failure(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, text, cause).retry_after(2)
    }

    /// No room for what is pushed: 507.
    pub fn full(cause: Arc<dyn Error + Send + Sync>) -> Self {
        let text = "no space is left where the registry keeps its data; pulls go on";
        Self::failure(StatusCode::INSUFFICIENT_STORAGE, ErrorCode::Unavailable, text, cause)
    }

    fn failure(status: StatusCode, code: ErrorCode, message: &str, cause: Arc<dyn Error + Send + Sync>) -> Self {
        Self { cause: Some(Cause(cause)), ..Self::new(status, code, message) }
    }

    /// A 401 that asks for credentials.
    pub fn unauthorized(message: &str, challenge: Challenge) -> Self {
        Self { challenge: Some(challenge), ..Self::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message) }
    }

    /// The same, to be tried again after that many seconds (R-LIM-01, R-LIM-02).
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        self
    }

    /// The reply, its JSON written.
    pub fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Envelope<'a> {
            errors: &'a [Entry],
        }
        // Strings and JSON values always serialise.
        let json = serde_json::to_string(&Envelope { errors: &self.errors }).unwrap_or_default();
        let mut response = Response::new(Body::from(json));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(cause) = self.cause {
            response.extensions_mut().insert(cause);
        }
        if let Some(challenge) = self.challenge {
            response.extensions_mut().insert(challenge);
        }
        response
    }
}
