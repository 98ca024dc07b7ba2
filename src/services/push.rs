use super::{Call, Error};
use crate::auth::{Access, Auth, CheckError, Refusal};
use crate::domain::{Action, Actions, Digest, ObjectName, RepositoryName, Scope, Visibility};
use crate::failpoint::failpoint;
use crate::metadata;
use crate::metadata::{BlobCommit, Metadata, NewBlob, PushTarget};
use crate::store;
use crate::store::{BlobStore, Stored};

/// What pushing goes by.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Of repositories that a push creates, where their namespace has no default of its own.
    pub visibility: Visibility,
}

/// Makes content part of a repository, creating it, and claiming its namespace,
/// in the same transaction (R-UPL-04, R-MPT-20).
#[derive(Clone)]
pub struct Push {
    auth: Auth,
    metadata: Metadata,
    store: store::Filesystem,
    options: Options,
}

impl Push {
    /// Links what the store holds in the database.
    pub fn new(auth: Auth, metadata: Metadata, store: store::Filesystem, options: Options) -> Self {
        Self { auth, metadata, store, options }
    }

    /// Where a push of this call goes. Its transaction judges the caller again:
    /// who loses the race for a namespace may not push to it.
    pub(super) fn target(&self, call: &Call, repository: &RepositoryName) -> PushTarget {
        PushTarget {
            repository: repository.clone(),
            origin: call.audit_origin(),
            visibility: self.options.visibility,
            judge: self.auth.judge(&call.caller, repository),
        }
    }

    /// Links a durable object. Where the digest was there already, the newcomer's
    /// file goes after the transaction committed; or it replaces a file that is
    /// missing, short or damaged: a re-push heals.
    ///
    /// # Errors
    /// [`Error::Denied`] for who may no longer push there. A file is removed only
    /// where it is certain that no row names it.
    pub(super) async fn link(&self, call: &Call, repository: &RepositoryName, stored: Stored) -> Result<(), Error> {
        let target = self.target(call, repository);
        let blob = NewBlob { object: stored.object, digest: stored.digest, size: stored.size };
        failpoint("push.stored").map_err(store::Error::from)?;
        let present = match self.metadata.commit_blob(target, blob.clone()).await {
            Ok(BlobCommit::Kept) => return Ok(()),
            Ok(BlobCommit::Present(present)) => present,
            Err(error) => {
                // Closed in the middle of it, nobody has seen how it ended.
                if !matches!(error, metadata::Error::OutcomeUnknown(_) | metadata::Error::Closed) {
                    self.remove(&blob.object).await;
                }
                return Err(error.into());
            }
        };
        failpoint("push.linked").map_err(store::Error::from)?;
        let healthy = !present.damaged && self.store.size(&present.object).await? == Some(present.size);
        if !healthy && self.metadata.adopt_blob(blob.clone(), present.object.clone()).await? {
            tracing::warn!(digest = %blob.digest, "a push replaced a damaged or missing blob");
            failpoint("push.adopted").map_err(store::Error::from)?;
            self.remove(&present.object).await;
        } else {
            self.remove(&blob.object).await;
        }
        Ok(())
    }

    /// No row names this file: it may go. If it cannot, it is an orphan that a sweep finds.
    async fn remove(&self, object: &ObjectName) {
        let removed = match failpoint("push.superfluous") {
            Ok(()) => self.store.delete(object).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = removed {
            tracing::warn!(%object, %error, "a superfluous file was left to the sweep");
        }
    }

    /// Mounts a blob that the caller may read somewhere: from the repository that
    /// the query names, or from any (R-MNT-03, R-MNT-04). Whether that happened;
    /// it is never an error that it did not (R-MNT-02).
    ///
    /// # Errors
    /// [`Error::Refused`] where another token would make it happen (R-MNT-05).
    pub(super) async fn mount(&self, call: &Call, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        let from = match call.query.get("from") {
            Some(text) => match text.parse::<RepositoryName>() {
                Ok(from) => Some(from),
                Err(_) => return Ok(false),
            },
            None => None,
        };
        // Where there is no source, what is linked here already still counts (R-MNT-07).
        let source = match from {
            Some(from) => match self.auth.check(&call.caller, Access::Pull, &from).await {
                Ok(permit) => permit.repository.map(|found| found.id),
                Err(CheckError::Refused(refusal @ Refusal::Challenge { insufficient_scope: true })) => {
                    // No token helps where there is nothing: clients also name repositories of other registries.
                    let facts = self.metadata.facts(&from, call.caller.user_id()).await?;
                    if facts.repository.is_some() {
                        let scope = mount_scopes(repository, &from);
                        return Err(Error::Refused { refusal, scope, repository: Some(repository.clone()) });
                    }
                    None
                }
                Err(CheckError::Refused(_)) => None,
                Err(CheckError::Metadata(error)) => return Err(error.into()),
            },
            None => {
                let reach = self.auth.mountable(&call.caller).await?;
                self.metadata.find_blob(digest, &reach).await?
            }
        };
        Ok(self.metadata.mount_blob(self.target(call, repository), source, digest.clone()).await?)
    }
}

/// The two scopes that a mount needs, joined as in a challenge (R-CHL-06).
pub(super) fn mount_scopes(repository: &RepositoryName, from: &RepositoryName) -> String {
    let push: Actions = [Action::Pull, Action::Push].into_iter().collect();
    let target = Scope::repository(repository.clone(), push);
    let source = Scope::repository(from.clone(), Action::Pull.into());
    format!("{target} {source}")
}
