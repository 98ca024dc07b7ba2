//! The token service: docker's GET form and the OAuth2 POST form.
//!
//! A request is never refused for want of rights, only for wrong credentials
//! (R-AUZ-01). What a token carries is `auth`'s matter; here it is only asked
//! for and said.

use secrecy::ExposeSecret;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Call, Error, Json};
use crate::auth::{Auth, Caller, IssueError, Issued, Peer, Scopes};
use crate::protocol::{Credentials, Query};
use crate::router;

/// Issues tokens.
#[derive(Clone)]
pub struct Tokens {
    auth: Auth,
}

/// What a client is told of its token (R-TKR-01 to R-TKR-03).
#[derive(Serialize)]
struct TokenReply<'a> {
    token: &'a str,
    access_token: &'a str,
    /// In seconds.
    expires_in: u64,
    /// RFC 3339, UTC.
    issued_at: String,
    /// The granted scopes; the POST form says them (R-TKP-03).
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
}

impl Tokens {
    /// Issues what `auth` grants.
    pub fn new(auth: Auth) -> Self {
        Self { auth }
    }

    /// A token for Basic credentials, or an anonymous one for none (R-TKG-01 to R-TKG-09).
    ///
    /// # Errors
    /// [`Error::Credentials`] for wrong ones, never an anonymous token instead.
    pub async fn get(&self, _: router::TokenGet, call: Call) -> Result<Json, Error> {
        let peer = peer(&call);
        let caller = match Credentials::of(&call.headers) {
            Ok(Credentials::None) => Caller::anonymous(),
            Ok(Credentials::Basic { user, password }) => {
                self.auth.basic(&user, password.expose_secret(), &peer).await.map_err(Error::of_rejection)?
            }
            // A token is no credential for another one.
            Ok(Credentials::Bearer(_)) | Err(_) => return Err(Error::Credentials),
        };
        let issued = self.issue(&caller, &call.query).await?;
        let offline = call.query.get("offline_token") == Some("true");
        let refresh = if offline { self.refresh_token(&caller, &call.query, &peer).await? } else { None };
        Ok(reply(&issued, None, refresh.as_deref()))
    }

    /// A token for a password or a refresh token (R-TKP-01 to R-TKP-05).
    ///
    /// # Errors
    /// [`Error::Credentials`] for wrong ones, [`Error::Form`] for a form that is not as documented.
    pub async fn post(&self, _: router::TokenPost, mut call: Call) -> Result<Json, Error> {
        let peer = peer(&call);
        let form = Query::parse(&call.bytes().await?);
        let field = |name| form.get(name).ok_or(Error::Form("`grant_type`, and what it needs, must be there"));
        let offline = form.get("access_type") == Some("offline");
        let (caller, refresh) = match form.get("grant_type") {
            Some("password") => {
                let (user, password) = (field("username")?, field("password")?);
                let caller = self.auth.basic(user, password, &peer).await.map_err(Error::of_rejection)?;
                let refresh = if offline { self.refresh_token(&caller, &form, &peer).await? } else { None };
                (caller, refresh)
            }
            Some("refresh_token") => {
                let token = field("refresh_token")?;
                let caller = self.auth.refresh(token, &peer).await.map_err(Error::of_rejection)?;
                // It stays good, so it is what the client goes on with.
                (caller, offline.then(|| token.to_owned()))
            }
            _ => return Err(Error::Form("`grant_type` must be `password` or `refresh_token`")),
        };
        let issued = self.issue(&caller, &form).await?;
        let scopes: Vec<_> = issued.granted.iter().map(ToString::to_string).collect();
        Ok(reply(&issued, Some(scopes.join(" ")), refresh.as_deref()))
    }

    async fn issue(&self, caller: &Caller, asked: &Query) -> Result<Issued, Error> {
        let asked = Scopes::asked(asked.all("scope"))?;
        self.auth.issue(caller, asked.as_ref()).await.map_err(of_issue)
    }

    async fn refresh_token(&self, caller: &Caller, asked: &Query, peer: &Peer) -> Result<Option<String>, Error> {
        let token = self.auth.issue_refresh(caller, asked.get("client_id"), peer).await.map_err(of_issue)?;
        Ok(token.map(|token| token.expose_secret().to_owned()))
    }
}

fn peer(call: &Call) -> Peer {
    Peer { address: call.origin.client, request: Some(call.origin.id.0.as_ref().into()) }
}

fn of_issue(error: IssueError) -> Error {
    match error {
        IssueError::TooLong => Error::TokenTooLong,
        IssueError::TokenForToken => Error::Credentials,
        IssueError::Metadata(error) => error.into(),
        fault @ (IssueError::Sign(_) | IssueError::NoRandomness(_)) => Error::Fault(std::sync::Arc::new(fault)),
    }
}

fn reply(issued: &Issued, scope: Option<String>, refresh: Option<&str>) -> Json {
    let token = issued.token.expose_secret();
    Json::ok(&TokenReply {
        token,
        access_token: token,
        expires_in: issued.expires_in.as_secs(),
        // A date of this era always has that form.
        issued_at: OffsetDateTime::from(issued.issued_at).format(&Rfc3339).unwrap_or_default(),
        scope,
        refresh_token: refresh,
    })
}
