use super::audit::{AuditAction, audit};
use super::cache::News;
use super::dialect::{Backend, Sql};
use super::pagination::limit;
use super::transaction::{Columns, Row, Tx};
use super::{Error, Metadata, Origin, PushTarget, RepositoryId, Timestamp, push};
use crate::domain::{Digest, ObjectName};

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

/// The digest alone is the arbiter: an object that a sweep has claimed is a conflict, and the commit fails.
/// The link's key holds the blob, so a sweep that came between makes this lose a race and run again.
static COMMIT: Sql = Sql::new(&[
    "INSERT INTO blobs (upload, digest, size, state, created_at, changed_at) VALUES ($1, $2, $3, 'good', $4, $4)
     ON CONFLICT (digest) DO NOTHING",
    "INSERT INTO repository_blobs (repository, blob, leased_until) SELECT $5, b.id, $6 FROM blobs b WHERE b.digest = $2
     ON CONFLICT (repository, blob) DO UPDATE SET leased_until = excluded.leased_until",
    "UPDATE manifest_references VIA(manifest_references_unheld)
     SET link = (SELECT b.id FROM blobs b WHERE b.digest = $2)
     WHERE repository = $5 AND digest = $2 AND link IS NULL",
    "SELECT upload, size, state FROM blobs WHERE digest = $2",
]);
static ADOPT: Sql = Sql::new(&["UPDATE blobs SET upload = $3, size = $4, state = 'good', changed_at = $5
     WHERE digest = $1 AND upload = $2 RETURNING digest"]);
static MARK_DAMAGED: Sql = Sql::new(&["UPDATE blobs SET state = 'damaged', changed_at = $3
     WHERE digest = $1 AND upload = $2 RETURNING digest"]);
static LIST: Sql = Sql::new(&["SELECT upload, size, state, digest FROM blobs WHERE digest > $1
     ORDER BY digest LIMIT $2"]);
static LINK: Sql = Sql::new(&["SELECT b.upload, b.size, b.state, l.leased_until
     FROM blobs b JOIN repository_blobs l ON l.blob = b.id WHERE b.digest = $2 AND l.repository = $1"]);
static RENEW: Sql = Sql::new(&["UPDATE repository_blobs SET leased_until = $3
     WHERE repository = $1 AND blob = (SELECT b.id FROM blobs b WHERE b.digest = $2) RETURNING blob"]);
static COUNT_REFERENCES: Sql = Sql::new(&["SELECT count(*) FROM manifest_references WHERE repository = $1
     AND link = (SELECT b.id FROM blobs b WHERE b.digest = $2)"]);
static UNLINK: Sql = Sql::new(&["DELETE FROM repository_blobs
     WHERE repository = $1 AND blob = (SELECT b.id FROM blobs b WHERE b.digest = $2)
     RETURNING (SELECT r.name FROM repositories r WHERE r.id = repository_blobs.repository)"]);

fn read_blob(row: &Row, digest: &Digest) -> Result<Blob, Error> {
    let object = ObjectName::new(digest, row.parse(0, "UUID")?);
    Ok(Blob { object, size: row.size(1)?, damaged: row.text(2)? != "good" })
}

impl Metadata {
    /// Makes verified, durable bytes a blob of the repository, which is made if need be.
    ///
    /// # Errors
    /// [`Error::Denied`]; [`Error::Conflict`] if a sweep has claimed the object;
    /// [`Error::OutcomeUnknown`], after which the object must not be removed.
    pub async fn commit_blob(&self, target: PushTarget, blob: NewBlob) -> Result<BlobCommit, Error> {
        let lease = self.core.lease;
        self.write("commit_blob", (target, blob, lease), |tx, (target, blob, lease)| {
            Box::pin(async move {
                let repository = push::repository(tx, target).await?;
                let leased_until = tx.now.after(*lease);
                commit(tx, repository, blob, leased_until).await
            })
        })
        .await
    }

    /// Puts a newcomer's object in the place of one that is missing, short or
    /// damaged, if the blob still names that one. `true`: the old file may go;
    /// `false`: somebody else healed it, the newcomer's may go.
    ///
    /// # Errors
    /// Those of the database; after [`Error::OutcomeUnknown`] neither may be removed.
    pub async fn adopt_blob(&self, newcomer: NewBlob, old: ObjectName) -> Result<bool, Error> {
        self.write("adopt_blob", (newcomer, old), |tx, (newcomer, old)| {
            Box::pin(async move {
                let (upload, old) = (newcomer.object.upload().to_string(), old.upload().to_string());
                let args = [
                    newcomer.digest.as_str().into(),
                    old.as_str().into(),
                    upload.as_str().into(),
                    stored_size(newcomer.size).into(),
                    tx.now.as_micros().into(),
                ];
                // Which repositories link it, nobody has looked up.
                tx.note(News::Links);
                Ok(tx.one(&ADOPT, &args).await?.is_some())
            })
        })
        .await
    }

    /// The blob, if the repository links it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn blob(&self, repository: RepositoryId, digest: &Digest) -> Result<Option<Blob>, Error> {
        Ok(self.link(repository, digest).await?.map(|link| link.blob))
    }

    /// The same, asked anew: for a read whose file is gone.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn blob_now(&self, repository: RepositoryId, digest: &Digest) -> Result<Option<Blob>, Error> {
        Ok(self.link_now(repository, digest).await?.map(|link| link.blob))
    }

    async fn link(&self, repository: RepositoryId, digest: &Digest) -> Result<Option<Link>, Error> {
        if self.core.backend == Backend::Postgres {
            return self.link_now(repository, digest).await;
        }
        let cache = &self.core.caches.links;
        let key = (repository, digest.clone());
        if let Some(known) = cache.get(&key) {
            return Ok(Some(known));
        }
        let noted = cache.version(&key);
        let link = self.link_now(repository, digest).await?;
        if let Some(link) = &link {
            cache.insert(key, link.clone(), noted);
        }
        Ok(link)
    }

    async fn link_now(&self, repository: RepositoryId, digest: &Digest) -> Result<Option<Link>, Error> {
        let row = self.read_one("blob", &LINK, &[repository.0.into(), digest.as_str().into()]).await?;
        row.map(|row| Ok(Link { blob: read_blob(&row, digest)?, leased_until: row.time(3)? })).transpose()
    }

    /// Notes that this object does not hold the blob's bytes, so that the next
    /// push of them heals it. `false` if the blob is another object's by now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn mark_damaged(&self, digest: Digest, object: ObjectName) -> Result<bool, Error> {
        self.write("mark_damaged", (digest, object), |tx, (digest, object)| {
            Box::pin(async move {
                tx.note(News::Links);
                let upload = object.upload().to_string();
                let args = [digest.as_str().into(), upload.as_str().into(), tx.now.as_micros().into()];
                Ok(tx.one(&MARK_DAMAGED, &args).await?.is_some())
            })
        })
        .await
    }

    /// Blobs in the order of their digests, whoever links them.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn blobs(&self, after: Option<&Digest>, count: usize) -> Result<Vec<(Digest, Blob)>, Error> {
        let args = [after.map_or("", Digest::as_str).into(), limit(count).into()];
        let rows = self.read("blobs", &LIST, &args).await?;
        let read = |row: &Row| {
            let digest: Digest = row.parse(3, "digest")?;
            let blob = read_blob(row, &digest)?;
            Ok((digest, blob))
        };
        rows.iter().map(read).collect()
    }

    /// Starts the lease of a linked blob anew, for somebody who may push and was
    /// told that it is here; writes only once half of it is spent. `false` if
    /// the repository does not link it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn renew_lease(&self, repository: RepositoryId, digest: &Digest) -> Result<bool, Error> {
        let lease = self.core.lease;
        let Some(link) = self.link(repository, digest).await? else { return Ok(false) };
        if link.leased_until >= Timestamp::now().after(lease / 2) {
            return Ok(true);
        }
        self.write("renew_lease", (repository, digest.clone(), lease), |tx, (repository, digest, lease)| {
            Box::pin(async move {
                tx.note(News::Link(*repository, digest.clone(), None));
                let leased_until = tx.now.after(*lease).as_micros();
                let args = [repository.0.into(), digest.as_str().into(), leased_until.into()];
                Ok(tx.one(&RENEW, &args).await?.is_some())
            })
        })
        .await
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
        self.write("delete_blob", (repository, digest, origin), |tx, (repository, digest, origin)| {
            Box::pin(async move {
                let args = [repository.0.into(), digest.as_str().into()];
                let count = tx.one(&COUNT_REFERENCES, &args).await?.map_or(Ok(0), |row| row.size(0))?;
                if count > 0 {
                    return Ok(DeleteBlob::Referenced(count));
                }
                // A manifest that came to name it meanwhile holds the link: the race is lost, and run again.
                let Some(row) = tx.one(&UNLINK, &args).await? else { return Ok(DeleteBlob::Unknown) };
                tx.note(News::Link(*repository, digest.clone(), None));
                let target = format!("blob:{}@{digest}", row.text(0)?);
                audit(tx, origin, AuditAction::BlobDelete, &target, None).await?;
                Ok(DeleteBlob::Deleted)
            })
        })
        .await
    }
}

async fn commit(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    blob: &NewBlob,
    leased_until: Timestamp,
) -> Result<BlobCommit, Error> {
    let upload = blob.object.upload().to_string();
    let args = [
        upload.as_str().into(),
        blob.digest.as_str().into(),
        stored_size(blob.size).into(),
        tx.now.as_micros().into(),
        repository.0.into(),
        leased_until.as_micros().into(),
    ];
    let present = match tx.one(&COMMIT, &args).await? {
        Some(row) => read_blob(&row, &blob.digest)?,
        // It was there already, and swept before the link could hold it.
        None => return Err(Error::lost_race()),
    };
    let link = Link { blob: present.clone(), leased_until };
    tx.note(News::Link(repository, blob.digest.clone(), Some(link)));
    Ok(if present.object == blob.object { BlobCommit::Kept } else { BlobCommit::Present(present) })
}

/// No file is so large that it matters.
fn stored_size(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

#[cfg(test)]
static SET_LEASES: Sql = Sql::new(&["UPDATE repository_blobs SET leased_until = $1"]);

#[cfg(test)]
impl Metadata {
    /// Until when a link stays although no manifest names it.
    pub(super) async fn leased_until(&self, repository: RepositoryId, digest: &Digest) -> Timestamp {
        self.link_now(repository, digest).await.unwrap().unwrap().leased_until
    }

    /// As if time had passed: all leases end then.
    pub(super) async fn set_leases(&self, until: Timestamp) {
        let set: Result<(), Error> = self
            .write("set_leases", until, |tx, until| {
                Box::pin(async move {
                    tx.note(News::Links);
                    tx.run(&SET_LEASES, &[until.as_micros().into()]).await.map(drop)
                })
            })
            .await;
        set.unwrap();
    }
}
