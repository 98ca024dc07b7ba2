//! Users: who may have an account, and how they get one.

use http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{Call, Error, Json};
use crate::auth::{Auth, Password};
use crate::domain::Username;
use crate::metadata::{Account, CreateUserError, Metadata, NewUser};
use crate::router;

/// Keeps accounts.
#[derive(Clone)]
pub struct Users {
    auth: Auth,
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateUser {
    username: String,
    password: SecretString,
}

/// A user as the management API shows it.
#[derive(Debug, Serialize)]
pub(super) struct UserView {
    pub username: String,
    pub role: &'static str,
}

impl Users {
    /// Keeps them in `metadata`; `auth` hashes their passwords.
    pub fn new(auth: Auth, metadata: Metadata) -> Self {
        Self { auth, metadata }
    }

    /// Registers a user, and with it the namespace of that name.
    ///
    /// # Errors
    /// [`Error::Username`] and [`Error::Password`] with the reason, [`Error::UsernameTaken`].
    pub async fn create(&self, _: router::UserCreate, mut call: Call) -> Result<Json, Error> {
        let wanted: CreateUser = call.json().await?;
        let name: Username = wanted.username.parse()?;
        let password = Password::try_from(wanted.password.expose_secret())?;
        let hashed = self.auth.hash(&password, call.origin.client).await.map_err(Error::of_rejection)?;
        let user =
            NewUser { name: name.clone(), password_hash: hashed.hash, pepper_id: hashed.pepper_id, admin: false };
        match self.metadata.create_user(user, call.audit_origin()).await {
            Ok(account) => Ok(Json::with(StatusCode::CREATED, &UserView::of(&account))),
            Err(CreateUserError::Taken | CreateUserError::NamespaceTaken) => Err(Error::UsernameTaken(name)),
            Err(CreateUserError::Database(error)) => Err(error.into()),
        }
    }
}

impl UserView {
    fn of(account: &Account) -> Self {
        Self { username: account.name.to_string(), role: if account.admin { "admin" } else { "user" } }
    }
}
