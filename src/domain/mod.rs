//! The words of a registry, each built only by parsing.
//!
//! A value of one of these types is proof that its text was checked, so no
//! other room checks it again and none passes a bare `String` around. Grammar,
//! limits and source are in each type's doc comment; which error code a client
//! reads for a text that does not parse is `protocol`'s matter, not decided
//! here. No I/O, no HTTP, no clock. Depends on nothing else in the crate.

mod byte_range;
mod digest;
mod manifest;
mod media_type;
mod namespace;
mod object_name;
mod reference;
mod repository_name;
mod role;
mod scope;
mod tag;
mod token_name;
mod token_number;
mod upload_id;
mod username;
mod visibility;

pub use byte_range::ByteRange;
pub use digest::{Algorithm, Digest, DigestError};
pub use manifest::{Annotations, Manifest, ManifestError, ManifestKind, ReferenceKind, Referenced};
pub use media_type::{MediaType, MediaTypeError};
pub use namespace::{Namespace, NamespaceError};
pub use object_name::{ObjectName, ObjectNameError};
pub use reference::{Reference, ReferenceError};
pub use repository_name::{RepositoryName, RepositoryNameError};
pub use role::{Role, RoleError};
pub use scope::{Action, Actions, Grant, GrantError, Resource, Scope, ScopeError};
pub use tag::{Tag, TagError};
pub use token_name::{TokenName, TokenNameError};
pub use token_number::{TokenNumber, TokenNumberError};
pub use upload_id::{UploadId, UploadIdError};
pub use username::{Username, UsernameError};
pub use visibility::{Visibility, VisibilityError};
