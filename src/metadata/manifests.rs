use super::audit::{AuditAction, audit};
use super::cache::News;
use super::dialect::{Arg, Backend, Sql};
use super::error::Refusal;
use super::pagination::json_rows;
use super::transaction::{Columns, Tx};
use super::{Error, Metadata, Origin, PushTarget, RepositoryId, Timestamp, push, referrers, tags};
use crate::domain::{Digest, Manifest, Reference, ReferenceKind, Tag};
use bytes::Bytes;

/// A manifest that is to be stored.
#[derive(Debug, Clone)]
pub struct NewManifest {
    /// What the bytes hash to, by the algorithm they were pushed under.
    pub digest: Digest,
    /// As they were pushed.
    pub bytes: Bytes,
    /// What was read of them.
    pub manifest: Manifest,
    /// The tags that are to point to it, each once.
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

const INSERT: &str = "INSERT INTO manifests
     (repository, digest, media_type, artifact_type, subject, created_at, content)
     VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (repository, digest) DO NOTHING
     RETURNING digest, 'stored'";
/// Each holds the link of its blob, where there is one: should that go meanwhile, the key says so, and the race is lost.
/// In the order in which a sweep takes them.
const INSERT_REFERENCES: &str = "INSERT INTO manifest_references (manifest, digest, kind, repository, link)
     SELECT m.id, e.value ->> 0, e.value ->> 1, $1, (SELECT l.blob FROM blobs b JOIN repository_blobs l ON l.blob = b.id
         WHERE b.digest = e.value ->> 0 AND l.repository = $1)
     FROM manifests m CROSS JOIN EACH($8) e WHERE m.repository = $1 AND m.digest = $2
     ORDER BY 5 ON CONFLICT (manifest, digest) DO NOTHING";
/// What is here neither as a blob nor, for a child, as a manifest. Asked last, of what holds by then; and not by the
/// index of all that is null in the repository.
const ABSENT: &str = "SELECT r.digest, r.kind FROM manifests m CROSS JOIN manifest_references r
     WHERE m.repository = $1 AND m.digest = $2 AND r.manifest = m.id AND COALESCE(r.link, 0) = 0
     AND NOT (r.kind = 'child' AND EXISTS
         (SELECT 1 FROM manifests c WHERE c.repository = $1 AND c.digest = r.digest))";
static PUT: Sql = Sql::new(&[INSERT, INSERT_REFERENCES, ABSENT]);
static PUT_TAGGED: Sql = Sql::new(&[INSERT, INSERT_REFERENCES, ABSENT, tags::INSERT_NEW, tags::LOG_MOVES, tags::MOVE]);
/// A blob on its way holds its repository's row. With this lock, all that came before are seen, and none comes
/// until the manifest is there and waits for it.
static LOCK_OUT_BLOBS: Sql = Sql::new(&["SELECT id FROM repositories WHERE id = $1 FOR UPDATE"]);
static TAGGED: Sql = Sql::new(&["SELECT digest FROM tags WHERE repository = $1 AND name = $2"]);
static EXISTS: Sql = Sql::new(&["SELECT 1 FROM manifests WHERE repository = $1 AND digest = $2"]);
static GET: Sql = Sql::new(&["SELECT media_type, content FROM manifests WHERE repository = $1 AND digest = $2"]);
/// Whoever was told that the blobs are here has a lease's time. All of them, not only those that nothing else
/// names: of two manifests that go at once, each would take the other for the one that stays.
static DELETE: Sql = Sql::new(&[
    "UPDATE repository_blobs SET leased_until = $3 WHERE repository = $1 AND leased_until < $3 AND blob IN
     (SELECT l.blob FROM manifests m CROSS JOIN manifest_references r CROSS JOIN repository_blobs l
      WHERE m.repository = $1 AND m.digest = $2 AND r.manifest = m.id AND l.repository = $1 AND l.blob = r.link
      ORDER BY l.blob FOR_UPDATE(l))",
    "DELETE FROM tags WHERE manifest = (SELECT m.id FROM manifests m WHERE m.repository = $1 AND m.digest = $2)
     RETURNING 'tag', name",
    "DELETE FROM manifests WHERE repository = $1 AND digest = $2
     RETURNING 'repository', (SELECT r.name FROM repositories r WHERE r.id = manifests.repository)",
]);

impl ReferenceKind {
    fn word(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::ForeignBlob => "foreign",
            Self::Child => "child",
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
        self.write("put_manifest", (target, manifest), |tx, (target, manifest)| {
            Box::pin(async move {
                let repository = push::repository(tx, target).await?;
                let is_new = put(tx, repository, manifest, &target.origin).await?;
                if let Some(subject) = manifest.manifest.subject.as_ref().filter(|_| is_new) {
                    referrers::insert(tx, repository, subject, manifest).await?;
                }
                Ok(())
            })
        })
        .await
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
        let tag = match reference {
            Reference::Digest(digest) => return self.manifest_by_digest(repository, digest).await,
            Reference::Tag(tag) => tag,
        };
        // Between the two questions a tag may move and its old manifest go; then the tag is asked anew.
        for attempt in 0..4 {
            let digest = match attempt {
                0 => self.tagged(repository, tag).await?,
                _ => self.tagged_now(repository, tag).await?,
            };
            let Some(digest) = digest else { return Ok(None) };
            // While a tag names it, the repository has it: the tag's key says so.
            let known = self.core.caches.manifests.get(&(repository, digest.clone()));
            if known.is_some() {
                return Ok(known);
            }
            let manifest = self.manifest_by_digest(repository, &digest).await?;
            if manifest.is_some() {
                return Ok(manifest);
            }
        }
        Ok(None)
    }

