//! From an endpoint to its service, as the table says.
//!
//! What changes something comes to its end: a client that goes away in the middle
//! of a commit drops the connection, not the commit, which goes on by itself, and
//! the drain waits for it. A panic, here or there, is one request's 500 and nobody else's.

use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Method, Version};
use tokio_util::task::TaskTracker;
use tower::Service;
use tracing::Instrument;

use super::Options;
use super::detach::Detach;
use super::open::Opened;
use crate::auth::{Caller, Permit};
use crate::protocol::{ErrorReply, Origin, Query, Request, Response};
use crate::router::{Links, Matched, Route};
use crate::services::{
    AccessTokens, Audit, Blobs, Call, Catalog, Health, IntoResponse, Manifests, Members, Namespaces, Openapi, Ping,
    Push, Referrers, Repositories, Robots, Sessions, Tags, Tokens, Uploads, Users, answer,
};

include!(concat!(env!("OUT_DIR"), "/dispatch.rs"));

/// Who answers, one field per service that `routes.toml` names.
pub struct Services {
    ping: Ping,
    blobs: Blobs,
    uploads: Uploads,
    manifests: Manifests,
    tags: Tags,
    referrers: Referrers,
    catalog: Catalog,
    tokens: Tokens,
    openapi: Openapi,
    users: Users,
    access_tokens: AccessTokens,
    sessions: Sessions,
    namespaces: Namespaces,
    members: Members,
    robots: Robots,
    repositories: Repositories,
    audit: Audit,
    health: Health,
}

impl Services {
    /// All of them, on what was opened.
    pub fn new(opened: &Opened, options: &Options) -> Self {
        let Opened { metadata, store, auth } = opened;
        let links = Links::below(&options.path_prefix);
        let push = Push::new(auth.clone(), metadata.clone(), store.clone(), options.push);
        Self {
            ping: Ping,
            blobs: Blobs::new(auth.clone(), metadata.clone(), store.clone()),
            uploads: Uploads::new(store.clone(), push.clone(), links.clone()),
            manifests: Manifests::new(metadata.clone(), push, links.clone(), options.manifests),
            tags: Tags::new(metadata.clone(), links.clone()),
            referrers: Referrers::new(metadata.clone(), links.clone()),
            catalog: Catalog::new(auth.clone(), links.clone()),
            tokens: Tokens::new(auth.clone()),
            openapi: Openapi::new(&options.path_prefix),
            users: Users::new(auth.clone(), metadata.clone(), links.clone()),
            access_tokens: AccessTokens::new(auth.clone(), metadata.clone(), links.clone()),
            sessions: Sessions::new(metadata.clone(), links.clone()),
            namespaces: Namespaces::new(metadata.clone(), links.clone()),
            members: Members::new(metadata.clone(), links.clone()),
            robots: Robots::new(auth.clone(), metadata.clone(), links.clone()),
            repositories: Repositories::new(metadata.clone(), links.clone()),
            audit: Audit::new(auth.clone(), metadata.clone(), links),
            health: Health::new(metadata.clone(), store.clone(), options.render_metrics),
        }
    }
}

/// Innermost: calls the service of the request's endpoint.
#[derive(Clone)]
pub(super) struct Dispatch {
    services: Arc<Services>,
    tasks: TaskTracker,
}

impl Dispatch {
    pub(super) fn new(services: Arc<Services>, tasks: TaskTracker) -> Self {
        Self { services, tasks }
    }
}

impl Service<Request> for Dispatch {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let services = self.services.clone();
        let Some((route, call)) = taken_apart(request) else {
            let fault = Arc::new(Fault("a request came to its service that was not routed".into()));
            return Box::pin(async { Ok(ErrorReply::broken(fault).into_response()) });
        };
        let changes = !matches!(call.method, Method::GET | Method::HEAD);
        let tasks = self.tasks.clone();
        let work = AssertUnwindSafe(dispatch(services, route, call))
            .catch_unwind()
            .map(|done| Ok(done.unwrap_or_else(|panic| panicked(&*panic))));
        if changes { Box::pin(Detach::new(work.in_current_span(), tasks)) } else { Box::pin(work) }
    }
}

/// What the layers found out, as the service wants it; `None` where they did not
/// find out enough, which is a fault in their order.
fn taken_apart(request: Request) -> Option<(Route, Call)> {
    let (mut head, body) = request.into_parts();
    let matched = head.extensions.remove::<Matched>().map(|matched| matched.route);
    let route = matched?.ok()?;
    let origin = head.extensions.remove::<Origin>()?;
    let call = Call {
        query: Query::parse(head.uri.query().unwrap_or_default().as_bytes()),
        method: head.method,
        // There is no TLS here yet; where there is, its connections are not plain.
        plain: head.version <= Version::HTTP_11,
        headers: head.headers,
        body,
        caller: head.extensions.remove::<Caller>().unwrap_or_else(Caller::anonymous),
        permit: head.extensions.remove::<Permit>(),
        origin,
    };
    Some((route, call))
}

/// A fault that is told in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Fault(String);

fn panicked(panic: &(dyn Any + Send)) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let fault = Arc::new(Fault(format!("a service panicked: {}", text.unwrap_or("without a message"))));
    ErrorReply::broken(fault).into_response()
}
