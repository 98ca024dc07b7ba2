//! Finds out which endpoint a request is for, and parses its parameters.
//!
//! Outermost, since every other layer needs the endpoint: for its label, its
//! limits, its access. Refuses nothing itself: an unknown path or a bad
//! parameter goes on, to be traced, counted and answered like any request.

use std::convert::Infallible;
use std::task::{Context, Poll};

use tower::{Layer, Service};

use crate::protocol::{Request, Response};
use crate::router;

/// Adds [`router::Matched`] to the request.
#[derive(Debug, Clone, Copy)]
pub struct RouteLayer;

/// See [`RouteLayer`].
#[derive(Debug, Clone)]
pub struct Route<S> {
    inner: S,
}

impl<S> Layer<S> for RouteLayer {
    type Service = Route<S>;
    fn layer(&self, inner: S) -> Route<S> {
        Route { inner }
    }
}

impl<S> Service<Request> for Route<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> S::Future {
        let matched = router::route(request.method(), request.uri().path());
        request.extensions_mut().insert(matched);
        self.inner.call(request)
    }
}
