//! The words of the wire: bodies, error bodies, headers, ranges, queries.
//!
//! What HTTP says and how a registry says it, apart from any decision: which
//! code a failure has is `services`' matter, who is let in `auth`'s. Knows
//! domain types only.

mod body;
mod credentials;
mod error;
pub mod headers;
mod origin;
mod query;
mod range;

pub use body::{Body, BodyError, BoxError};
pub use credentials::{Credentials, MalformedCredentials};
pub use error::{Cause, Challenge, ChallengeError, ErrorCode, ErrorReply};
pub use origin::{Origin, RequestId};
pub use query::Query;
pub use range::{ChunkRange, ChunkRangeError, WantedRange};

/// A request on its way through the layers.
pub type Request = http::Request<Body>;

/// A reply on its way back.
pub type Response = http::Response<Body>;
