use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde::Serialize;

use super::IntoResponse;
use crate::protocol::{Body, Response};

/// A JSON reply of the management API and the token service. Never cached: it
/// holds state that changes, or secrets (R-TKG-09).
pub struct Json {
    status: StatusCode,
    text: String,
}

impl Json {
    /// 200 with that value.
    pub(super) fn ok<T: Serialize>(value: &T) -> Self {
        Self::with(StatusCode::OK, value)
    }

    /// That value under another status. Maps with text keys, strings and numbers always serialise.
    pub(super) fn with<T: Serialize>(status: StatusCode, value: &T) -> Self {
        Self { status, text: serde_json::to_string(value).unwrap_or_default() }
    }
}

impl IntoResponse for Json {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.text));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
