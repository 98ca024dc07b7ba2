use std::fmt;

use uuid::Uuid;

use super::audit::{AuditAction, audit};
use super::cache::News;
use super::dialect::Sql;
use super::error::Refusal;
use super::pagination::limit;
use super::transaction::{Columns, Row, Tx};
use super::{Error, Metadata, Origin, Timestamp};
use crate::domain::Username;

/// A user's key; never used again, not even for a user of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub(super) i64);

impl UserId {
    /// The number, as it stands in an account's label: `user:7`.
    pub fn get(self) -> i64 {
        self.0
    }
}

/// Who a user is and whether their tokens still count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: UserId,
    pub name: Username,
    pub admin: bool,
    pub disabled: bool,
    /// New with every change that ends tokens; a token of another epoch is void.
    pub epoch: Uuid,
}

/// A password's argon2id hash in PHC form. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Box<str>);

impl PasswordHash {
    /// The hash, as the hasher wrote it.
    pub fn new(phc: impl Into<Box<str>>) -> Self {
        Self(phc.into())
    }

    /// The PHC text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// Somebody who is to become a user.
#[derive(Debug, Clone)]
pub struct NewUser {
    pub name: Username,
    pub password_hash: PasswordHash,
    /// Which pepper the hash was made with; none without one.
    pub pepper_id: Option<Box<str>>,
    pub admin: bool,
}

/// What a password is checked against.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub account: Account,
    pub password_hash: PasswordHash,
    pub pepper_id: Option<Box<str>>,
}

/// A user, as a list shows them.
#[derive(Debug, Clone)]
pub struct UserRecord {
    pub account: Account,
    pub created_at: Timestamp,
    pub changed_at: Timestamp,
}

