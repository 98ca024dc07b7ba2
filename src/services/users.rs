//! Users: who may have an account, how they get one, and how it ends.

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::page::Page;
use super::reply::{Created, Json, List, NoContent};
use super::words::{Moment, Word};
use super::{Call, Error};
use crate::auth::{Auth, Hashed, Password, Rejection};
use crate::domain::Username;
use crate::metadata::{Account, ChangeUserError, CreateUserError, Metadata, NewUser, UserChange, UserRecord};
use crate::router;
use crate::router::Links;

/// Keeps accounts.
#[derive(Clone)]
pub struct Users {
    auth: Auth,
    metadata: Metadata,
    links: Links,
}

/// Who is to become a user.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    /// What is wrong with it is told under a code of its own.
    #[schemars(with = "Word<Username>")]
    username: String,
    /// 6 to 1024 bytes of UTF-8.
    #[schemars(with = "String")]
    password: SecretString,
}

/// What an admin changes of a user; what is left out stays as it is.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeUser {
    role: Option<UserRole>,
    /// Locked out, with all tokens; either way sessions have to be begun anew.
    disabled: Option<bool>,
}

/// A new password.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPassword {
    /// 6 to 1024 bytes of UTF-8.
    #[schemars(with = "String")]
    password: SecretString,
    /// The one until now: needed of users for themselves, not of an admin for somebody else.
    #[schemars(with = "Option<String>")]
    old_password: Option<SecretString>,
}

/// What a user may do beside what they own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum UserRole {
    /// Nothing.
    User,
    /// Everything.
    Admin,
}

/// A user.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "User")]
pub struct UserView {
    username: Word<Username>,
    role: UserRole,
    disabled: bool,
    created_at: Moment,
    /// When password, role or lock changed last.
    changed_at: Moment,
}

impl Users {
    /// Keeps them in `metadata`; `auth` hashes their passwords.
    pub fn new(auth: Auth, metadata: Metadata, links: Links) -> Self {
        Self { auth, metadata, links }
    }

