//! The token service: docker's GET form and the OAuth2 POST form.
//!
//! A request is never refused for want of rights, only for wrong credentials
//! (R-AUZ-01). What a token carries is `auth`'s matter; here it is only asked
//! for and said.

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::Span;

use super::call::FromForm;
use super::reply::Json;
use super::secrets::Secret;
use super::{Call, Error};
use crate::auth::{Auth, Caller, IssueError, Issued, MAX_CLIENT, Scopes};
use crate::protocol::{Credentials, MalformedCredentials, Query};
use crate::router;

/// Issues tokens.
#[derive(Clone)]
pub struct Tokens {
    auth: Auth,
}

/// What a client is told of its token (R-TKR-01 to R-TKR-03).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BearerToken")]
pub struct TokenReply {
    token: Secret,
    /// The same as `token`: clients read one or the other.
    access_token: Secret,
    /// In seconds.
    expires_in: u64,
    #[schemars(extend("format" = "date-time"))]
    issued_at: String,
    /// The granted scopes; the POST form says them (R-TKP-03).
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// Where one was asked for, and a password shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<Secret>,
}

/// The OAuth2 form. Fields that are not listed, such as `service`, are ignored.
#[derive(JsonSchema)]
pub struct TokenForm {
    grant_type: GrantType,
    /// For the grant `password`.
    username: Option<String>,
    /// For the grant `password`; an access token may stand in for it.
    #[schemars(with = "Option<String>")]
    password: Option<SecretString>,
    /// For the grant `refresh_token`.
    #[schemars(with = "Option<String>")]
    refresh_token: Option<SecretString>,
    /// Any number of times, each perhaps several, separated by spaces. Without any, the token carries all rights.
    #[schemars(default)]
    scope: Vec<String>,
    /// `offline` asks for a refresh token.
    access_type: Option<String>,
    /// What the client calls itself.
    client_id: Option<String>,
}

/// What is shown for a token.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum GrantType {
    Password,
    RefreshToken,
}

impl FromForm for TokenForm {
    fn from_form(form: &Query) -> Result<Self, Error> {
        let grant_type = match form.get("grant_type") {
            Some("password") => GrantType::Password,
            Some("refresh_token") => GrantType::RefreshToken,
            _ => return Err(Error::Form("`grant_type` must be `password` or `refresh_token`")),
        };
        let text = |name| form.get(name).map(str::to_owned);
        Ok(Self {
            grant_type,
            username: text("username"),
            password: form.get("password").map(SecretString::from),
            refresh_token: form.get("refresh_token").map(SecretString::from),
            scope: form.all("scope").map(str::to_owned).collect(),
            access_type: text("access_type"),
            client_id: text("client_id"),
        })
    }
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
    pub async fn get(&self, _: router::TokenGet, call: Call) -> Result<Json<TokenReply>, Error> {
        let caller = match Credentials::of(&call.headers) {
            Ok(Credentials::None) => Caller::anonymous(),
            Ok(Credentials::Basic { user, password }) => {
                let caller = self.auth.basic(&user, password.expose_secret(), &call.peer()).await;
                caller.map_err(Error::of_rejection)?
            }
            Err(MalformedCredentials::Basic) => {
                return Err(Error::of_rejection(self.auth.unreadable(&call.peer()).await));
            }
            // A token is no credential for another one.
            Ok(Credentials::Bearer(_)) | Err(MalformedCredentials::Scheme) => return Err(Error::Credentials),
        };
        let client = call.query.get("client_id");
        record(&caller, client);
        let issued = self.issue(&caller, call.query.all("scope")).await?;
        let offline = call.query.get("offline_token") == Some("true");
        let refresh = if offline { self.refresh_token(&caller, client, &call).await? } else { None };
        Ok(reply(&issued, None, refresh))
    }

    /// A token for a password or a refresh token (R-TKP-01 to R-TKP-05).
    ///
    /// # Errors
    /// [`Error::Credentials`] for wrong ones, [`Error::Form`] for a form that is not as documented.
    pub async fn post(&self, _: router::TokenPost, form: TokenForm, call: Call) -> Result<Json<TokenReply>, Error> {
        const NEEDED: Error = Error::Form("`grant_type`, and what it needs, must be there");
        let (caller, shown) = match form.grant_type {
            GrantType::Password => {
                let (user, password) = (form.username.ok_or(NEEDED)?, form.password.ok_or(NEEDED)?);
                (self.auth.log_in(&user, password.expose_secret(), &call.peer()).await, None)
            }
            GrantType::RefreshToken => {
                let token = form.refresh_token.ok_or(NEEDED)?;
                (self.auth.refresh(token.expose_secret(), &call.peer()).await, Some(token))
            }
        };
        let caller = caller.map_err(Error::of_rejection)?;
        record(&caller, form.client_id.as_deref());
        let issued = self.issue(&caller, form.scope.iter().map(String::as_str)).await?;
        // Last, so that what is refused leaves no session behind.
        let refresh = match shown {
            _ if form.access_type.as_deref() != Some("offline") => None,
            // It stays good, so it is what the client goes on with.
            Some(token) => Some(token),
            None => self.refresh_token(&caller, form.client_id.as_deref(), &call).await?,
        };
        let scopes: Vec<_> = issued.granted.iter().map(ToString::to_string).collect();
        Ok(reply(&issued, Some(scopes.join(" ")), refresh))
    }

    async fn issue<'a>(&self, caller: &Caller, scopes: impl Iterator<Item = &'a str>) -> Result<Issued, Error> {
        let asked = Scopes::asked(scopes)?;
        self.auth.issue(caller, asked.as_ref()).await.map_err(of_issue)
    }

    async fn refresh_token(
        &self,
        caller: &Caller,
        client: Option<&str>,
        call: &Call,
    ) -> Result<Option<SecretString>, Error> {
        self.auth.issue_refresh(caller, client, &call.peer()).await.map_err(of_issue)
    }
}

/// Has the log say for whom a token is, and what the client calls itself (R-TKG-05).
fn record(caller: &Caller, client: Option<&str>) {
    let span = Span::current();
    if let Some(name) = caller.name() {
        span.record("account", &*name);
    }
    if let Some(client) = client {
        span.record("client_id", client.chars().take(MAX_CLIENT).collect::<String>());
    }
}

fn of_issue(error: IssueError) -> Error {
    match error {
        IssueError::TooLong => Error::TokenTooLong,
        IssueError::TokenForToken => Error::Credentials,
        IssueError::Metadata(error) => error.into(),
        fault @ (IssueError::Sign(_) | IssueError::NoRandomness(_)) => Error::Fault(std::sync::Arc::new(fault)),
    }
}

fn reply(issued: &Issued, scope: Option<String>, refresh: Option<SecretString>) -> Json<TokenReply> {
    Json::of(&TokenReply {
        token: Secret::of(issued.token.clone()),
        access_token: Secret::of(issued.token.clone()),
        expires_in: issued.expires_in.as_secs(),
        // A date of this era always has that form.
        issued_at: OffsetDateTime::from(issued.issued_at).format(&Rfc3339).unwrap_or_default(),
        scope,
        refresh_token: refresh.map(Secret::of),
    })
}
