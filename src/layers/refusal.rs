//! How a refusal is said: the one place where a challenge is written.

use std::error::Error;
use std::sync::Arc;

use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::{Method, StatusCode};

use crate::auth::Refusal;
use crate::domain::{Action, Actions, DigestError, MediaType, ReferenceError, RepositoryName, Scope};
use crate::protocol::{
    Body, Challenge, ChallengeError, ErrorCode, ErrorReply, Origin, Query, Request, Response, headers,
};
use crate::router::{Access, BadParameter, Endpoint, Matched, Route, Unroutable};

/// The reply to a request that no service answers. `None` for one that a service does.
pub(super) fn of_unroutable(request: &Request) -> Option<Response> {
    let matched = request.extensions().get::<Matched>()?;
    let path = request.uri().path();
    match matched.route.as_ref().err()? {
        Unroutable::UnknownPath => Some(unknown_path(path)),
        Unroutable::Method { allow } => {
            let text = format!("{} is not answered here; {allow} are", request.method());
            let mut reply = ErrorReply::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported, text);
            reply.headers.insert(http::header::ALLOW, HeaderValue::from_static(allow));
            Some(reply.into_response())
        }
        Unroutable::Parameter(bad) => Some(of_parameter(matched.endpoint, request.method(), bad)),
    }
}

/// Below our APIs an error is JSON; elsewhere nobody expects a registry (R-GEN-05).
fn unknown_path(path: &str) -> Response {
    if ["/v2/", "/auth/", "/api/"].iter().any(|api| path.starts_with(api)) {
        return ErrorReply::new(StatusCode::NOT_FOUND, ErrorCode::Unsupported, "there is no such endpoint")
            .into_response();
    }
    let mut response = Response::new(Body::from("not found\n"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// A parameter that names nothing is wrong in a push, and absent in a pull (R-TAG-03, R-DIG-02, R-DIG-03).
fn of_parameter(endpoint: Option<Endpoint>, method: &Method, bad: &BadParameter) -> Response {
    use BadParameter as Bad;
    use ErrorCode as Code;
    use StatusCode as Status;
    let reads = method != Method::PUT;
    let (status, code) = match bad {
        Bad::Repository(_) => (Status::BAD_REQUEST, Code::NameInvalid),
        Bad::Reference(ReferenceError::Tag(_)) if reads => (Status::NOT_FOUND, Code::ManifestUnknown),
        Bad::Reference(ReferenceError::Tag(_)) => (Status::BAD_REQUEST, Code::ManifestInvalid),
        Bad::Reference(ReferenceError::Digest(DigestError::Unsupported(_))) if reads => {
            (Status::NOT_FOUND, Code::ManifestUnknown)
        }
        Bad::Digest(DigestError::Unsupported(_)) if endpoint == Some(Endpoint::Referrers) => return no_referrers(),
        Bad::Digest(DigestError::Unsupported(_)) => (Status::NOT_FOUND, Code::BlobUnknown),
        Bad::Reference(ReferenceError::Digest(_)) | Bad::Digest(_) => (Status::BAD_REQUEST, Code::DigestInvalid),
        Bad::Upload(_) => (Status::NOT_FOUND, Code::BlobUploadUnknown),
        Bad::Username(_) | Bad::Namespace(_) | Bad::Token(_) => (Status::NOT_FOUND, Code::NotFound),
    };
    ErrorReply::new(status, code, bad.to_string()).into_response()
}

/// Nothing here can refer to a digest that nothing here can have.
fn no_referrers() -> Response {
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#, MediaType::OCI_INDEX);
    let mut response = Response::new(Body::from(index));
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static(MediaType::OCI_INDEX));
    response
}

/// What the policy's refusal is to a client (R-AUZ-03, R-AUZ-04).
pub(super) fn of_policy(refusal: Refusal, scope: String, repository: Option<&RepositoryName>) -> Response {
    match refusal {
        Refusal::Challenge { insufficient_scope } => {
            let error = insufficient_scope.then_some(ChallengeError::InsufficientScope);
            let text = if insufficient_scope { "the token does not reach this far" } else { "credentials are needed" };
            ErrorReply::unauthorized(text, Challenge { scope, error })
        }
        Refusal::Denied => {
            ErrorReply::new(StatusCode::FORBIDDEN, ErrorCode::Denied, "the account may not do this here")
        }
        Refusal::Hidden => match repository {
            Some(name) => {
                ErrorReply::new(StatusCode::NOT_FOUND, ErrorCode::NameUnknown, format!("there is no repository {name}"))
            }
            None => ErrorReply::new(StatusCode::NOT_FOUND, ErrorCode::NotFound, "there is no such thing"),
        },
    }
    .into_response()
}

/// What is said where the database could not be asked: whether that passes, and why.
pub(super) fn fault(passing: bool, cause: Arc<dyn Error + Send + Sync>) -> ErrorReply {
    if passing { ErrorReply::unavailable(cause) } else { ErrorReply::broken(cause) }
}

/// The scope that the request needs, as a challenge names it (requirements 9.5).
pub(super) fn scope_of(matched: &Matched, query: Option<&str>) -> String {
    let Some(endpoint) = matched.endpoint else { return String::new() };
    let repository = matched.route.as_ref().ok().and_then(Route::repository);
    let scope = |actions: Actions| repository.map(|name| Scope::repository(name.clone(), actions).to_string());
    let push: Actions = [Action::Pull, Action::Push].into_iter().collect();
    match endpoint.facts().access {
        Access::Pull | Access::Referrers => scope(Action::Pull.into()),
        Access::Push => scope(push).map(|target| match (endpoint, mount_source(query)) {
            (Endpoint::UploadStart, Some(from)) => {
                format!("{target} {}", Scope::repository(from, Action::Pull.into()))
            }
            _ => target,
        }),
        Access::Delete => scope(Action::Delete.into()),
        Access::Catalog => Some("registry:catalog:*".to_owned()),
        Access::Public
        | Access::Register
        | Access::Identity
        | Access::Account
        | Access::Own
        | Access::Admin
        | Access::Claim
        | Access::Manage
        | Access::NamespaceView
        | Access::Namespace => None,
    }
    .unwrap_or_default()
}

/// The repository that a mount would read from (R-MNT-05).
fn mount_source(query: Option<&str>) -> Option<RepositoryName> {
    let query = Query::parse(query?.as_bytes());
    query.get("mount")?;
    query.get("from")?.parse().ok()
}

/// Writes `WWW-Authenticate` for a reply that asks for credentials: one line,
/// one challenge, Bearer only (R-CHL-01 to R-CHL-06).
pub(super) fn write_challenge(response: &mut Response, service: &str, origin: &Origin) {
    let Some(challenge) = response.extensions_mut().remove::<Challenge>() else { return };
    let base = origin.base.as_deref().unwrap_or_default();
    let mut text = format!("Bearer realm=\"{base}/auth/token\",service=\"{service}\"");
    if !challenge.scope.is_empty() {
        text.push_str(",scope=\"");
        text.push_str(&challenge.scope);
        text.push('"');
    }
    if let Some(error) = challenge.error {
        text.push_str(",error=\"");
        text.push_str(error.as_str());
        text.push('"');
    }
    response.headers_mut().insert(WWW_AUTHENTICATE, headers::value(text));
}
