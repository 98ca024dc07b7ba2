//! Lets a request through only if its identity may do what the endpoint does.
//!
//! Stands after `route` and `authenticate`, whose findings it reads from the
//! request's extensions, and just outside the services, which may assume that
//! every request they see is allowed. The rules live in `auth::policy`.

use std::convert::Infallible;
use std::mem;
use std::task::{Context, Poll};

use http::header::HeaderValue;
use tower::{Layer, Service};

use super::Answer;
use super::refusal::{of_check, of_policy, of_unroutable, scope_of};
use crate::auth;
use crate::auth::{Auth, Caller, Permit, Refusal};
use crate::protocol::headers::API_VERSION;
use crate::protocol::{Request, Response};
use crate::router::{Access, Matched, Route};

/// Authorizes every request.
#[derive(Clone)]
pub struct AuthorizeLayer {
    auth: Auth,
}

impl AuthorizeLayer {
    /// A layer that asks `auth`.
    pub fn new(auth: Auth) -> Self {
        Self { auth }
    }
}

/// See [`AuthorizeLayer`].
#[derive(Clone)]
pub struct Authorize<S> {
    inner: S,
    auth: Auth,
}

impl<S> Layer<S> for AuthorizeLayer {
    type Service = Authorize<S>;
    fn layer(&self, inner: S) -> Authorize<S> {
        Authorize { inner, auth: self.auth.clone() }
    }
}
