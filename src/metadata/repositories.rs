use super::audit::{AuditAction, audit};
use super::cache::News;
use super::dialect::{Arg, Sql};
use super::pagination::limit;
use super::transaction::{Columns, Row, Tx};
use super::users::UserId;
use super::{Actor, Error, Metadata, Origin, Timestamp};
use crate::domain::{Namespace, RepositoryName, Role, Username, Visibility};

/// A repository's key; never used again, not even for one of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryId(pub(super) i64);

/// What a decision about a repository rests on: what is there, and who the
/// asker is in its namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The repository, if it exists.
    pub repository: Option<RepositoryFacts>,
    /// Whether its namespace is anybody's.
    pub claimed: bool,
    /// The asker's role in that namespace.
    pub role: Option<Role>,
    /// What new repositories of the namespace are, where it says so.
    pub default_visibility: Option<Visibility>,
}

/// A repository that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepositoryFacts {
    pub id: RepositoryId,
    pub visibility: Visibility,
    /// Who made it: its owner while a member of its namespace.
    pub creator: Option<UserId>,
}

/// A repository, as a list shows it.
#[derive(Debug, Clone)]
pub struct RepositoryRecord {
    pub id: RepositoryId,
    pub name: RepositoryName,
    pub visibility: Visibility,
    pub creator: Option<Username>,
    pub created_at: Timestamp,
}

/// For whom facts are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Asker {
    Nobody,
    User(UserId),
    /// A machine of the repository's own namespace.
    Robot,
}

impl Asker {
    /// As the actor of a push is judged.
    pub(super) fn of(actor: &Actor, repository: &RepositoryName) -> Self {
        match actor {
            Actor::User { id, .. } => Self::User(*id),
            Actor::Robot { namespace, .. } if namespace.as_str() == repository.namespace_str() => Self::Robot,
            Actor::Robot { .. } | Actor::Anonymous | Actor::System => Self::Nobody,
        }
    }

    fn user(self) -> Option<i64> {
        match self {
            Self::User(user) => Some(user.0),
            Self::Nobody | Self::Robot => None,
        }
    }
}

