//! One tower layer per file; their order is written in `server::stack`.
//!
//! A request goes inward with typed extensions that each layer adds for those
//! behind it: [`Matched`](crate::router::Matched) from [`route`],
//! [`Origin`](crate::protocol::Origin) from [`origin`], `Caller` from
//! [`authenticate`], `Permit` from [`authorize`]. On the way out each adds its
//! headers. Errors are `Infallible`: what went wrong is a response by now.

mod authenticate;
mod authorize;
mod limits;
mod metrics;
mod observe;
mod origin;
mod refusal;
mod route;
mod trace;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;

use crate::protocol::Response;

pub use authenticate::AuthenticateLayer;
pub use authorize::AuthorizeLayer;
pub use limits::{LimitsLayer, Options as LimitsOptions};
pub use metrics::MetricsLayer;
pub use origin::{Options as OriginOptions, OriginLayer, Peer};
pub use route::RouteLayer;
pub use trace::TraceLayer;

/// What a layer that awaits something of its own returns.
type Answer = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;