/// Why somebody did not become a user.
#[derive(Debug, thiserror::Error)]
pub enum CreateUserError {
    #[error("the username is taken")]
    Taken,
    #[error("a namespace of that name is claimed already")]
    NamespaceTaken,
    #[error(transparent)]
    Database(#[from] Error),
}

impl Refusal for CreateUserError {
    fn failure(&self) -> Option<&Error> {
        match self {
            Self::Database(error) => Some(error),
            Self::Taken | Self::NamespaceTaken => None,
        }
    }
}

static INSERT: Sql = Sql::new(&["INSERT INTO users
     (name, password_hash, pepper_id, admin, disabled, epoch, created_at, changed_at)
     VALUES ($1, $2, $3, $4, 0, $5, $6, $6) ON CONFLICT (name) DO NOTHING RETURNING id"]);
static CLAIM_OWN_NAMESPACE: Sql = Sql::new(&["INSERT INTO namespaces (name, owner, created_at) VALUES ($1, $2, $3)
     ON CONFLICT (name) DO NOTHING RETURNING name"]);
static OWN: Sql = Sql::new(&["INSERT INTO members (namespace, account, name, role, since)
     SELECT $1, u.id, u.name, 'owner', $3 FROM users u WHERE u.id = $2"]);

static BY_NAME: Sql = Sql::new(&["SELECT id, name, admin, disabled, epoch FROM users WHERE name = $1"]);
static BY_ID: Sql = Sql::new(&["SELECT id, name, admin, disabled, epoch FROM users WHERE id = $1"]);
static CREDENTIALS: Sql = Sql::new(&["SELECT id, name, admin, disabled, epoch, password_hash, pepper_id
     FROM users WHERE name = $1"]);
static LIST: Sql = Sql::new(&["SELECT id, name, admin, disabled, epoch, created_at, changed_at FROM users
     WHERE name > $1 ORDER BY name LIMIT $2"]);
static ANY_ADMIN: Sql = Sql::new(&["SELECT 1 FROM users WHERE admin = 1 AND disabled = 0 LIMIT 1"]);
static COUNT: Sql = Sql::new(&["SELECT count(*) FROM users"]);

static SET_PASSWORD: Sql =
    Sql::new(&["UPDATE users SET password_hash = $2, pepper_id = $3, epoch = $4, changed_at = $5
     WHERE id = $1 RETURNING id, name, admin, disabled, epoch"]);
static REHASH: Sql = Sql::new(&["UPDATE users SET password_hash = $3, pepper_id = $4
     WHERE id = $1 AND password_hash = $2 RETURNING id"]);
static SET_DISABLED: Sql = Sql::new(&["UPDATE users SET disabled = $2, epoch = $3, changed_at = $4
     WHERE id = $1 RETURNING id, name, admin, disabled, epoch"]);
static SET_ADMIN: Sql = Sql::new(&["UPDATE users SET admin = $2, changed_at = $3
     WHERE id = $1 RETURNING id, name, admin, disabled, epoch"]);
static END_SESSIONS: Sql = Sql::new(&["DELETE FROM access_tokens WHERE account = $1 AND kind = 'refresh'"]);
/// A namespace with nothing in it goes with its user; any other stays claimed, so that
/// nobody who takes the name inherits what is in it.
static DELETE: Sql = Sql::new(&[
    "DELETE FROM members WHERE account = $1",
    "DELETE FROM namespaces WHERE owner = $1
     AND NOT EXISTS (SELECT 1 FROM repositories r WHERE r.namespace = namespaces.name)
     AND NOT EXISTS (SELECT 1 FROM members m WHERE m.namespace = namespaces.name)
     AND NOT EXISTS (SELECT 1 FROM access_tokens t WHERE t.namespace = namespaces.name)",
    "DELETE FROM users WHERE id = $1 RETURNING name",
]);

pub(super) fn account(row: &Row) -> Result<Account, Error> {
    Ok(Account {
        id: UserId(row.int(0)?),
        name: row.parse(1, "username")?,
        admin: row.flag(2)?,
        disabled: row.flag(3)?,
        epoch: row.uuid(4)?,
    })
}

pub(super) fn record(row: &Row) -> Result<UserRecord, Error> {
    Ok(UserRecord { account: account(row)?, created_at: row.time(5)?, changed_at: row.time(6)? })
}

impl Metadata {
    /// Makes somebody a user, and the namespace of that name theirs.
    ///
    /// # Errors
    /// [`CreateUserError`]; nothing was changed then.
    pub async fn create_user(&self, user: NewUser, origin: Origin) -> Result<Account, CreateUserError> {
        self.write("create_user", (user, origin, Uuid::new_v4()), |tx, (user, origin, epoch)| {
            Box::pin(create(tx, user, origin, *epoch))
        })
        .await
    }

    /// The account of that name. On PostgreSQL up to two seconds old.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn account(&self, name: &Username) -> Result<Option<Account>, Error> {
        let cache = &self.core.caches.accounts;
        if let Some(known) = cache.get(name) {
            return Ok(Some(known));
        }
        let noted = cache.version(name);
        let Some(row) = self.read_one("account", &BY_NAME, &[name.as_str().into()]).await? else { return Ok(None) };
        let found = account(&row)?;
        cache.insert(name.clone(), found.clone(), noted);
        Ok(Some(found))
    }

    /// The account of that id. On PostgreSQL up to two seconds old.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn account_by_id(&self, id: UserId) -> Result<Option<Account>, Error> {
        let cache = &self.core.caches.accounts_by_id;
        if let Some(known) = cache.get(&id) {
            return Ok(Some(known));
        }
        let noted = cache.version(&id);
        let Some(row) = self.read_one("account_by_id", &BY_ID, &[id.0.into()]).await? else { return Ok(None) };
        let found = account(&row)?;
        cache.insert(id, found.clone(), noted);
        Ok(Some(found))
    }

    /// What a password of that name is checked against; asked each time.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn credentials(&self, name: &Username) -> Result<Option<Credentials>, Error> {
        let row = self.read_one("credentials", &CREDENTIALS, &[name.as_str().into()]).await?;
        row.map(|row| {
            Ok(Credentials {
                account: account(&row)?,
                password_hash: PasswordHash::new(row.text(5)?),
                pepper_id: row.maybe_text(6)?.map(Into::into),
            })
        })
        .transpose()
    }

    /// Users by name, those after `after`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn users(&self, after: Option<&Username>, count: usize) -> Result<Vec<UserRecord>, Error> {
        let after = after.map_or("", Username::as_str);
        let rows = self.read("users", &LIST, &[after.into(), limit(count).into()]).await?;
        rows.iter().map(record).collect()
    }

    /// Whether an admin exists who can log in.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn has_admin(&self) -> Result<bool, Error> {
        Ok(self.read_one("has_admin", &ANY_ADMIN, &[]).await?.is_some())
    }

    /// How many users there are. Counts them all: for a gauge, not for a request.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn count_users(&self) -> Result<u64, Error> {
        self.read_one("count_users", &COUNT, &[]).await?.map_or(Ok(0), |row| row.size(0))
    }

    /// Sets a password and ends all tokens that rest on the old one. `None` if there is no such user.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn set_password(
        &self,
        user: UserId,
        password_hash: PasswordHash,
        pepper_id: Option<Box<str>>,
        origin: Origin,
    ) -> Result<Option<Account>, Error> {
        let args = (user, password_hash, pepper_id, origin, Uuid::new_v4().to_string());
        self.write("set_password", args, |tx, (user, hash, pepper, origin, epoch)| {
            Box::pin(async move {
                let now = tx.now.as_micros();
                let args =
                    [user.0.into(), hash.as_str().into(), pepper.as_deref().into(), epoch.as_str().into(), now.into()];
                tx.run(&END_SESSIONS, &[user.0.into()]).await?;
                changed(tx, &SET_PASSWORD, &args, AuditAction::UserPassword, None, origin).await
            })
        })
        .await
    }

    /// Replaces a hash by a better one of the same password; no token ends.
    /// `false` if the password has been changed meanwhile.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn rehash(
        &self,
        user: UserId,
        old: PasswordHash,
        new: PasswordHash,
        pepper_id: Option<Box<str>>,
    ) -> Result<bool, Error> {
        self.write("rehash", (user, old, new, pepper_id), |tx, (user, old, new, pepper)| {
            Box::pin(async move {
                let args = [user.0.into(), old.as_str().into(), new.as_str().into(), pepper.as_deref().into()];
                Ok(tx.one(&REHASH, &args).await?.is_some())
            })
        })
        .await
    }

    /// Locks a user out, tokens and all, or lets them in again. `None` if there is no such user.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn set_disabled(&self, user: UserId, disabled: bool, origin: Origin) -> Result<Option<Account>, Error> {
        self.write("set_disabled", (user, disabled, origin, Uuid::new_v4()), |tx, (user, disabled, origin, epoch)| {
            Box::pin(set_disabled(tx, *user, *disabled, *epoch, origin))
        })
        .await
    }

    /// Makes a user an admin, or no longer one; no token ends, since each request asks anew. `None` if there is no such user.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn set_admin(&self, user: UserId, admin: bool, origin: Origin) -> Result<Option<Account>, Error> {
        self.write("set_admin", (user, admin, origin), |tx, (user, admin, origin)| {
            Box::pin(set_admin(tx, *user, *admin, origin))
        })
        .await
    }

    /// Deletes a user with all tokens. What is in their namespaces stays; only admins own it then,
    /// until it is transferred. `false` if there is no such user.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn delete_user(&self, user: UserId, origin: Origin) -> Result<bool, Error> {
        self.write("delete_user", (user, origin), |tx, (user, origin)| Box::pin(delete(tx, *user, origin))).await
    }
}

pub(super) async fn set_disabled(
    tx: &mut Tx<'_>,
    user: UserId,
    disabled: bool,
    epoch: Uuid,
    origin: &Origin,
) -> Result<Option<Account>, Error> {
    let (now, epoch) = (tx.now.as_micros(), epoch.to_string());
    let args = [user.0.into(), disabled.into(), epoch.as_str().into(), now.into()];
    let action = if disabled { AuditAction::UserDisable } else { AuditAction::UserEnable };
    tx.run(&END_SESSIONS, &[user.0.into()]).await?;
    changed(tx, &SET_DISABLED, &args, action, None, origin).await
}

pub(super) async fn set_admin(
    tx: &mut Tx<'_>,
    user: UserId,
    admin: bool,
    origin: &Origin,
) -> Result<Option<Account>, Error> {
    let args = [user.0.into(), admin.into(), tx.now.as_micros().into()];
    let role = if admin { "admin" } else { "user" };
    changed(tx, &SET_ADMIN, &args, AuditAction::UserRole, Some(role), origin).await
}

pub(super) async fn delete(tx: &mut Tx<'_>, user: UserId, origin: &Origin) -> Result<bool, Error> {
    let Some(row) = tx.one(&DELETE, &[user.0.into()]).await? else { return Ok(false) };
    let name = row.text(0)?;
    for news in [News::Accounts, News::Tokens, News::Facts] {
        tx.note(news);
    }
    audit(tx, origin, AuditAction::UserDelete, &format!("user:{name}"), None).await?;
    Ok(true)
}

async fn create(tx: &mut Tx<'_>, user: &NewUser, origin: &Origin, epoch: Uuid) -> Result<Account, CreateUserError> {
    let (name, now, epoch_text) = (user.name.as_str(), tx.now.as_micros(), epoch.to_string());
    let args = [
        name.into(),
        user.password_hash.as_str().into(),
        user.pepper_id.as_deref().into(),
        user.admin.into(),
        epoch_text.as_str().into(),
        now.into(),
    ];
    let Some(row) = tx.one(&INSERT, &args).await? else { return Err(CreateUserError::Taken) };
    let id = UserId(row.int(0)?);
    let claimed = tx.one(&CLAIM_OWN_NAMESPACE, &[name.into(), id.0.into(), now.into()]).await?;
    if claimed.is_none() {
        return Err(CreateUserError::NamespaceTaken);
    }
    tx.run(&OWN, &[name.into(), id.0.into(), now.into()]).await?;
    let role = if user.admin { "admin" } else { "user" };
    audit(tx, origin, AuditAction::UserCreate, &format!("user:{name}"), Some(role)).await?;
    Ok(Account { id, name: user.name.clone(), admin: user.admin, disabled: false, epoch })
}

/// Changes an account and writes it down.
async fn changed(
    tx: &mut Tx<'_>,
    sql: &Sql,
    args: &[super::dialect::Arg<'_>],
    action: AuditAction,
    detail: Option<&str>,
    origin: &Origin,
) -> Result<Option<Account>, Error> {
    let Some(row) = tx.one(sql, args).await? else { return Ok(None) };
    let account = account(&row)?;
    tx.note(News::Accounts);
    tx.note(News::Tokens);
    audit(tx, origin, action, &format!("user:{}", account.name), detail).await?;
    Ok(Some(account))
}
