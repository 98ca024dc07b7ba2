//! The token service: what is asked for, cut down to what is allowed now.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use secrecy::SecretString;

use super::gate::{Auth, Core};
use super::identity::{Bearer, Caller, Identity, Peer};
use super::scopes::Scopes;
use super::secret::{NewSecret, NoRandomness};
use super::token::{SignError, Statement};
use crate::domain::{Actions, Grant, Resource, Scope};
use crate::metadata;
use crate::metadata::{CreateTokenError, NewToken, Timestamp, TokenKind, TokenOwner};

/// A token and what its client is told of it.
#[derive(Debug)]
pub struct Issued {
    /// The bearer token.
    pub token: SecretString,
    /// When it was issued, in whole seconds.
    pub issued_at: SystemTime,
    /// How long the client may rely on it.
    pub expires_in: Duration,
    /// What of the scopes that were asked for it carries.
    pub granted: Vec<Scope>,
}

/// Why no token was issued. Want of rights is never the reason (R-AUZ-01).
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// What is granted does not fit into a header (R-TKR-04).
    #[error("these scopes do not fit into one token")]
    TooLong,
    /// A bearer token was shown for credentials: it could live for ever by its own likes.
    #[error("a bearer token is no credential for another")]
    TokenForToken,
    /// The database could not be asked.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    /// It could not be signed.
    #[error("signing a token failed")]
    Sign(#[source] jsonwebtoken::errors::Error),
    /// It could not be made up.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl Auth {
    /// Now, as tokens begin and end by.
    pub fn now(&self) -> Timestamp {
        timestamp((self.core.clock)())
    }

    /// A token for what was asked and is allowed now. Asked for without a scope,
    /// it carries the identity with all its rights, and never more than the
    /// credential (design §8).
    ///
    /// # Errors
    /// [`IssueError`].
    pub async fn issue(&self, caller: &Caller, asked: Option<&Scopes>) -> Result<Issued, IssueError> {
        if !matches!(caller.bearer(), Bearer::Absent) {
            return Err(IssueError::TokenForToken);
        }
        let granted = match asked {
            Some(asked) => Some(Arc::new(self.core.grant(caller, asked).await?)),
            None => None,
        };
        let statement = Statement {
            subject: caller.name().unwrap_or_default(),
            epoch: caller.user().map(|account| account.epoch),
            credential: caller.credential().map(|credential| credential.id),
            scopes: granted.clone(),
        };
        let signed = self.core.tokens.sign(&statement, (self.core.clock)()).map_err(|error| match error {
            SignError::TooLong(_) => IssueError::TooLong,
            SignError::Jwt(source) => IssueError::Sign(source),
        })?;
        count(match caller.identity() {
            Identity::Anonymous => "anonymous",
            Identity::User(_) => "user",
            Identity::Robot(_) => "robot",
        });
        Ok(Issued {
            token: signed.token,
            issued_at: signed.issued_at,
            expires_in: signed.expires_in,
            granted: granted.iter().flat_map(|scopes| scopes.iter()).collect(),
        })
    }

    /// A refresh token for that client, where a user logged in by password. Who
    /// shows an access token has what a refresh token would be, and gets none.
    ///
    /// # Errors
    /// [`IssueError`].
    pub async fn issue_refresh(
        &self,
        caller: &Caller,
        client: Option<&str>,
        peer: &Peer,
    ) -> Result<Option<SecretString>, IssueError> {
        let (Some(account), None, Bearer::Absent) = (caller.user(), caller.credential(), caller.bearer()) else {
            return Ok(None);
        };
        let NewSecret { secret, hash } = NewSecret::generate(TokenKind::Refresh)?;
        let token = NewToken {
            kind: TokenKind::Refresh,
            name: "".into(),
            owner: TokenOwner::User(account.id),
            grants: vec![Grant::Everything],
            secret: hash,
            parent: None,
            client: client.map(|client| client.chars().take(MAX_CLIENT).collect()),
            expires_at: Some(self.now().after(self.core.refresh_lifetime)),
        };
        match self.core.metadata.create_token(token, peer.origin(caller.actor())).await {
            Ok(_) => {
                count("refresh");
                Ok(Some(secret))
            }
            // The account went meanwhile.
            Err(CreateTokenError::UnknownOwner | CreateTokenError::NameTaken) => Ok(None),
            Err(CreateTokenError::Database(error)) => Err(error.into()),
        }
    }
}

/// Longest name of a client that is kept, in characters.
pub const MAX_CLIENT: usize = 64;

impl Core {
    /// What of it the caller may do now; the catalog is everybody's (R-CAT-02).
    async fn grant(&self, caller: &Caller, asked: &Scopes) -> Result<Scopes, metadata::Error> {
        let mut granted = Vec::new();
        for (repository, actions) in asked.repositories() {
            let case = self.case(caller, repository).await?;
            granted.push(Scope::repository(repository.clone(), case.rights().intersection(actions)));
        }
        let catalog = asked.catalog().then_some(Scope { resource: Resource::Catalog, actions: Actions::ALL });
        Ok(granted.into_iter().chain(catalog).collect())
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

fn count(kind: &'static str) {
    metrics::counter!("registry_tokens_issued_total", "type" => kind).increment(1);
}