    /// Who the caller is.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn whoami(&self, _: router::Whoami, call: Call) -> Result<Json<UserView>, Error> {
        let account = call.caller.user().ok_or(Error::Denied)?;
        self.shown(&account.name).await
    }

    /// One page of all users, by name.
    ///
    /// # Errors
    /// [`Error::PageSize`] and [`Error::Cursor`].
    pub async fn list(&self, _: router::UserList, call: Call) -> Result<List<UserView>, Error> {
        let page = Page::of(&call.query)?;
        let users = self.metadata.users(page.cursor()?.as_ref(), page.limit()).await?;
        let last = |user: &UserRecord| user.account.name.to_string();
        Ok(page.list(users, &self.links, "/api/v1/users", last, UserView::of))
    }

    /// A user.
    ///
    /// # Errors
    /// [`Error::UserUnknown`].
    pub async fn get(&self, request: router::UserGet, _: Call) -> Result<Json<UserView>, Error> {
        self.shown(&request.username).await
    }

    /// Registers a user, and with it the namespace of that name.
    ///
    /// # Errors
    /// [`Error::Username`] and [`Error::Password`] with the reason, [`Error::UsernameTaken`].
    pub async fn create(
        &self,
        _: router::UserCreate,
        wanted: CreateUser,
        call: Call,
    ) -> Result<Created<UserView>, Error> {
        let name: Username = wanted.username.parse()?;
        let hashed = self.hash(&wanted.password, &call).await?;
        let user =
            NewUser { name: name.clone(), password_hash: hashed.hash, pepper_id: hashed.pepper_id, admin: false };
        match self.metadata.create_user(user, call.audit_origin()).await {
            Ok(account) => Ok(Created::of(&UserView::of(self.record(&account.name).await?))),
            Err(CreateUserError::Taken | CreateUserError::NamespaceTaken) => Err(Error::UsernameTaken(name)),
            Err(CreateUserError::Database(error)) => Err(error.into()),
        }
    }

    /// Changes role and lock, at once and whatever tokens are out (I6).
    ///
    /// # Errors
    /// [`Error::UserUnknown`], [`Error::LastAdmin`].
    pub async fn change(
        &self,
        request: router::UserChange,
        wanted: ChangeUser,
        call: Call,
    ) -> Result<Json<UserView>, Error> {
        let account = self.account(&request.username).await?;
        let change = UserChange { admin: wanted.role.map(|role| role == UserRole::Admin), disabled: wanted.disabled };
        let changed = self.metadata.change_user(account.id, change, call.audit_origin()).await;
        changed.map_err(|error| of_change(error, &request.username))?;
        self.shown(&request.username).await
    }

    /// Deletes a user and their tokens. What is in their namespaces stays, and is the admins' until it is transferred.
    ///
    /// # Errors
    /// [`Error::UserUnknown`], [`Error::LastAdmin`].
    pub async fn delete(&self, request: router::UserDelete, call: Call) -> Result<NoContent, Error> {
        let account = self.account(&request.username).await?;
        let deleted = self.metadata.dismiss_user(account.id, call.audit_origin()).await;
        deleted.map_err(|error| of_change(error, &request.username))?;
        Ok(NoContent)
    }

    /// Sets a password: one's own with the old one, or as an admin somebody else's.
    ///
    /// # Errors
    /// [`Error::Password`] with the reason, [`Error::OldPassword`], [`Error::UserUnknown`].
    pub async fn set_password(
        &self,
        request: router::PasswordSet,
        wanted: SetPassword,
        call: Call,
    ) -> Result<NoContent, Error> {
        let account = self.account(&request.username).await?;
        if call.caller.user_id() == Some(account.id) {
            let old = wanted.old_password.as_ref().ok_or(Error::OldPassword)?;
            match self.auth.confirm(&account.name, old.expose_secret(), &call.peer()).await {
                Ok(confirmed) if confirmed.id == account.id => {}
                Ok(_) | Err(Rejection::Invalid) => return Err(Error::OldPassword),
                Err(other) => return Err(Error::of_rejection(other)),
            }
        }
        let Hashed { hash, pepper_id } = self.hash(&wanted.password, &call).await?;
        let changed = self.metadata.set_password(account.id, hash, pepper_id, call.audit_origin()).await?;
        changed.map(|_| NoContent).ok_or_else(|| Error::UserUnknown(request.username))
    }

    async fn hash(&self, password: &SecretString, call: &Call) -> Result<Hashed, Error> {
        let password = Password::try_from(password.expose_secret())?;
        self.auth.hash(&password, call.origin.client).await.map_err(Error::of_rejection)
    }

    async fn account(&self, name: &Username) -> Result<Account, Error> {
        self.metadata.account(name).await?.ok_or_else(|| Error::UserUnknown(name.clone()))
    }

    async fn record(&self, name: &Username) -> Result<UserRecord, Error> {
        self.metadata.user(name).await?.ok_or_else(|| Error::UserUnknown(name.clone()))
    }

    async fn shown(&self, name: &Username) -> Result<Json<UserView>, Error> {
        Ok(Json::of(&UserView::of(self.record(name).await?)))
    }
}

fn of_change(error: ChangeUserError, name: &Username) -> Error {
    match error {
        ChangeUserError::UnknownUser => Error::UserUnknown(name.clone()),
        ChangeUserError::LastAdmin => Error::LastAdmin(name.clone()),
        ChangeUserError::Database(error) => error.into(),
    }
}

impl UserView {
    fn of(user: UserRecord) -> Self {
        let UserRecord { account, created_at, changed_at } = user;
        Self {
            username: Word(account.name),
            role: if account.admin { UserRole::Admin } else { UserRole::User },
            disabled: account.disabled,
            created_at: Moment(created_at),
            changed_at: Moment(changed_at),
        }
    }
}
