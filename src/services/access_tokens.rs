//! Personal access tokens: what a user logs in with instead of the password, narrowed and revocable.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::page::Page;
use super::reply::{Created, Json, List, NoContent};
use super::secrets::{self, Secret, TokenView};
use super::words::{Moment, Word};
use super::{Call, Error};
use crate::auth::Auth;
use crate::domain::{Grant, TokenName, TokenNumber, Username};
use crate::metadata::{AccessToken, Account, Metadata, NewToken, TokenKind, TokenOwner};
use crate::router;
use crate::router::Links;

/// Keeps personal access tokens.
#[derive(Clone)]
pub struct AccessTokens {
    auth: Auth,
    metadata: Metadata,
    links: Links,
}

/// A token that is to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    name: Word<TokenName>,
    /// How far it reaches; it never opens what its owner may not do. At least one.
    #[schemars(length(min = 1, max = 100))]
    scopes: Vec<Word<Grant>>,
    /// In seconds. Without this and `expires_at` it never ends.
    expires_in: Option<u64>,
    expires_at: Option<Moment>,
}

/// A new token with its secret, which nobody is shown again.
#[derive(Serialize, JsonSchema)]
pub struct CreatedToken {
    #[serde(flatten)]
    token: TokenView,
    secret: Secret,
}

impl AccessTokens {
    /// Keeps them in `metadata`; `auth` says what time it is for tokens.
    pub fn new(auth: Auth, metadata: Metadata, links: Links) -> Self {
        Self { auth, metadata, links }
    }

    /// One page of a user's tokens, oldest first.
    ///
    /// # Errors
    /// [`Error::UserUnknown`], [`Error::PageSize`], [`Error::Cursor`].
    pub async fn list(&self, request: router::TokenList, call: Call) -> Result<List<TokenView>, Error> {
        let owner = self.owner(&request.username).await?;
        let page = Page::of(&call.query)?;
        let tokens = self.metadata.tokens(&owner, TokenKind::Personal, page.token_cursor()?, page.limit()).await?;
        let path = format!("/api/v1/users/{}/tokens", request.username);
        let last = |token: &AccessToken| token.id.get().to_string();
        Ok(page.list(tokens, &self.links, &path, last, TokenView::of))
    }

    /// A token.
    ///
    /// # Errors
    /// [`Error::TokenUnknown`] if it is not one of that user's.
    pub async fn get(&self, request: router::TokenShow, _: Call) -> Result<Json<TokenView>, Error> {
        let token = self.known(&request.username, request.token).await?;
        Ok(Json::of(&TokenView::of(token)))
    }

    /// Makes a token. Only users do that for themselves, and with their password or the
    /// bearer token that they had for it, so that no personal token outlives itself in another.
    ///
    /// # Errors
    /// [`Error::PasswordNeeded`], [`Error::TokenNameTaken`], [`Error::Form`].
    pub async fn create(
        &self,
        request: router::TokenCreate,
        wanted: CreateToken,
        call: Call,
    ) -> Result<Created<CreatedToken>, Error> {
        let own = call.caller.user().filter(|account| account.name == request.username);
        let Some(Account { id, .. }) = own.filter(|_| call.caller.credential().is_none()) else {
            return Err(Error::PasswordNeeded);
        };
        let (secret, hash) = Secret::generate(TokenKind::Personal)?;
        let token = NewToken {
            kind: TokenKind::Personal,
            name: wanted.name.0.as_str().into(),
            owner: TokenOwner::User(*id),
            grants: secrets::grants(wanted.scopes)?,
            secret: hash,
            parent: None,
            client: None,
            expires_at: secrets::end(wanted.expires_in, wanted.expires_at, self.auth.now())?,
        };
        let token = self.metadata.create_token(token, call.audit_origin()).await.map_err(secrets::of_create)?;
        Ok(Created::of(&CreatedToken { token: TokenView::of(token), secret }))
    }

    /// Revokes a token, at once and with the sessions that were begun with it.
    ///
    /// # Errors
    /// [`Error::TokenUnknown`] if it is not one of that user's.
    pub async fn revoke(&self, request: router::TokenRevoke, call: Call) -> Result<NoContent, Error> {
        let token = self.known(&request.username, request.token).await?;
        secrets::revoke(&self.metadata, token, &call).await
    }

    async fn owner(&self, name: &Username) -> Result<TokenOwner, Error> {
        let account = self.metadata.account(name).await?.ok_or_else(|| Error::UserUnknown(name.clone()))?;
        Ok(TokenOwner::User(account.id))
    }

    async fn known(&self, name: &Username, number: TokenNumber) -> Result<AccessToken, Error> {
        secrets::known(&self.metadata, number, TokenKind::Personal, &self.owner(name).await?).await
    }
}
