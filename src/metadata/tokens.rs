use std::fmt;
use std::time::Duration;

use super::error::Refusal;
use super::{Error, Metadata, Origin, Timestamp, UserId};
use crate::domain::{Grant, Namespace};

/// A token's key; never used again. A JWT that was issued for the token names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(pub(super) i64);

impl TokenId {
    /// The number, as it stands in a robot's account label (`robot:3`) and in a JWT.
    pub fn get(self) -> i64 {
        self.0
    }

    /// The key with that number; whether there is such a token is another question.
    pub fn from_number(number: i64) -> Self {
        Self(number)
    }
}

/// SHA-256 of a token's random text. The text itself is kept nowhere. Not shown by `Debug`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// A user's own, used as their password.
    Personal,
    /// A namespace's, for machines.
    Robot,
    /// What a client keeps after a login, to ask for JWTs with.
    Refresh,
}

/// Whose rights a token has, at most.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TokenOwner {
    User(UserId),
    Namespace(Namespace),
}

/// A token, all but its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    pub id: TokenId,
    pub kind: TokenKind,
    /// Chosen by its maker; of a robot it is the name to log in with, unique in its namespace.
    pub name: Box<str>,
    pub owner: TokenOwner,
    /// How far it reaches; a refresh token reaches as far as its parent.
    pub grants: Vec<Grant>,
    /// The personal or robot token that a refresh token was asked with: it ends with it.
    pub parent: Option<TokenId>,
    /// What the client called itself (`client_id`).
    pub client: Option<Box<str>>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    /// Coarse: see [`Metadata::touch_token`].
    pub last_used_at: Option<Timestamp>,
}

/// A token that is to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    pub kind: TokenKind,
    pub name: Box<str>,
    pub owner: TokenOwner,
    pub grants: Vec<Grant>,
    pub secret: TokenHash,
    pub parent: Option<TokenId>,
    pub client: Option<Box<str>>,
    pub expires_at: Option<Timestamp>,
}

/// Why a token was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateTokenError {
    #[error("a token of that name is there already")]
    NameTaken,
    #[error("its owner or parent does not exist")]
    UnknownOwner,
    #[error(transparent)]
    Database(#[from] Error),
}

impl Refusal for CreateTokenError {
    fn failure(&self) -> Option<&Error> {
        match self {
            Self::Database(error) => Some(error),
            Self::NameTaken | Self::UnknownOwner => None,
        }
    }
}

impl Metadata {
    /// Makes a token. Personal and robot tokens are written to the audit log, refresh tokens are not:
    /// each login makes one.
    ///
    /// # Errors
    /// [`CreateTokenError`]; nothing was changed then.
    pub async fn create_token(&self, token: NewToken, origin: Origin) -> Result<AccessToken, CreateTokenError> {
        todo!("{token:?} {origin:?}")
    }

    /// The token with that secret, expired or not. On PostgreSQL up to two seconds old.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn token_by_secret(&self, secret: &TokenHash) -> Result<Option<AccessToken>, Error> {
        todo!("{secret:?}")
    }

    /// The token with that id, expired or not. On PostgreSQL up to two seconds old.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn token(&self, id: TokenId) -> Result<Option<AccessToken>, Error> {
        todo!("{id:?}")
    }

    /// The owner's tokens of that kind, oldest first, those after `after`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn tokens(
        &self,
        owner: &TokenOwner,
        kind: TokenKind,
        after: Option<TokenId>,
        count: usize,
    ) -> Result<Vec<AccessToken>, Error> {
        todo!("{owner:?} {kind:?} {after:?} {count:?}")
    }

    /// Revokes a token, and the refresh tokens that were asked with it. `false` if there is none.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn revoke_token(&self, id: TokenId, origin: Origin) -> Result<bool, Error> {
        todo!("{id:?} {origin:?}")
    }

    /// Notes that the token was used, if that was last noted longer ago than `grain`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn touch_token(&self, token: &AccessToken, grain: Duration) -> Result<(), Error> {
        todo!("{token:?} {grain:?}")
    }

    /// Removes up to `count` tokens that expired before `before`; how many it removed.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn remove_expired_tokens(&self, before: Timestamp, count: usize) -> Result<u64, Error> {
        todo!("{before:?} {count:?}")
    }
}
