//! All SQL: what exists, whose it is, and what names it.
//!
//! The database is the truth about what exists; the store only holds bytes. One
//! SQL text serves SQLite and PostgreSQL, and what truly differs is named in
//! `dialect`. What keys and checks can keep true, they keep true: a manifest's
//! reference to a blob is a foreign key to the repository's link to it, and the
//! link is one to the blob, so that no race of a push with a sweep is decided by
//! a query that may be stale.
//!
//! Every change is a function of a transaction (`change`). An acknowledged one
//! is durable; on SQLite the changes that wait at the same time share one
//! commit. A change that needs leave takes a [`PushTarget`] and judges once
//! more inside its transaction, so whoever loses the race for a namespace is
//! denied.
//!
//! What is asked on every pull is remembered (`cache`) wherever each change is
//! seen: on SQLite that pull runs no SQL at all; on PostgreSQL content is asked
//! for each time, and only who may do what may be two seconds old.
//!
//! What we gave up: compile-time checked queries (they need one database at
//! build time, and know nothing of two), and more than one process that serves
//! from the same SQLite file.

mod audit;
mod blobs;
mod cache;
mod catalog;
mod change;
mod clock;
mod connect;
mod dialect;
mod error;
mod manifests;
mod members;
mod migrate;
mod mounts;
mod namespaces;
mod open;
mod origin;
mod pagination;
mod push;
mod readers;
mod referrers;
mod repositories;
mod settings;
mod sqlite;
mod sweep;
mod tags;
mod tokens;
mod transaction;
mod user_changes;
mod users;

pub use audit::{AuditAction, AuditEntry, AuditFilter, AuditRecord, Outcome};
pub use blobs::{Blob, BlobCommit, DeleteBlob, NewBlob};
pub use catalog::Viewer;
pub use clock::Timestamp;
pub use connect::OpenError;
pub use dialect::Backend;
pub use error::Error;
pub use manifests::{NewManifest, PutError, StoredManifest};
pub use members::{Member, MemberChange};
pub use mounts::Reach;
pub use namespaces::{ClaimError, NamespaceRecord};
pub use open::{Metadata, Options};
pub use origin::{Actor, Origin};
pub use push::PushTarget;
pub use referrers::ReferrerPage;
pub use repositories::{Facts, RepositoryFacts, RepositoryId, RepositoryRecord};
pub use sweep::{LinkCursor, Swept};
pub use tags::TagNames;
pub use tokens::{AccessToken, CreateTokenError, NewToken, TokenHash, TokenId, TokenKind, TokenOwner};
pub use user_changes::{ChangeUserError, UserChange};
pub use users::{Account, CreateUserError, Credentials, NewUser, PasswordHash, UserId, UserRecord};

#[cfg(test)]
mod tests;
