//! Sessions: what a client keeps after a login, to ask for tokens without the password.

use schemars::JsonSchema;
use serde::Serialize;

use super::page::Page;
use super::reply::{List, NoContent};
use super::secrets;
use super::words::Moment;
use super::{Call, Error};
use crate::domain::Username;
use crate::metadata::{AccessToken, Metadata, TokenKind, TokenOwner};
use crate::router;
use crate::router::Links;

/// Lists and ends sessions; the token service begins them.
#[derive(Clone)]
pub struct Sessions {
    metadata: Metadata,
    links: Links,
}

/// A session: a refresh token that some client holds.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Session")]
pub struct SessionView {
    /// Names it in paths.
    id: i64,
    /// What the client called itself, such as `docker`.
    client: Option<Box<str>>,
    created_at: Moment,
    expires_at: Option<Moment>,
    /// To within ten minutes; null where it was not used yet.
    last_used_at: Option<Moment>,
}

impl Sessions {
    /// Those that `metadata` has.
    pub fn new(metadata: Metadata, links: Links) -> Self {
        Self { metadata, links }
    }

    /// One page of a user's sessions, oldest first.
    ///
    /// # Errors
    /// [`Error::UserUnknown`], [`Error::PageSize`], [`Error::Cursor`].
    pub async fn list(&self, request: router::SessionList, call: Call) -> Result<List<SessionView>, Error> {
        let owner = self.owner(&request.username).await?;
        let page = Page::of(&call.query)?;
        let sessions = self.metadata.tokens(&owner, TokenKind::Refresh, page.token_cursor()?, page.limit()).await?;
        let path = format!("/api/v1/users/{}/sessions", request.username);
        let place = |session: &AccessToken| session.id.get().to_string();
        Ok(page.list(sessions, &self.links, &path, place, SessionView::of))
    }

    /// Ends a session: no tokens for it any more, and those that are out are void.
    ///
    /// # Errors
    /// [`Error::TokenUnknown`] if it is not one of that user's.
    pub async fn end(&self, request: router::SessionEnd, call: Call) -> Result<NoContent, Error> {
        let owner = self.owner(&request.username).await?;
        let session = secrets::known(&self.metadata, request.token, TokenKind::Refresh, &owner).await?;
        secrets::revoke(&self.metadata, session, &call).await
    }

    async fn owner(&self, name: &Username) -> Result<TokenOwner, Error> {
        let account = self.metadata.account(name).await?.ok_or_else(|| Error::UserUnknown(name.clone()))?;
        Ok(TokenOwner::User(account.id))
    }
}

impl SessionView {
    fn of(token: AccessToken) -> Self {
        Self {
            id: token.id.get(),
            client: token.client,
            created_at: Moment(token.created_at),
            expires_at: token.expires_at.map(Moment),
            last_used_at: token.last_used_at.map(Moment),
        }
    }
}
