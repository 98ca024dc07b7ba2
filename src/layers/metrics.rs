//! Counts and times requests, by endpoint and never by path.
//!
//! Labels are bounded: endpoint, its group, method, status. Names are those of
//! the reference registry where it has one. Handles are kept, so that a request
//! costs a few atomic additions. Durations end with the last byte of the body.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{OnceLock, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Instant;

use http::{Method, StatusCode};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tower::{Layer, Service};

use super::Answer;
use super::observe::observed;
use crate::protocol::{Request, Response, headers};
use crate::router::{Endpoint, Matched};

/// Counts and times every request.
#[derive(Debug, Clone, Copy)]
pub struct MetricsLayer;

/// See [`MetricsLayer`].
#[derive(Debug, Clone)]
pub struct Metrics<S> {
    inner: S,
}

impl<S> Layer<S> for MetricsLayer {
    type Service = Metrics<S>;
    fn layer(&self, inner: S) -> Metrics<S> {
        Metrics { inner }
    }
}

impl<S> Service<Request> for Metrics<S>
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
        let series = Series::of(request.extensions().get::<Matched>().and_then(|matched| matched.endpoint));
        let method = label(request.method());
        let received = headers::content_length(request.headers());
        let in_flight = InFlight::enter(&series.in_flight);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            series.requests(method, response.status()).increment(1);
            if let Some(received) = received {
                series.request_size.record(received as f64);
            }
            Ok(response.map(|body| {
                observed(body, move |end| {
                    series.response_size.record(end.bytes as f64);
                    series.durations(method).record(started.elapsed());
                    if let Some(downloaded) = &series.downloaded {
                        downloaded.increment(end.bytes);
                    }
                    drop(in_flight);
                })
            }))
        })
    }
}

/// The handles of one endpoint's series.
struct Series {
    handler: &'static str,
    endpoint: &'static str,
    in_flight: Gauge,
    request_size: Histogram,
    response_size: Histogram,
    /// Only where the body is a blob's.
    downloaded: Option<Counter>,
    durations: RwLock<HashMap<&'static str, Histogram>>,
    requests: RwLock<HashMap<(&'static str, u16), Counter>>,
}

impl Series {
    /// Those of an endpoint, or of everything that is none.
    fn of(endpoint: Option<Endpoint>) -> &'static Self {
        static KNOWN: [OnceLock<Series>; Endpoint::ALL.len()] = [const { OnceLock::new() }; Endpoint::ALL.len()];
        static UNKNOWN: OnceLock<Series> = OnceLock::new();
        match endpoint {
            Some(endpoint) => {
                let facts = endpoint.facts();
                let blob = endpoint == Endpoint::BlobGet;
                KNOWN[endpoint as usize].get_or_init(|| Self::new(facts.handler, facts.name, blob))
            }
            None => UNKNOWN.get_or_init(|| Self::new("none", "none", false)),
        }
    }

    fn new(handler: &'static str, endpoint: &'static str, blob: bool) -> Self {
        Self {
            handler,
            endpoint,
            in_flight: gauge!("registry_http_in_flight_requests", "handler" => handler, "endpoint" => endpoint),
            request_size: histogram!("registry_http_request_size_bytes", "handler" => handler, "endpoint" => endpoint),
            response_size: histogram!("registry_http_response_size_bytes", "handler" => handler, "endpoint" => endpoint),
            downloaded: blob.then(|| counter!("registry_download_bytes_total")),
            durations: RwLock::default(),
            requests: RwLock::default(),
        }
    }

    fn requests(&self, method: &'static str, status: StatusCode) -> Counter {
        cached(&self.requests, (method, status.as_u16()), || {
            counter!("registry_http_requests_total", "handler" => self.handler, "endpoint" => self.endpoint,
                "method" => method, "code" => status.as_str().to_owned())
        })
    }

    fn durations(&self, method: &'static str) -> Histogram {
        cached(&self.durations, method, || {
            histogram!("registry_http_request_duration_seconds", "handler" => self.handler,
                "endpoint" => self.endpoint, "method" => method)
        })
    }
}

fn cached<K, V>(known: &RwLock<HashMap<K, V>>, key: K, make: impl FnOnce() -> V) -> V
where
    K: std::hash::Hash + Eq,
    V: Clone,
{
    if let Some(handle) = known.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return handle.clone();
    }
    known.write().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert_with(make).clone()
}

/// Anyone can invent a method; the label must stay bounded.
fn label(method: &Method) -> &'static str {
    const KNOWN: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

/// One request being answered; no more once dropped.
struct InFlight(Gauge);

impl InFlight {
    fn enter(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
