//! end-1: is this a registry, and are my credentials good?

use http::HeaderValue;
use http::header::CONTENT_TYPE;

use super::{Call, Error, IntoResponse};
use crate::protocol::{Body, Response};
use crate::router;

/// Answers the ping. That credentials are needed for it at all, even where
/// everything is public, is how clients learn to log in (R-PNG-02).
#[derive(Debug, Clone, Copy)]
pub struct Ping;

/// `{}`: a registry, and whoever asks is welcome (R-PNG-01).
pub struct Welcome;

impl Ping {
    /// Says yes.
    ///
    /// # Errors
    /// None of its own.
    pub async fn answer(&self, _: router::Ping, _: Call) -> Result<Welcome, Error> {
        Ok(Welcome)
    }
}

impl IntoResponse for Welcome {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from("{}"));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}
