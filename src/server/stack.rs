//! The order of the layers, written once.

use std::convert::Infallible;
use std::sync::Arc;

use tokio_util::task::TaskTracker;
use tower::{Service, ServiceBuilder};

use super::Options;
use super::dispatch::{Dispatch, Services};
use super::open::Opened;
use crate::layers::{
    AuthenticateLayer, AuthorizeLayer, LimitsLayer, MetricsLayer, OriginLayer, RouteLayer, TraceLayer,
};
use crate::protocol::{Request, Response};

/// The registry as one service: a request in, a response out, no error.
pub(super) fn stack(
    services: Services,
    tasks: TaskTracker,
    opened: &Opened,
    options: &Options,
) -> impl Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static {
    ServiceBuilder::new()
        .layer(RouteLayer) // which endpoint; an unknown path or a bad parameter goes on, to be traced and counted
        .layer(OriginLayer::new(options.origin.clone())) // from where, and under which address we are seen
        .layer(TraceLayer) // span and request id, around every refusal too
        .layer(MetricsLayer) // by endpoint, never by path
        .layer(LimitsLayer::new(options.limits.clone())) // sheds load before a password costs CPU
        .layer(AuthenticateLayer::new(opened.auth.clone())) // who asks
        .layer(AuthorizeLayer::new(opened.auth.clone())) // may they
        .service(Dispatch::new(Arc::new(services), tasks))
}
