use http::header::{CONTENT_TYPE, HeaderValue};
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
    /// What goes with it, such as a challenge or where to resume.
    pub headers: HeaderMap,
    errors: Vec<Entry>,
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
        let mut reply = Self { status, headers: HeaderMap::new(), errors: Vec::with_capacity(1) };
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
        response
    }
}
