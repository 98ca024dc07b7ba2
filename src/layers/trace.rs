//! One span and one log line per request, and each failure logged once.
//!
//! The span carries the request id, so that whatever is logged inside can be
//! found by what the client was told; the token service adds for whom and for
//! which client a token is. The line is written when the body has
//! ended. A client that goes away is no error of ours (R-GEN-15).

use std::convert::Infallible;
use std::error::Error;
use std::task::{Context, Poll};
use std::time::Instant;

use http::header::{HeaderMap, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, StatusCode};
use tower::{Layer, Service};
use tracing::field::Empty;
use tracing::{Instrument, Span, error, info, info_span};

use super::Answer;
use super::observe::{End, observed};
use crate::auth::Caller;
use crate::protocol::headers::{API_VERSION, REQUEST_ID, value};
use crate::protocol::{Cause, Origin, Request, Response};
use crate::router::Matched;

/// Traces every request.
#[derive(Debug, Clone, Copy)]
pub struct TraceLayer;

/// See [`TraceLayer`].
#[derive(Debug, Clone)]
pub struct Trace<S> {
    inner: S,
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;
    fn layer(&self, inner: S) -> Trace<S> {
        Trace { inner }
    }
}

impl<S> Service<Request> for Trace<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Answer {
        let started = Instant::now();
        let id = request.extensions().get::<Origin>().map(|origin| origin.id.clone());
        let span =
            info_span!("request", id = id.as_ref().map(tracing::field::display), account = Empty, client_id = Empty);
        let line = Line::of(&request, started);
        let answer = {
            let _entered = span.enter();
            self.inner.call(request)
        };
        let inside = span.clone();
        Box::pin(
            async move {
                let mut response = answer.await?;
                if let Some(id) = id {
                    response.headers_mut().insert(REQUEST_ID, value(&id.0));
                }
                mark(response.headers_mut());
                if let Some(Cause(cause)) = response.extensions().get() {
                    error!(cause = %Chain(&**cause), "request failed");
                }
                let status = response.status();
                let user = response.extensions().get::<Caller>().and_then(Caller::name);
                Ok(response.map(|body| observed(body, move |end| line.write(&span, status, user.as_deref(), end))))
            }
            .instrument(inside),
        )
    }
}

/// What every reply carries, refusals included (R-GEN-13, R-GEN-16).
fn mark(headers: &mut HeaderMap) {
    headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// What the access log says of a request.
struct Line {
    started: Instant,
    method: Method,
    /// Without its query, which may carry what is nobody's business.
    path: String,
    endpoint: &'static str,
    client: Option<std::net::IpAddr>,
    agent: Option<http::HeaderValue>,
}

impl Line {
    fn of(request: &Request, started: Instant) -> Self {
        let endpoint = request.extensions().get::<Matched>().and_then(|matched| matched.endpoint);
        Self {
            started,
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            endpoint: endpoint.map_or("none", |endpoint| endpoint.facts().name),
            client: request.extensions().get::<Origin>().map(|origin| origin.client),
            agent: request.headers().get(http::header::USER_AGENT).cloned(),
        }
    }

    fn write(self, span: &Span, status: StatusCode, user: Option<&str>, end: End) {
        let _entered = span.enter();
        info!(
            target: "access",
            method = %self.method,
            path = %self.path,
            endpoint = self.endpoint,
            status = status.as_u16(),
            bytes = end.bytes,
            complete = end.whole,
            seconds = self.started.elapsed().as_secs_f64(),
            user = user.unwrap_or("-"),
            client = self.client.map(tracing::field::display),
            agent = self.agent.as_ref().and_then(|agent| agent.to_str().ok()).unwrap_or("-"),
            "request",
        );
    }
}

/// An error with all its sources in one line.
struct Chain<'a>(&'a dyn Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}
