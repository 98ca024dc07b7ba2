//! Finds out who asks: a Bearer token, or Basic credentials sent unasked.
//!
//! Adds `Caller` to the request, and to the reply for the access log. Bad
//! credentials are 401 whatever they were for (R-PNG-04); none at all is
//! somebody anonymous, which the next layer judges. On the way out every 401
//! gets its challenge here, where it is known under which address the client
//! sees us.

use std::convert::Infallible;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::StatusCode;
use http::request::Parts;
use secrecy::ExposeSecret;
use tower::{Layer, Service};

use super::Answer;
use super::refusal::{fault, scope_of, write_challenge};
use crate::auth;
use crate::auth::{Auth, Caller, Rejection};
use crate::protocol::{
    Challenge, ChallengeError, Credentials, ErrorCode, ErrorReply, MalformedCredentials, Origin, Request, Response,
};
use crate::router::{Access, Matched};

/// Authenticates every request whose endpoint asks who it is.
#[derive(Clone)]
pub struct AuthenticateLayer {
    auth: Auth,
}

impl AuthenticateLayer {
    /// A layer that asks `auth`.
    pub fn new(auth: Auth) -> Self {
        Self { auth }
    }
}

/// See [`AuthenticateLayer`].
#[derive(Clone)]
pub struct Authenticate<S> {
    inner: S,
    auth: Auth,
}

impl<S> Layer<S> for AuthenticateLayer {
    type Service = Authenticate<S>;
    fn layer(&self, inner: S) -> Authenticate<S> {
        Authenticate { inner, auth: self.auth.clone() }
    }
}

impl<S> Service<Request> for Authenticate<S>
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
        // Readiness belongs to the service that was polled: it goes into the
        // future, and its clone stays here to be polled next time.
        let next = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, next);
        let auth = self.auth.clone();
        let (mut head, body) = request.into_parts();
        Box::pin(async move {
            let origin = head.extensions.get::<Origin>().cloned();
            let mut response = match caller(&auth, &head, origin.as_ref()).await {
                Ok(caller) => {
                    head.extensions.insert(caller.clone());
                    let mut response = inner.call(Request::from_parts(head, body)).await?;
                    response.extensions_mut().insert(caller);
                    response
                }
                Err(refusal) => refusal.into_response(),
            };
            if let Some(origin) = origin.filter(|_| response.status() == StatusCode::UNAUTHORIZED) {
                write_challenge(&mut response, auth.service(), &origin);
            }
            Ok(response)
        })
    }
}

async fn caller(auth: &Auth, head: &Parts, origin: Option<&Origin>) -> Result<Caller, ErrorReply> {
    let matched = head.extensions.get::<Matched>();
    let asks = matched.and_then(|matched| matched.endpoint).is_some_and(|e| e.facts().access != Access::Public);
    let (Some(matched), Some(origin), true) = (matched, origin, asks) else { return Ok(Caller::anonymous()) };
    let peer = || auth::Peer { address: origin.client, request: Some(origin.id.0.as_ref().into()) };
    let checked = match Credentials::of(&head.headers) {
        Ok(Credentials::None) => return Ok(Caller::anonymous()),
        Ok(Credentials::Bearer(token)) => auth.bearer(token).await,
        // Boxed: tokens are the rule, and every request has room for what is not.
        Ok(Credentials::Basic { user, password }) => {
            Box::pin(auth.basic(&user, password.expose_secret(), &peer())).await
        }
        Err(MalformedCredentials::Basic) => Err(Box::pin(auth.unreadable(&peer())).await),
        Err(MalformedCredentials::Scheme) => Err(Rejection::Invalid),
    };
    checked.map_err(|rejection| rejected(rejection, || scope_of(matched, head.uri.query())))
}

/// What a rejection is to a client. It never says which part was wrong.
fn rejected(rejection: Rejection, scope: impl FnOnce() -> String) -> ErrorReply {
    match rejection {
        Rejection::Invalid => {
            let challenge = Challenge { scope: scope(), error: Some(ChallengeError::InvalidToken) };
            ErrorReply::unauthorized("the credentials are wrong, expired or revoked", challenge)
        }
        Rejection::Throttled { retry_after } => {
            let text = "too many failed logins; wait before the next one";
            ErrorReply::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests, text)
                .retry_after(retry_after.as_secs())
        }
        Rejection::Overloaded => {
            let text = "too many logins at once; try again in a moment";
            ErrorReply::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, text).retry_after(1)
        }
        Rejection::Metadata(error) => fault(error.is_passing(), Arc::new(error)),
        Rejection::Hash(_) | Rejection::Interrupted => ErrorReply::broken(Arc::new(rejection)),
    }
}