static FACTS: Sql = Sql::new(&["SELECT r.id, r.visibility, r.creator, n.name, n.default_visibility, m.role
     FROM (SELECT 1 AS one) q
     LEFT JOIN repositories r ON r.name = $1
     LEFT JOIN namespaces n ON n.name = $2
     LEFT JOIN members m ON m.namespace = $2 AND m.account = $3"]);

fn facts_args(repository: &RepositoryName, asker: Asker) -> [Arg<'_>; 3] {
    [repository.as_str().into(), repository.namespace_str().into(), asker.user().into()]
}

fn read_facts(row: Option<&Row>) -> Result<Facts, Error> {
    let Some(row) = row else {
        return Ok(Facts { repository: None, claimed: false, role: None, default_visibility: None });
    };
    let repository = match row.maybe_int(0)? {
        Some(id) => Some(RepositoryFacts {
            id: RepositoryId(id),
            visibility: row.parse(1, "visibility")?,
            creator: row.maybe_int(2)?.map(UserId),
        }),
        None => None,
    };
    Ok(Facts {
        repository,
        claimed: row.maybe_text(3)?.is_some(),
        default_visibility: row.maybe_parse(4, "visibility")?,
        role: row.maybe_parse(5, "role")?,
    })
}

/// The facts as this transaction sees them.
pub(super) async fn facts(tx: &mut Tx<'_>, repository: &RepositoryName, asker: Asker) -> Result<Facts, Error> {
    match tx.known_facts(repository, asker) {
        Some(known) => Ok(known),
        None => read_facts(tx.one(&FACTS, &facts_args(repository, asker)).await?.as_ref()),
    }
}

impl Facts {
    /// Whether it may be remembered. What the asker may not see is asked for each
    /// time, as what is not there is: so neither answers sooner than the other (I4).
    fn may_be_kept(&self, asker: Asker) -> bool {
        let sees = self.role.is_some() || asker == Asker::Robot;
        self.repository.is_some_and(|repository| sees || repository.visibility != Visibility::Private)
    }
}

static RECORD: Sql = Sql::new(&["SELECT r.id, r.name, r.visibility, u.name, r.created_at
     FROM repositories r LEFT JOIN users u ON u.id = r.creator WHERE r.name = $1"]);
static IN_NAMESPACE: Sql = Sql::new(&["SELECT r.id, r.name, r.visibility, u.name, r.created_at
     FROM repositories r LEFT JOIN users u ON u.id = r.creator
     WHERE r.namespace = $1 AND r.name > $2 ORDER BY r.name LIMIT $3"]);
static SET_VISIBILITY: Sql =
    Sql::new(&["UPDATE repositories SET visibility = $2, changed_at = $3 WHERE id = $1 RETURNING name"]);
/// Links last: references hold them, and they hold the blobs.
static DELETE: Sql = Sql::new(&[
    "DELETE FROM tags WHERE repository = $1",
    "DELETE FROM manifests WHERE repository = $1",
    "DELETE FROM repository_blobs WHERE repository = $1",
    "DELETE FROM repositories WHERE id = $1 RETURNING name",
]);

fn record(row: &Row) -> Result<RepositoryRecord, Error> {
    Ok(RepositoryRecord {
        id: RepositoryId(row.int(0)?),
        name: row.parse(1, "repository name")?,
        visibility: row.parse(2, "visibility")?,
        creator: row.maybe_parse(3, "username")?,
        created_at: row.time(4)?,
    })
}

impl Metadata {
    /// What a decision about that repository rests on, for that user or for
    /// somebody who is no user. On PostgreSQL up to two seconds old.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn facts(&self, repository: &RepositoryName, user: Option<UserId>) -> Result<Facts, Error> {
        self.facts_for(repository, user.map_or(Asker::Nobody, Asker::User)).await
    }

    /// The same for a machine of that namespace. It is no user and has no role,
    /// but what is in its own namespace it may be told as fast as a member.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn facts_for_robot(&self, repository: &RepositoryName, of: &Namespace) -> Result<Facts, Error> {
        let own = of.as_str() == repository.namespace_str();
        self.facts_for(repository, if own { Asker::Robot } else { Asker::Nobody }).await
    }

    async fn facts_for(&self, repository: &RepositoryName, asker: Asker) -> Result<Facts, Error> {
        let cache = &self.core.caches.facts;
        let key = (repository.clone(), asker);
        if let Some(known) = cache.get(&key) {
            return Ok(known);
        }
        let noted = cache.version(&key);
        let row = self.read_one("facts", &FACTS, &facts_args(repository, asker)).await?;
        let facts = read_facts(row.as_ref())?;
        if facts.may_be_kept(asker) {
            cache.insert(key, facts, noted);
        }
        Ok(facts)
    }

    /// The repository of that name.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn repository(&self, name: &RepositoryName) -> Result<Option<RepositoryRecord>, Error> {
        let row = self.read_one("repository", &RECORD, &[name.as_str().into()]).await?;
        row.as_ref().map(record).transpose()
    }

    /// The repositories of a namespace by name, those after `after`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn repositories(
        &self,
        namespace: &Namespace,
        after: Option<&RepositoryName>,
        count: usize,
    ) -> Result<Vec<RepositoryRecord>, Error> {
        let after = after.map_or("", RepositoryName::as_str);
        let args = [namespace.as_str().into(), after.into(), limit(count).into()];
        self.read("repositories", &IN_NAMESPACE, &args).await?.iter().map(record).collect()
    }

    /// Sets who may pull. `false` if there is no such repository.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn set_visibility(
        &self,
        repository: RepositoryId,
        visibility: Visibility,
        origin: Origin,
    ) -> Result<bool, Error> {
        self.write("set_visibility", (repository, visibility, origin), |tx, (repository, visibility, origin)| {
            Box::pin(async move {
                let args = [repository.0.into(), visibility.as_str().into(), tx.now.as_micros().into()];
                let Some(row) = tx.one(&SET_VISIBILITY, &args).await? else { return Ok(false) };
                tx.note(News::Facts);
                let target = format!("repository:{}", row.text(0)?);
                audit(tx, origin, AuditAction::RepositoryVisibility, &target, Some(visibility.as_str())).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Removes a repository and all it holds; its blobs stay where other
    /// repositories link them. `false` if there is no such repository.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn delete_repository(&self, repository: RepositoryId, origin: Origin) -> Result<bool, Error> {
        self.write("delete_repository", (repository, origin), |tx, (repository, origin)| {
            Box::pin(async move {
                let Some(row) = tx.one(&DELETE, &[repository.0.into()]).await? else { return Ok(false) };
                tx.note(News::Everything);
                let target = format!("repository:{}", row.text(0)?);
                audit(tx, origin, AuditAction::RepositoryDelete, &target, None).await?;
                Ok(true)
            })
        })
        .await
    }
}
