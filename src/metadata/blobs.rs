use super::{Error, Metadata, Origin, PushTarget, RepositoryId, Timestamp, Viewer};
use crate::domain::{Digest, ObjectName, RepositoryName};

/// A blob that a repository may serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// The object that holds its bytes.
    pub object: ObjectName,
    /// In bytes.
    pub size: u64,
    /// Its object was found short, missing or wrong; a push of the same bytes heals it.
    pub damaged: bool,
}

/// A blob as a repository links it.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) blob: Blob,
    pub(super) leased_until: Timestamp,
}

/// Verified, durable bytes that are to become a blob.
#[derive(Debug, Clone)]
pub struct NewBlob {
    pub digest: Digest,
    pub object: ObjectName,
    pub size: u64,
}

/// What became of a [`NewBlob`]: linked, in either case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobCommit {
    /// Its object is the blob's now.
    Kept,
    /// The digest had an object already. Where that one is healthy, the
    /// newcomer's file is to be dropped; where not, see [`Metadata::adopt_blob`].
    Present(Blob),
}

/// What became of the wish to delete a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteBlob {
    Deleted,
    /// The repository does not link it.
    Unknown,
    /// So many of the repository's manifests name it.
    Referenced(u64),
}

/// Where content may be looked for (R-MNT-04).
#[derive(Debug, Clone)]
pub enum Reach {
    /// Public repositories, and these: what a token's scopes let it pull.
    Public { and: Vec<RepositoryName> },
    /// Whatever the viewer may pull.
    All(Viewer),
}

impl Metadata {
    /// Makes verified, durable bytes a blob of the repository, which is made if need be.
    ///
    /// # Errors
    /// [`Error::Denied`]; [`Error::Conflict`] if a sweep has claimed the object;
    /// [`Error::OutcomeUnknown`], after which the object must not be removed.
    pub async fn commit_blob(&self, target: PushTarget, blob: NewBlob) -> Result<BlobCommit, Error> {
        todo!("{target:?} {blob:?}")
    }

    /// Puts a newcomer's object in the place of one that is missing, short or
    /// damaged, if the blob still names that one. `true`: the old file may go;
    /// `false`: somebody else healed it, the newcomer's may go.
    ///
    /// # Errors
    /// Those of the database; after [`Error::OutcomeUnknown`] neither may be removed.
    pub async fn adopt_blob(&self, newcomer: NewBlob, old: ObjectName) -> Result<bool, Error> {
        todo!("{newcomer:?} {old:?}")
    }

    /// The blob, if the repository links it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn blob(&self, repository: RepositoryId, digest: &Digest) -> Result<Option<Blob>, Error> {
        todo!("{repository:?} {digest:?}")
    }

    /// The same, asked anew: for a read whose file is gone.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn blob_now(&self, repository: RepositoryId, digest: &Digest) -> Result<Option<Blob>, Error> {
        todo!("{repository:?} {digest:?}")
    }

    /// Notes that this object does not hold the blob's bytes, so that the next
    /// push of them heals it. `false` if the blob is another object's by now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn mark_damaged(&self, digest: Digest, object: ObjectName) -> Result<bool, Error> {
        todo!("{digest:?} {object:?}")
    }

    /// Starts the lease of a linked blob anew, for somebody who may push and was
    /// told that it is here; writes only once half of it is spent. `false` if
    /// the repository does not link it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn renew_lease(&self, repository: RepositoryId, digest: &Digest) -> Result<bool, Error> {
        todo!("{repository:?} {digest:?}")
    }

    /// Links a blob of another repository, or renews its lease where it is linked
    /// already. `false` if neither links it: nothing was changed then.
    ///
    /// # Errors
    /// [`Error::Denied`], and those of the database.
    pub async fn mount_blob(
        &self,
        target: PushTarget,
        from: Option<RepositoryId>,
        digest: Digest,
    ) -> Result<bool, Error> {
        todo!("{target:?} {from:?} {digest:?}")
    }

    /// A repository within reach that links the blob, for a mount that names
    /// none. Looks at a bounded number of links, so that an answer's time tells
    /// little of who else has it (R-MNT-06); it may miss one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn find_blob(&self, digest: &Digest, reach: &Reach) -> Result<Option<RepositoryId>, Error> {
        todo!("{digest:?} {reach:?}")
    }

    /// Unlinks a blob, unless manifests of the repository name it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn delete_blob(
        &self,
        repository: RepositoryId,
        digest: Digest,
        origin: Origin,
    ) -> Result<DeleteBlob, Error> {
        todo!("{repository:?} {digest:?} {origin:?}")
    }
}
