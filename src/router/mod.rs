//! Which endpoint a request is for, with its parameters parsed; and links back.
//!
//! The table is `routes.toml`; `build.rs` checks it and writes the code included
//! here. Lookup is [`path`]'s matter: a repository's name holds slashes, and its
//! components may be called `blobs` or `tags` (R-NAM-05), so a path is read from
//! its end. A path is percent-decoded once, before matching (R-GEN-02); nothing
//! is redirected or normalised (R-GEN-03).
//!
//! Knows domain types only: what answers an endpoint is `server`'s table.

mod links;
mod path;

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

use crate::domain::{
    Digest, DigestError, Namespace, NamespaceError, Reference, ReferenceError, RepositoryName, RepositoryNameError,
    TokenNumber, TokenNumberError, UploadId, UploadIdError, Username, UsernameError,
};

pub use links::Links;
use path::Captures;

include!(concat!(env!("OUT_DIR"), "/router.rs"));

/// What `routes.toml` says of an endpoint.
#[derive(Debug)]
pub struct Facts {
    /// The specification's names for it, none where it is ours.
    pub ids: &'static [&'static str],
    /// Its own name: the metrics label `endpoint`.
    pub name: &'static str,
    pub methods: &'static [Method],
    /// The path as a template with `{parameters}`.
    pub path: &'static str,
    /// Names of the query's parameters, where the endpoint is ours alone.
    pub query: &'static [&'static str],
    pub access: Access,
    /// The reference registry's name of its group: the metrics label `handler`.
    pub handler: &'static str,
    pub body: BodyClass,
    /// One line for people.
    pub summary: &'static str,
}

/// Who may use an endpoint; the rules are in the design, *Identity and authorization*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Anyone, with or without credentials.
    Public,
    /// Anyone, or admins only: the configuration says who registers.
    Register,
    /// Any accepted credentials, an anonymous token too (R-PNG-02, R-PNG-03).
    Identity,
    /// A user, or what acts for one.
    Account,
    /// The user in the path, or an administrator.
    Own,
    /// An administrator.
    Admin,
    /// A user, or administrators only: the configuration says who claims namespaces.
    Claim,
    Pull,
    Push,
    Delete,
    /// As pull, but where pull would be 404 the answer is an empty index (R-REF-01).
    Referrers,
    /// An owner of the repository's namespace.
    Manage,
    /// Anyone, each seeing what they may pull from (R-CAT-02).
    Catalog,
    /// A member of the namespace in the path.
    NamespaceView,
    /// An owner of the namespace in the path.
    Namespace,
}

impl Access {
    /// The word for it in `routes.toml`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Register => "register",
            Self::Identity => "identity",
            Self::Account => "account",
            Self::Own => "own",
            Self::Admin => "admin",
            Self::Claim => "claim",
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
            Self::Referrers => "referrers",
            Self::Manage => "manage",
            Self::Catalog => "catalog",
            Self::NamespaceView => "namespace_view",
            Self::Namespace => "namespace",
        }
    }
}

/// What kind of body an endpoint takes, and so how long it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BodyClass {
    /// None is wanted; what comes is not read.
    None,
    /// At most the configured limit (R-MPT-05).
    Manifest,
    /// As long as bytes keep coming (R-GEN-14).
    Blob,
    /// JSON of at most 64 KiB.
    Json,
    /// Form fields of at most 64 KiB (R-TKP-05).
    Form,
}

impl Endpoint {
    /// What the table says of it.
    pub fn facts(self) -> &'static Facts {
        &FACTS[self as usize]
    }
}

/// A path of the table, with who answers which method there.
struct PathEntry {
    router: &'static str,
    key: &'static str,
    answers: &'static [(Method, Endpoint)],
    allow: &'static str,
}

/// What a request turned out to ask for. Goes on through every layer, so that
/// refusals are traced and counted as answers are.
#[derive(Debug, Clone)]
pub struct Matched {
    /// The endpoint, where path and method name one.
    pub endpoint: Option<Endpoint>,
    pub route: Result<Route, Unroutable>,
}

/// Why a request reaches no service.
#[derive(Debug, Clone)]
pub enum Unroutable {
    /// Nothing has such a path.
    UnknownPath,
    /// The path is known, the method is not; these are.
    Method { allow: &'static str },
    /// A parameter in the path does not parse.
    Parameter(BadParameter),
}

/// A parameter of a path that does not parse, and why.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BadParameter {
    #[error(transparent)]
    Repository(#[from] RepositoryNameError),
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error(transparent)]
    Digest(#[from] DigestError),
    #[error(transparent)]
    Upload(#[from] UploadIdError),
    #[error(transparent)]
    Username(#[from] UsernameError),
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    #[error(transparent)]
    Token(#[from] TokenNumberError),
}

/// Finds the endpoint of a request and parses its parameters.
pub fn route(method: &Method, path: &str) -> Matched {
    let unroutable = |endpoint, why| Matched { endpoint, route: Err(why) };
    let path = decoded(path);
    path::lookup(&path, |entry, captures| match entry {
        None => unroutable(None, Unroutable::UnknownPath),
        Some(entry) => match entry.answers.iter().find(|(known, _)| known == method) {
            None => unroutable(None, Unroutable::Method { allow: entry.allow }),
            Some(&(_, endpoint)) => match Route::parse(endpoint, captures) {
                Ok(route) => Matched { endpoint: Some(endpoint), route: Ok(route) },
                Err(bad) => unroutable(Some(endpoint), Unroutable::Parameter(bad)),
            },
        },
    })
}

/// The path with its escapes decoded once. What is no UTF-8 then becomes a
/// character that no grammar here allows.
fn decoded(path: &str) -> Cow<'_, str> {
    if path.contains('%') { percent_decode_str(path).decode_utf8_lossy() } else { Cow::Borrowed(path) }
}
