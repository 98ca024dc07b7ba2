//! What probes and Prometheus ask.

use std::time::Duration;

use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use tokio::time::timeout;

use super::{Call, Error, IntoResponse};
use crate::metadata::Metadata;
use crate::protocol::{Body, Response};
use crate::router;
use crate::store;
use crate::store::BlobStore;

/// How long database and store may take to answer a probe.
const PATIENCE: Duration = Duration::from_secs(5);

const OK: &str = "ok";
const UNAVAILABLE: &str = "unavailable";

/// Answers probes.
#[derive(Clone)]
pub struct Health {
    metadata: Metadata,
    store: store::Filesystem,
    render: fn() -> String,
}

/// A line of text for a machine that reads the status, and for people.
pub struct Probe {
    status: StatusCode,
    content_type: &'static str,
    text: String,
}

impl Health {
    /// Probes these two; `render` writes the metrics.
    pub fn new(metadata: Metadata, store: store::Filesystem, render: fn() -> String) -> Self {
        Self { metadata, store, render }
    }

    /// The process runs and answers; nothing else is asked.
    ///
    /// # Errors
    /// None of its own.
    pub async fn alive(&self, _: router::Healthz, _: Call) -> Result<Probe, Error> {
        Ok(Probe::text(StatusCode::OK, "alive\n".into()))
    }

    /// Whether database and store answer; 503 says which does not. A full store
    /// answers: what is in it is served, and pushes say what is wrong with it.
    ///
    /// # Errors
    /// None of its own.
    pub async fn ready(&self, _: router::Readyz, _: Call) -> Result<Probe, Error> {
        let (database, store) =
            tokio::join!(timeout(PATIENCE, self.metadata.ping()), timeout(PATIENCE, self.store.ping()));
        let database = if matches!(database, Ok(Ok(()))) { OK } else { UNAVAILABLE };
        let store = match store {
            Ok(Ok(())) => OK,
            Ok(Err(store::Error::Full(_))) => "full",
            Ok(Err(_)) | Err(_) => UNAVAILABLE,
        };
        let ready = ![database, store].contains(&UNAVAILABLE);
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        Ok(Probe::text(status, format!("database: {database}\nstore: {store}\n")))
    }

    /// Counters and histograms in Prometheus' text format.
    ///
    /// # Errors
    /// None of its own.
    pub async fn metrics(&self, _: router::Metrics, _: Call) -> Result<Probe, Error> {
        let content_type = "text/plain; version=0.0.4; charset=utf-8";
        Ok(Probe { status: StatusCode::OK, content_type, text: (self.render)() })
    }
}

impl Probe {
    fn text(status: StatusCode, text: String) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", text }
    }
}

impl IntoResponse for Probe {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.text));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
