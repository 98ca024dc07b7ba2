//! What the registry does: one file per resource, a typed request in, a typed
//! reply out.
//!
//! Every request that arrives here was routed, its parameters are parsed and its
//! caller may do what the endpoint does; what a service still judges is what only
//! it can see, such as the source of a mount, or a race for a namespace. Each
//! holds what it needs and no other state. Headers and status stand beside each
//! reply; which code a failure has, in [`Error`].
//!
//! A service's method is also what the OpenAPI document (`openapi`) knows of its
//! endpoint: the types it takes and gives describe themselves.

mod access_tokens;
mod audit;
mod blobs;
mod call;
mod catalog;
mod error;
mod health;
mod manifests;
mod members;
mod multipart;
mod namespaces;
mod openapi;
mod page;
mod ping;
mod push;
mod referrers;
mod reply;
mod repositories;
mod robots;
mod secrets;
mod sessions;
mod tags;
mod tokens;
mod uploads;
mod users;
mod words;

use crate::protocol::Response;

pub use access_tokens::AccessTokens;
pub use audit::Audit;
pub use blobs::Blobs;
pub use call::Call;
pub use catalog::Catalog;
pub use error::Error;
pub use health::{Health, Probe};
pub use manifests::{Manifests, Options as ManifestsOptions};
pub use members::Members;
pub use namespaces::Namespaces;
pub use openapi::Openapi;
pub use ping::Ping;
pub use push::{Options as PushOptions, Push};
pub use referrers::Referrers;
pub use repositories::Repositories;
pub use robots::Robots;
pub use sessions::Sessions;
pub use tags::Tags;
pub use tokens::Tokens;
pub use uploads::Uploads;
pub use users::Users;

/// Something that knows how it is said in HTTP.
pub trait IntoResponse {
    /// Status, headers and body.
    fn into_response(self) -> Response;
}

/// What a service answered, as a response.
pub fn answer<T: IntoResponse, E: IntoResponse>(result: Result<T, E>) -> Response {
    result.map_or_else(IntoResponse::into_response, IntoResponse::into_response)
}
