//! Lets a request through only if its identity may do what the endpoint does.
//!
//! Stands after `route` and `authenticate`, whose findings it reads from the
//! request's extensions, and just outside the services, which may assume that
//! every request they see is allowed, and find `Permit` with what was learnt of
//! the repository. The rules live in `auth::policy`. What reaches no service at
//! all is answered here too.

use std::convert::Infallible;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use tower::{Layer, Service};

use super::Answer;
use super::refusal::{fault, of_policy, of_unroutable, scope_of};
use crate::auth;
use crate::auth::{Auth, Caller, CheckError, NamespaceAccess, Permit, Refusal};
use crate::protocol::{Request, Response};
use crate::router::{Access, Matched};

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

impl<S> Service<Request> for Authorize<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Answer {
        if let Some(response) = of_unroutable(&request) {
            return Box::pin(async { Ok(response) });
        }
        let next = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, next);
        let auth = self.auth.clone();
        let (mut head, body) = request.into_parts();
        Box::pin(async move {
            match permit(&auth, &head).await {
                Ok(permit) => {
                    if let Some(permit) = permit {
                        head.extensions.insert(permit);
                    }
                    inner.call(Request::from_parts(head, body)).await
                }
                Err(refused) => Ok(refused),
            }
        })
    }
}

/// Whether the endpoint's access is the caller's; with what was learnt of the repository, if it has one.
async fn permit(auth: &Auth, head: &Parts) -> Result<Option<Permit>, Response> {
    let extensions = &head.extensions;
    let (Some(matched), Some(caller)) = (extensions.get::<Matched>(), extensions.get::<Caller>()) else {
        return Err(of_policy(Refusal::Denied, String::new(), None));
    };
    let (Some(endpoint), Ok(route)) = (matched.endpoint, &matched.route) else { return Ok(None) };
    let namespaced =
        |access, namespace| async move { auth.check_namespace(caller, access, namespace).await.map(|()| None) };
    let checked = match (endpoint.facts().access, route.repository(), route.namespace()) {
        (Access::Public, ..) => Ok(None),
        (Access::Register, ..) => auth.check_registration(caller).map(|()| None).map_err(CheckError::Refused),
        (Access::Identity, ..) => auth.check_identity(caller).map(|()| None).map_err(CheckError::Refused),
        (Access::Account, ..) => auth.manager(caller).map(|_| None).map_err(CheckError::Refused),
        (Access::Claim, ..) => auth.check_claim(caller).map(|()| None).map_err(CheckError::Refused),
        (Access::Admin, ..) => auth.admin(caller).map(|_| None).map_err(CheckError::Refused),
        (Access::Catalog, ..) => auth.check_catalog(caller).map(|()| None).map_err(CheckError::Refused),
        (Access::Own, ..) => match route.username() {
            Some(name) => auth.check_user(caller, name).map(|()| None).map_err(CheckError::Refused),
            None => Err(CheckError::Refused(Refusal::Denied)),
        },
        (Access::NamespaceView, _, Some(namespace)) => namespaced(NamespaceAccess::View, namespace).await,
        (Access::Namespace, _, Some(namespace)) => namespaced(NamespaceAccess::Manage, namespace).await,
        (access, Some(repository), _) => match of_repository(access) {
            Some(access) => auth.check(caller, access, repository).await.map(Some),
            None => Err(CheckError::Refused(Refusal::Denied)),
        },
        // build.rs refuses an entry whose access and path do not agree.
        _ => Err(CheckError::Refused(Refusal::Denied)),
    };
    checked.map_err(|error| match error {
        CheckError::Refused(refusal) => of_policy(refusal, scope_of(matched, head.uri.query()), route.repository()),
        CheckError::Metadata(error) => fault(error.is_passing(), Arc::new(error)).into_response(),
    })
}

fn of_repository(access: Access) -> Option<auth::Access> {
    match access {
        Access::Pull => Some(auth::Access::Pull),
        Access::Push => Some(auth::Access::Push),
        Access::Delete => Some(auth::Access::Delete),
        Access::Referrers => Some(auth::Access::Referrers),
        Access::Manage => Some(auth::Access::Manage),
        Access::Public
        | Access::Register
        | Access::Identity
        | Access::Account
        | Access::Own
        | Access::Admin
        | Access::Claim
        | Access::Catalog
        | Access::NamespaceView
        | Access::Namespace => None,
    }
}
