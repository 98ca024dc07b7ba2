use super::cache::News;
use super::dialect::Sql;
use super::error::Refusal;
use super::pagination::json_rows;
use super::transaction::{Columns, Tx};
use super::{Error, Metadata, PushTarget, RepositoryId, Viewer, push};
use crate::domain::{Digest, RepositoryName};

/// Where content may be looked for (R-MNT-04).
#[derive(Debug, Clone)]
pub enum Reach {
    /// Public repositories, and these: what a token's scopes let it pull.
    Public { and: Vec<RepositoryName> },
    /// Whatever the viewer may pull.
    All(Viewer),
}

/// Links what is linked at the source or here already; a damaged blob is better pushed again. What waited for the blob
/// takes its link only where there is one: else the key would say of any digest whether the registry has it (I4).
static MOUNT: Sql = Sql::new(&[
    "INSERT INTO repository_blobs (repository, blob, leased_until)
     SELECT $1, b.id, $4 FROM blobs b WHERE b.digest = $3 AND b.state = 'good' AND
     (EXISTS (SELECT 1 FROM repository_blobs l WHERE l.blob = b.id AND l.repository = $1)
      OR EXISTS (SELECT 1 FROM repository_blobs l WHERE l.blob = b.id AND l.repository = $2))
     ON CONFLICT (repository, blob) DO UPDATE SET leased_until = excluded.leased_until RETURNING blob",
    "UPDATE manifest_references VIA(manifest_references_unheld)
     SET link = (SELECT l.blob FROM blobs b JOIN repository_blobs l ON l.blob = b.id
         WHERE b.digest = $3 AND l.repository = $1)
     WHERE repository = $1 AND digest = $3 AND link IS NULL",
]);

/// At most so many links are looked at, whoever they belong to. Were there more, or
/// were what the viewer may read looked through instead, it would take longer the
/// more of it there is, and longer for a blob that exists: a watch would tell who
/// has what (R-MNT-06). Whoever reads only later ones pushes the bytes again, or
/// names one of them.
macro_rules! some_links {
    () => {
        "(SELECT repository FROM repository_blobs WHERE blob = (SELECT b.id FROM blobs b WHERE b.digest = $1)
         ORDER BY repository LIMIT 64)"
    };
}

// From the few names to their links, never from all links to their names: OFFSET 0 keeps the planners from turning it.
static FIND_PUBLIC: Sql = Sql::new(&[concat!(
    "SELECT r.id FROM ",
    some_links!(),
    " l JOIN repositories r ON r.id = l.repository WHERE r.visibility = 'public'
     UNION ALL
     SELECT n.id FROM (SELECT (SELECT r.id FROM repositories r WHERE r.name = e.value ->> 0 AND EXISTS
         (SELECT 1 FROM repository_blobs l WHERE l.repository = r.id
          AND l.blob = (SELECT b.id FROM blobs b WHERE b.digest = $1) LIMIT 1 OFFSET 0)) AS id
         FROM EACH($2) e) n
     WHERE n.id IS NOT NULL LIMIT 1"
)]);
static FIND_VISIBLE: Sql = Sql::new(&[concat!(
    "SELECT r.id FROM ",
    some_links!(),
    " l JOIN repositories r ON r.id = l.repository WHERE $2 = 1 OR r.visibility = 'public'
     OR (r.visibility = 'internal' AND $3 = 1) OR r.namespace = $4
     OR EXISTS (SELECT 1 FROM members m WHERE m.namespace = r.namespace AND m.account = $5) LIMIT 1"
)]);

/// Why nothing was mounted: the change is undone, and with it a repository that was made for it.
enum MountError {
    NotThere,
    Database(Error),
}

impl From<Error> for MountError {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl Refusal for MountError {
    fn failure(&self) -> Option<&Error> {
        match self {
            Self::Database(error) => Some(error),
            Self::NotThere => None,
        }
    }
}

impl Metadata {
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
        let args = (target, from, digest, self.core.lease);
        let mounted = self.write("mount_blob", args, |tx, (target, from, digest, lease)| {
            Box::pin(async move {
                let leased_until = tx.now.after(*lease).as_micros();
                mount(tx, target, *from, digest, leased_until).await
            })
        });
        match mounted.await {
            Ok(()) => Ok(true),
            Err(MountError::NotThere) => Ok(false),
            Err(MountError::Database(error)) => Err(error),
        }
    }

    /// A repository within reach that links the blob, for a mount that names
    /// none. Of those that nobody named it looks at the first 64 links only, so that
    /// an answer's time tells little of who else has it (R-MNT-06), and misses later ones.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn find_blob(&self, digest: &Digest, reach: &Reach) -> Result<Option<RepositoryId>, Error> {
        let digest = digest.as_str();
        let row = match reach {
            Reach::Public { and } => {
                let names = json_rows(and.iter().map(|name| [name.as_str()]));
                self.read_one("find_blob", &FIND_PUBLIC, &[digest.into(), names.as_str().into()]).await?
            }
            Reach::All(viewer) => {
                let (user, namespace) = match viewer {
                    Viewer::User(user) => (Some(user.0), None),
                    Viewer::Robot(namespace) => (None, Some(namespace.as_str())),
                    Viewer::Anonymous | Viewer::Admin => (None, None),
                };
                let args = [
                    digest.into(),
                    (*viewer == Viewer::Admin).into(),
                    (*viewer != Viewer::Anonymous).into(),
                    namespace.into(),
                    user.into(),
                ];
                self.read_one("find_blob", &FIND_VISIBLE, &args).await?
            }
        };
        row.map(|row| row.int(0).map(RepositoryId)).transpose()
    }
}

async fn mount(
    tx: &mut Tx<'_>,
    target: &PushTarget,
    from: Option<RepositoryId>,
    digest: &Digest,
    leased_until: i64,
) -> Result<(), MountError> {
    let repository = push::repository(tx, target).await?;
    let from = from.map(|from| from.0);
    let args = [repository.0.into(), from.into(), digest.as_str().into(), leased_until.into()];
    if tx.one(&MOUNT, &args).await?.is_none() {
        return Err(MountError::NotThere);
    }
    tx.note(News::Link(repository, digest.clone(), None));
    Ok(())
}