    async fn tagged(&self, repository: RepositoryId, tag: &Tag) -> Result<Option<Digest>, Error> {
        if self.core.backend == Backend::Postgres {
            return self.tagged_now(repository, tag).await;
        }
        let cache = &self.core.caches.tags;
        let key = (repository, tag.clone());
        if let Some(known) = cache.get(&key) {
            return Ok(Some(known));
        }
        let noted = cache.version(&key);
        let digest = self.tagged_now(repository, tag).await?;
        if let Some(digest) = &digest {
            cache.insert(key, digest.clone(), noted);
        }
        Ok(digest)
    }

    async fn tagged_now(&self, repository: RepositoryId, tag: &Tag) -> Result<Option<Digest>, Error> {
        let row = self.read_one("tag", &TAGGED, &[repository.0.into(), tag.as_str().into()]).await?;
        row.map(|row| row.parse(0, "digest")).transpose()
    }

    async fn manifest_by_digest(
        &self,
        repository: RepositoryId,
        digest: &Digest,
    ) -> Result<Option<StoredManifest>, Error> {
        let cache = &self.core.caches.manifests;
        let key = (repository, digest.clone());
        let args = [repository.0.into(), digest.as_str().into()];
        if let Some(known) = cache.get(&key) {
            // Bytes never change; that they are still this repository's, another replica may have ended.
            let here = self.core.backend == Backend::Sqlite
                || self.read_one("manifest_exists", &EXISTS, &args).await?.is_some();
            return Ok(here.then_some(known));
        }
        let noted = cache.version(&key);
        let Some(row) = self.read_one("manifest", &GET, &args).await? else { return Ok(None) };
        let manifest = StoredManifest {
            digest: digest.clone(),
            media_type: row.text(0)?.into(),
            bytes: Bytes::copy_from_slice(row.bytes(1)?),
        };
        cache.insert(key, manifest.clone(), noted);
        Ok(Some(manifest))
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
        let args = (repository, digest, origin, self.core.lease);
        self.write("delete_manifest", args, |tx, (repository, digest, origin, lease)| {
            Box::pin(async move {
                let leased_until = tx.now.after(*lease);
                delete(tx, *repository, digest, leased_until, origin).await
            })
        })
        .await
    }
}

/// Whether the repository had no such manifest. One that it has stays as it is, its media type too, whatever it is called
/// this time (R-MPT-16).
async fn put(tx: &mut Tx<'_>, repository: RepositoryId, new: &NewManifest, origin: &Origin) -> Result<bool, PutError> {
    let references = &new.manifest.references;
    let references = json_rows(references.iter().map(|reference| [reference.digest.as_str(), reference.kind.word()]));
    let names = json_rows(new.tags.iter().map(|tag| [tag.as_str()]));
    let (actor, address) = (origin.actor.label(), origin.address.map(|address| address.to_string()));
    let args: [Arg<'_>; 13] = [
        repository.0.into(),
        new.digest.as_str().into(),
        new.manifest.media_type.as_str().into(),
        new.manifest.artifact_type.as_deref().into(),
        new.manifest.subject.as_ref().map(Digest::as_str).into(),
        tx.now.as_micros().into(),
        (&*new.bytes).into(),
        references.as_str().into(),
        names.as_str().into(),
        actor.as_str().into(),
        address.as_deref().into(),
        origin.request.as_deref().into(),
        AuditAction::TagMove.as_str().into(),
    ];
    let may_wait = new.sparse || new.manifest.references.iter().any(|named| named.kind == ReferenceKind::ForeignBlob);
    if may_wait && tx.backend() == Backend::Postgres {
        // What waits for a blob must not miss one that comes at this moment.
        tx.run(&LOCK_OUT_BLOBS, &args[..1]).await?;
    }
    let rows = match new.tags[..] {
        [] => tx.all(&PUT, &args[..8]).await?,
        _ => tx.all(&PUT_TAGGED, &args).await?,
    };
    let (mut is_new, mut missing) = (false, Vec::new());
    for row in &rows {
        match row.text(1)? {
            "stored" => is_new = true,
            // Layers that are left elsewhere (R-MPT-12).
            kind if kind == ReferenceKind::ForeignBlob.word() => {}
            _ => missing.push(row.parse(0, "digest")?),
        }
    }
    if !missing.is_empty() && !new.sparse {
        return Err(PutError::Missing(missing));
    }
    let stored = StoredManifest {
        digest: new.digest.clone(),
        media_type: new.manifest.media_type.as_str().into(),
        // A slice of what was received would keep all of that for as long as it is cached.
        bytes: Bytes::copy_from_slice(&new.bytes),
    };
    tx.note(News::Manifest(repository, new.digest.clone(), is_new.then_some(stored)));
    for tag in &new.tags {
        tx.note(News::Tag(repository, tag.clone(), Some(new.digest.clone())));
    }
    Ok(is_new)
}

async fn delete(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    digest: &Digest,
    leased_until: Timestamp,
    origin: &Origin,
) -> Result<bool, Error> {
    let args = [repository.0.into(), digest.as_str().into(), leased_until.as_micros().into()];
    let rows = tx.all(&DELETE, &args).await?;
    let (mut tags, mut name) = (Vec::<Tag>::new(), None);
    for row in &rows {
        match row.text(0)? {
            "tag" => tags.push(row.parse(1, "tag")?),
            _ => name = Some(row.text(1)?.to_owned()),
        }
    }
    let Some(name) = name else { return Ok(false) };
    tx.note(News::Manifest(repository, digest.clone(), None));
    for tag in tags {
        let target = format!("tag:{name}:{tag}");
        audit(tx, origin, AuditAction::TagDelete, &target, Some(&format!("with its manifest {digest}"))).await?;
        tx.note(News::Tag(repository, tag, None));
    }
    // Their leases have changed, but what the caches say of them is only too short.
    audit(tx, origin, AuditAction::ManifestDelete, &format!("manifest:{name}@{digest}"), None).await?;
    Ok(true)
}
