use bytes::Bytes;

use super::error::Refusal;
use super::{Error, Metadata, Origin, PushTarget, RepositoryId};
use crate::domain::{Digest, Manifest, Reference, Tag};

/// A manifest that is to be stored.
#[derive(Debug, Clone)]
pub struct NewManifest {
    /// What the bytes hash to, by the algorithm they were pushed under.
    pub digest: Digest,
    /// As they were pushed.
    pub bytes: Bytes,
    /// What was read of them.
    pub manifest: Manifest,
    /// The tags that are to point to it.
    pub tags: Vec<Tag>,
    /// Whether what it names may be missing (a setting, off by default).
    pub sparse: bool,
}

/// A manifest as it was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredManifest {
    pub digest: Digest,
    /// The type it was pushed with.
    pub media_type: Box<str>,
    pub bytes: Bytes,
}

/// Why a manifest was not stored; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The repository has none of these, and the manifest names them.
    #[error("{} of what the manifest names is not here", .0.len())]
    Missing(Vec<Digest>),
    /// [`Error::Denied`] among them.
    #[error(transparent)]
    Database(#[from] Error),
}

impl Refusal for PutError {
    fn failure(&self) -> Option<&Error> {
        match self {
            Self::Database(error) => Some(error),
            Self::Missing(_) => None,
        }
    }
}

impl Metadata {
    /// Stores a manifest with its tags, its references and its entry among the
    /// referrers of its subject: all of it or nothing (I3).
    ///
    /// # Errors
    /// [`PutError`]; nothing was changed then, but for [`Error::OutcomeUnknown`].
    pub async fn put_manifest(&self, target: PushTarget, manifest: NewManifest) -> Result<(), PutError> {
        todo!("{target:?} {manifest:?}")
    }

    /// The manifest, if the repository has it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn manifest(
        &self,
        repository: RepositoryId,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>, Error> {
        todo!("{repository:?} {reference:?}")
    }

    /// Deletes a manifest and every tag that points to it. The blobs it named
    /// stay linked for a lease. `false` if the repository has no such manifest.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn delete_manifest(
        &self,
        repository: RepositoryId,
        digest: Digest,
        origin: Origin,
    ) -> Result<bool, Error> {
        todo!("{repository:?} {digest:?} {origin:?}")
    }
}
