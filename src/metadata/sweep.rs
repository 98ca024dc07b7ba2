//! What garbage collection asks of the database. A sweep goes on while pushes
//! do, page by page, each page a transaction of its own; the keys see to it
//! that a push that comes at the same moment wins (I5).

use super::cache::News;
use super::dialect::Sql;
use super::pagination::limit;
use super::transaction::Columns;
use super::{Error, Metadata, RepositoryId, Timestamp};
use crate::domain::{Digest, ObjectName};

/// What a page of a sweep did, and where the next begins, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept<T, C> {
    pub removed: Vec<T>,
    pub next: Option<C>,
}

/// A place among the links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkCursor {
    repository: i64,
    blob: i64,
}

/// The last of a page, found before anything goes.
static LINKS_END: Sql = Sql::new(&["SELECT repository, blob FROM repository_blobs
     WHERE (repository, blob) > ($1, $2) ORDER BY repository, blob LIMIT 1 OFFSET $3"]);
// OFFSET 0: asked of each row by index, instead of joined with the whole table.
static SWEEP_LINKS: Sql = Sql::new(&["DELETE FROM repository_blobs WHERE (repository, blob) > ($1, $2)
     AND (repository, blob) <= ($3, $4) AND leased_until < $5 AND NOT EXISTS
     (SELECT 1 FROM manifest_references r WHERE r.repository = repository_blobs.repository
      AND r.link = repository_blobs.blob LIMIT 1 OFFSET 0)
     RETURNING repository, (SELECT b.digest FROM blobs b WHERE b.id = repository_blobs.blob)"]);
static BLOBS_END: Sql = Sql::new(&["SELECT digest FROM blobs WHERE digest > $1 ORDER BY digest LIMIT 1 OFFSET $2"]);
static SWEEP_BLOBS: Sql = Sql::new(&["DELETE FROM blobs WHERE digest > $1 AND digest <= $2
     AND NOT EXISTS (SELECT 1 FROM repository_blobs l WHERE l.blob = blobs.id LIMIT 1 OFFSET 0)
     RETURNING digest, upload"]);
/// A claim that stands already is as good as a new one.
static CLAIM_ORPHAN: Sql = Sql::new(&[
    "INSERT INTO blobs (upload, digest, size, state, created_at, changed_at) VALUES ($1, NULL, 0, 'orphan', $2, $2)
     ON CONFLICT (upload) DO NOTHING",
    "SELECT state FROM blobs WHERE upload = $1",
]);
static FORGET_ORPHANS: Sql = Sql::new(&["DELETE FROM blobs WHERE id IN
     (SELECT id FROM blobs WHERE state = 'orphan' AND created_at < $1 LIMIT $2)"]);

/// After every digest there is.
const END: &str = "~";

impl Metadata {
    /// Unlinks, among up to `count` links after `after`, those whose lease is
    /// spent and that no manifest names.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn sweep_links(
        &self,
        after: Option<LinkCursor>,
        count: usize,
    ) -> Result<Swept<(RepositoryId, Digest), LinkCursor>, Error> {
        self.write("sweep_links", (after, count), |tx, (after, count)| {
            Box::pin(async move {
                let after = after.unwrap_or(LinkCursor { repository: 0, blob: 0 });
                let last = [after.repository.into(), after.blob.into(), (limit(*count) - 1).max(0).into()];
                let next = match tx.one(&LINKS_END, &last).await? {
                    Some(row) => Some(LinkCursor { repository: row.int(0)?, blob: row.int(1)? }),
                    None => None,
                };
                let end = next.unwrap_or(LinkCursor { repository: i64::MAX, blob: i64::MAX });
                let now = tx.now.as_micros();
                let args =
                    [after.repository.into(), after.blob.into(), end.repository.into(), end.blob.into(), now.into()];
                let mut removed = Vec::new();
                for row in tx.all(&SWEEP_LINKS, &args).await? {
                    let link = (RepositoryId(row.int(0)?), row.parse::<Digest>(1, "digest")?);
                    tx.note(News::Link(link.0, link.1.clone(), None));
                    removed.push(link);
                }
                Ok(Swept { removed, next })
            })
        })
        .await
    }

    /// Forgets, among up to `count` blobs after `after`, those that nothing
    /// links. Their objects are nobody's then, and may be removed.
    ///
    /// # Errors
    /// Those of the database. After [`Error::OutcomeUnknown`] no object may be
    /// removed: a row may still name it.
    pub async fn sweep_blobs(&self, after: Option<Digest>, count: usize) -> Result<Swept<ObjectName, Digest>, Error> {
        self.write("sweep_blobs", (after, count), |tx, (after, count)| {
            Box::pin(async move {
                let after = after.as_ref().map_or("", Digest::as_str);
                let last = [after.into(), (limit(*count) - 1).max(0).into()];
                let next = match tx.one(&BLOBS_END, &last).await? {
                    Some(row) => Some(row.parse::<Digest>(0, "digest")?),
                    None => None,
                };
                let until = next.as_ref().map_or(END, Digest::as_str);
                let mut removed = Vec::new();
                for row in tx.all(&SWEEP_BLOBS, &[after.into(), until.into()]).await? {
                    removed.push(ObjectName::new(&row.parse(0, "digest")?, row.parse(1, "UUID")?));
                }
                Ok(Swept { removed, next })
            })
        })
        .await
    }

    /// Claims an object that no blob is known to be, before its file is
    /// unlinked: a commit that comes too late fails then. `false` if it is a
    /// blob's, or of the upload that made one, and its file must stay.
    ///
    /// # Errors
    /// Those of the database; after any of them the file must stay.
    pub async fn claim_orphan(&self, object: ObjectName) -> Result<bool, Error> {
        self.write("claim_orphan", object, |tx, object| {
            Box::pin(async move {
                let upload = object.upload().to_string();
                let args = [upload.as_str().into(), tx.now.as_micros().into()];
                let row = tx.one(&CLAIM_ORPHAN, &args).await?;
                row.map_or(Ok(false), |row| Ok(row.text(0)? == "orphan"))
            })
        })
        .await
    }

    /// Forgets up to `count` claims of before `before`: older than any commit
    /// that may still come. How many it forgot.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn forget_orphans(&self, before: Timestamp, count: usize) -> Result<u64, Error> {
        self.write("forget_orphans", (before, count), |tx, (before, count)| {
            Box::pin(async move {
                let args = [before.as_micros().into(), limit(*count).into()];
                Ok(tx.run(&FORGET_ORPHANS, &args).await?.affected)
            })
        })
        .await
    }
}
