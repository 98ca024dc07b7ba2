use std::fmt;
use std::sync::Arc;

use super::audit::{AuditAction, audit};
use super::dialect::Sql;
use super::repositories::{Asker, facts};
use super::transaction::{Columns, Tx};
use super::{Error, Facts, Origin, RepositoryId};
use crate::domain::{RepositoryName, Visibility};

/// Where a push goes, who pushes, and by what rule they may.
///
/// The rule was asked before; it is asked again inside the transaction that
/// accepts the content, with what that transaction sees. So of two who push the
/// first blob of a namespace one gets it, and the other is denied.
#[derive(Clone)]
pub struct PushTarget {
    pub repository: RepositoryName,
    pub origin: Origin,
    /// What a new repository is, where its namespace does not say.
    pub visibility: Visibility,
    /// Whether these facts let the origin's actor push. `false` is [`Error::Denied`].
    pub judge: Arc<dyn Fn(&Facts) -> bool + Send + Sync>,
}

impl fmt::Debug for PushTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushTarget")
            .field("repository", &self.repository)
            .field("actor", &self.origin.actor)
            .finish_non_exhaustive()
    }
}

static CLAIM: Sql = Sql::new(&["INSERT INTO namespaces (name, owner, created_at) VALUES ($1, $2, $3)
     ON CONFLICT (name) DO NOTHING RETURNING name"]);
static OWN: Sql = Sql::new(&["INSERT INTO members (namespace, account, name, role, since)
     SELECT $1, u.id, u.name, 'owner', $3 FROM users u WHERE u.id = $2"]);
static CREATE: Sql =
    Sql::new(&["INSERT INTO repositories (name, namespace, visibility, creator, created_at, changed_at)
     VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (name) DO NOTHING RETURNING id"]);

/// The repository that is pushed to: made if it is not there, its namespace claimed if it is nobody's.
pub(super) async fn repository(tx: &mut Tx<'_>, target: &PushTarget) -> Result<RepositoryId, Error> {
    let asker = Asker::of(&target.origin.actor, &target.repository);
    // Each round ends the push or loses to somebody whose row the next one sees.
    loop {
        let facts = facts(tx, &target.repository, asker).await?;
        if !(target.judge)(&facts) {
            return Err(Error::Denied);
        }
        if let Some(repository) = facts.repository {
            return Ok(repository.id);
        }
        if !facts.claimed && !claim(tx, target).await? {
            continue;
        }
        if let Some(id) = create(tx, target, &facts).await? {
            return Ok(id);
        }
    }
}

/// Makes the namespace the pusher's. `false` if somebody else was faster.
async fn claim(tx: &mut Tx<'_>, target: &PushTarget) -> Result<bool, Error> {
    // Only a person can own a namespace; a robot's is there before the robot.
    let Some(user) = target.origin.actor.user() else { return Err(Error::Denied) };
    let (name, now) = (target.repository.namespace_str(), tx.now.as_micros());
    let args = [name.into(), user.0.into(), now.into()];
    if tx.one(&CLAIM, &args).await?.is_none() {
        return Ok(false);
    }
    tx.run(&OWN, &args).await?;
    audit(tx, &target.origin, AuditAction::NamespaceClaim, &format!("namespace:{name}"), None).await?;
    Ok(true)
}

/// Makes the repository. `None` if somebody else was faster.
async fn create(tx: &mut Tx<'_>, target: &PushTarget, facts: &Facts) -> Result<Option<RepositoryId>, Error> {
    let visibility = facts.default_visibility.unwrap_or(target.visibility).as_str();
    let args = [
        target.repository.as_str().into(),
        target.repository.namespace_str().into(),
        visibility.into(),
        target.origin.actor.user().map(|user| user.0).into(),
        tx.now.as_micros().into(),
    ];
    let Some(row) = tx.one(&CREATE, &args).await? else { return Ok(None) };
    let name = format!("repository:{}", target.repository);
    audit(tx, &target.origin, AuditAction::RepositoryCreate, &name, Some(visibility)).await?;
    row.int(0).map(|id| Some(RepositoryId(id)))
}
