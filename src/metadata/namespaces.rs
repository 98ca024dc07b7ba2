use super::audit::{AuditAction, audit};
use super::cache::News;
use super::dialect::{Arg, Sql};
use super::error::Refusal;
use super::pagination::limit;
use super::transaction::{Columns, Row, Tx};
use super::{Error, Metadata, Origin, Timestamp, UserId};
use crate::domain::{Namespace, Role, Username, Visibility};

/// A namespace that is somebody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceRecord {
    pub name: Namespace,
    /// Whose it is; nobody's but the admins' once that user is deleted.
    pub owner: Option<Username>,
    /// What new repositories in it are; where it says nothing, the registry's default.
    pub default_visibility: Option<Visibility>,
    pub created_at: Timestamp,
}

/// Why a namespace was not claimed or handed over.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    #[error("the namespace is claimed already")]
    Taken,
    #[error("there is no such namespace")]
    UnknownNamespace,
    #[error("there is no such user")]
    UnknownUser,
    #[error(transparent)]
    Database(#[from] Error),
}

impl Refusal for ClaimError {
    fn failure(&self) -> Option<&Error> {
        match self {
            Self::Database(error) => Some(error),
            Self::Taken | Self::UnknownNamespace | Self::UnknownUser => None,
        }
    }
}

macro_rules! select {
    ($rest:literal) => {
        Sql::new(&[concat!(
            "SELECT n.name, u.name, n.default_visibility, n.created_at
             FROM namespaces n LEFT JOIN users u ON u.id = n.owner ",
            $rest
        )])
    };
}

