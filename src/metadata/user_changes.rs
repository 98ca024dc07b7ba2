//! What an admin changes of a user, all of it or nothing, and never so that
//! no admin is left who can log in.

use uuid::Uuid;

use super::dialect::Sql;
use super::error::Refusal;
use super::transaction::{Columns, Row, Tx};
use super::users::{self, Account, UserId, UserRecord};
use super::{Error, Metadata, Origin};
use crate::domain::Username;

/// What is to be changed of a user; what it does not name stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UserChange {
    pub admin: Option<bool>,
    /// Either way all tokens end, and sessions are begun anew.
    pub disabled: Option<bool>,
}

/// Why a user was not changed or deleted.
#[derive(Debug, thiserror::Error)]
pub enum ChangeUserError {
    #[error("there is no such user")]
    UnknownUser,
    #[error("no other admin could log in then")]
    LastAdmin,
    #[error(transparent)]
    Database(#[from] Error),
}

impl Refusal for ChangeUserError {
    fn failure(&self) -> Option<&Error> {
        match self {
            Self::Database(error) => Some(error),
            Self::UnknownUser | Self::LastAdmin => None,
        }
    }
}

static RECORD: Sql = Sql::new(&["SELECT id, name, admin, disabled, epoch, created_at, changed_at FROM users
     WHERE name = $1"]);
static BY_ID: Sql = Sql::new(&["SELECT id, name, admin, disabled, epoch FROM users WHERE id = $1 FOR_UPDATE(users)"]);
/// Locked, so that two admins who dismiss each other do not both succeed.
static ACTIVE_ADMINS: Sql =
    Sql::new(&["SELECT id FROM users WHERE admin = 1 AND disabled = 0 ORDER BY id FOR_UPDATE(users)"]);

impl Metadata {
    /// The user of that name, as a list shows them; asked each time.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn user(&self, name: &Username) -> Result<Option<UserRecord>, Error> {
        let row = self.read_one("user", &RECORD, &[name.as_str().into()]).await?;
        row.as_ref().map(users::record).transpose()
    }

    /// Changes role and lock of a user in one step.
    ///
    /// # Errors
    /// [`ChangeUserError`]; nothing was changed then.
    pub async fn change_user(
        &self,
        user: UserId,
        change: UserChange,
        origin: Origin,
    ) -> Result<Account, ChangeUserError> {
        self.write("change_user", (user, change, origin, Uuid::new_v4()), |tx, (user, change, origin, epoch)| {
            Box::pin(apply(tx, *user, *change, origin, *epoch))
        })
        .await
    }

    /// Deletes a user as [`Metadata::delete_user`] does, but never the last admin.
    ///
    /// # Errors
    /// [`ChangeUserError`]; nothing was changed then.
    pub async fn dismiss_user(&self, user: UserId, origin: Origin) -> Result<(), ChangeUserError> {
        self.write("dismiss_user", (user, origin), |tx, (user, origin)| {
            Box::pin(async move {
                keep_an_admin(tx, *user).await?;
                if users::delete(tx, *user, origin).await? { Ok(()) } else { Err(ChangeUserError::UnknownUser) }
            })
        })
        .await
    }
}

async fn apply(
    tx: &mut Tx<'_>,
    user: UserId,
    change: UserChange,
    origin: &Origin,
    epoch: Uuid,
) -> Result<Account, ChangeUserError> {
    if change.admin == Some(false) || change.disabled == Some(true) {
        keep_an_admin(tx, user).await?;
    }
    let row = tx.one(&BY_ID, &[user.0.into()]).await?.ok_or(ChangeUserError::UnknownUser)?;
    let mut account = users::account(&row)?;
    if let Some(admin) = change.admin.filter(|admin| *admin != account.admin) {
        account = users::set_admin(tx, user, admin, origin).await?.ok_or(ChangeUserError::UnknownUser)?;
    }
    if let Some(disabled) = change.disabled.filter(|disabled| *disabled != account.disabled) {
        account = users::set_disabled(tx, user, disabled, epoch, origin).await?.ok_or(ChangeUserError::UnknownUser)?;
    }
    Ok(account)
}

/// Refuses what takes the last active admin away.
async fn keep_an_admin(tx: &mut Tx<'_>, user: UserId) -> Result<(), ChangeUserError> {
    let admins = tx.all(&ACTIVE_ADMINS, &[]).await?;
    let is_one = |row: &Row| row.int(0).map(|id| id == user.0);
    match admins.as_slice() {
        [only] if is_one(only)? => Err(ChangeUserError::LastAdmin),
        _ => Ok(()),
    }
}