static GET: Sql = select!("WHERE n.name = $1");
static LIST: Sql = select!("WHERE n.name > $1 ORDER BY n.name LIMIT $2");
static LIST_OF_MEMBER: Sql = select!(
    "JOIN members m ON m.namespace = n.name AND m.account = $3
     WHERE m.namespace > $1 ORDER BY m.namespace LIMIT $2"
);
static ROLE: Sql = Sql::new(&["SELECT role FROM members WHERE namespace = $1 AND account = $2"]);
/// Locked, so that the user does not go meanwhile.
pub(super) static USER_NAME: Sql = Sql::new(&["SELECT name FROM users WHERE id = $1 FOR_SHARE(users)"]);
static CLAIM: Sql = Sql::new(&["INSERT INTO namespaces (name, owner, created_at) VALUES ($1, $2, $3)
     ON CONFLICT (name) DO NOTHING RETURNING name"]);
static HAND_OVER: Sql = Sql::new(&["UPDATE namespaces SET owner = $2 WHERE name = $1 RETURNING name"]);
static OWN: Sql = Sql::new(&["INSERT INTO members (namespace, account, name, role, since)
     SELECT $1, u.id, u.name, 'owner', $3 FROM users u WHERE u.id = $2
     ON CONFLICT (namespace, account) DO UPDATE SET role = 'owner'"]);
static SET_DEFAULT: Sql = Sql::new(&["UPDATE namespaces SET default_visibility = $2 WHERE name = $1 RETURNING name"]);

fn record(row: &Row) -> Result<NamespaceRecord, Error> {
    Ok(NamespaceRecord {
        name: row.parse(0, "namespace")?,
        owner: row.maybe_parse(1, "username")?,
        default_visibility: row.maybe_parse(2, "visibility")?,
        created_at: row.time(3)?,
    })
}

impl Metadata {
    /// The namespace, if it is anybody's.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn namespace(&self, name: &Namespace) -> Result<Option<NamespaceRecord>, Error> {
        let row = self.read_one("namespace", &GET, &[name.as_str().into()]).await?;
        row.as_ref().map(record).transpose()
    }

    /// The user's role in the namespace.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn role(&self, namespace: &Namespace, user: UserId) -> Result<Option<Role>, Error> {
        let row = self.read_one("role", &ROLE, &[namespace.as_str().into(), user.0.into()]).await?;
        row.map(|row| row.parse(0, "role")).transpose()
    }

    /// Namespaces by name, those after `after`: of that member only, where one is named.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn namespaces(
        &self,
        member: Option<UserId>,
        after: Option<&Namespace>,
        count: usize,
    ) -> Result<Vec<NamespaceRecord>, Error> {
        let (after, count): (Arg<'_>, _) = (after.map_or("", Namespace::as_str).into(), limit(count).into());
        let rows = match member {
            Some(member) => self.read("namespaces", &LIST_OF_MEMBER, &[after, count, member.0.into()]).await?,
            None => self.read("namespaces", &LIST, &[after, count]).await?,
        };
        rows.iter().map(record).collect()
    }

    /// Gives an unclaimed namespace to a user.
    ///
    /// # Errors
    /// [`ClaimError`]; nothing was changed then.
    pub async fn claim_namespace(&self, name: Namespace, owner: UserId, origin: Origin) -> Result<(), ClaimError> {
        self.write("claim_namespace", (name, owner, origin), |tx, (name, owner, origin)| {
            Box::pin(async move {
                let user = user_name(tx, *owner).await?;
                let args = [name.as_str().into(), owner.0.into(), tx.now.as_micros().into()];
                if tx.one(&CLAIM, &args).await?.is_none() {
                    return Err(ClaimError::Taken);
                }
                own(tx, name, *owner).await?;
                let (target, detail) = (format!("namespace:{name}"), format!("for user:{user}"));
                audit(tx, origin, AuditAction::NamespaceClaim, &target, Some(&detail)).await?;
                Ok(())
            })
        })
        .await
    }

    /// Hands a namespace over. Whoever had it stays a member, as an owner who can
    /// now be removed like any other.
    ///
    /// # Errors
    /// [`ClaimError`]; nothing was changed then.
    pub async fn transfer_namespace(&self, name: Namespace, to: UserId, origin: Origin) -> Result<(), ClaimError> {
        self.write("transfer_namespace", (name, to, origin), |tx, (name, to, origin)| {
            Box::pin(async move {
                let user = user_name(tx, *to).await?;
                if tx.one(&HAND_OVER, &[name.as_str().into(), to.0.into()]).await?.is_none() {
                    return Err(ClaimError::UnknownNamespace);
                }
                own(tx, name, *to).await?;
                let (target, detail) = (format!("namespace:{name}"), format!("to user:{user}"));
                audit(tx, origin, AuditAction::NamespaceTransfer, &target, Some(&detail)).await?;
                Ok(())
            })
        })
        .await
    }

    /// Sets what new repositories in the namespace are. `false` if nobody has claimed it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn set_default_visibility(
        &self,
        name: Namespace,
        visibility: Option<Visibility>,
        origin: Origin,
    ) -> Result<bool, Error> {
        self.write("set_default_visibility", (name, visibility, origin), |tx, (name, visibility, origin)| {
            Box::pin(async move {
                let word = visibility.map(Visibility::as_str);
                if tx.one(&SET_DEFAULT, &[name.as_str().into(), word.into()]).await?.is_none() {
                    return Ok(false);
                }
                tx.note(News::Facts);
                let (target, detail) = (format!("namespace:{name}"), word.unwrap_or("the registry's default"));
                audit(tx, origin, AuditAction::NamespaceVisibility, &target, Some(detail)).await?;
                Ok(true)
            })
        })
        .await
    }
}

async fn user_name(tx: &mut Tx<'_>, user: UserId) -> Result<String, ClaimError> {
    match tx.one(&USER_NAME, &[user.0.into()]).await? {
        Some(row) => Ok(row.text(0)?.to_owned()),
        None => Err(ClaimError::UnknownUser),
    }
}

/// Makes the user an owner among the members.
async fn own(tx: &mut Tx<'_>, name: &Namespace, user: UserId) -> Result<(), Error> {
    tx.run(&OWN, &[name.as_str().into(), user.0.into(), tx.now.as_micros().into()]).await?;
    tx.note(News::Facts);
    Ok(())
}
