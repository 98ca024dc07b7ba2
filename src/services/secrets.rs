//! What personal tokens, robots and sessions have in common.

use std::sync::Arc;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};

use super::reply::NoContent;
use super::words::{Moment, Word};
use super::{Call, Error};
use crate::auth::NewSecret;
use crate::domain::{Grant, TokenNumber};
use crate::metadata::{AccessToken, CreateTokenError, Metadata, Timestamp, TokenHash, TokenId, TokenKind, TokenOwner};

/// Scopes that one token may have.
const MAX_SCOPES: usize = 100;

/// The longest life that is said in seconds: a hundred years.
const MAX_LIFE: u64 = 100 * 365 * 24 * 3600;

/// A token's secret, on its way to the reply that shows it.
pub(super) struct Secret(SecretString);

/// An access token; its secret is shown nowhere.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Token")]
pub struct TokenView {
    /// Names it in paths.
    id: i64,
    name: Box<str>,
    scopes: Vec<Word<Grant>>,
    created_at: Moment,
    /// Never, where it is null.
    expires_at: Option<Moment>,
    /// To within ten minutes; null where it was not used yet.
    last_used_at: Option<Moment>,
}

impl Secret {
    /// That text, to be shown.
    pub(super) fn of(text: SecretString) -> Self {
        Self(text)
    }

    /// A fresh one, and what the database keeps of it.
    pub(super) fn generate(kind: TokenKind) -> Result<(Self, TokenHash), Error> {
        let NewSecret { secret, hash } = NewSecret::generate(kind).map_err(|error| Error::Fault(Arc::new(error)))?;
        Ok((Self(secret), hash))
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose_secret())
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "Shown this once.", "type": "string" })
    }
}

impl TokenView {
    pub(super) fn of(token: AccessToken) -> Self {
        Self {
            id: token.id.get(),
            name: token.name,
            scopes: token.grants.into_iter().map(Word).collect(),
            created_at: Moment(token.created_at),
            expires_at: token.expires_at.map(Moment),
            last_used_at: token.last_used_at.map(Moment),
        }
    }
}

/// The scopes that were asked for, if they will do.
pub(super) fn grants(scopes: Vec<Word<Grant>>) -> Result<Vec<Grant>, Error> {
    match scopes.len() {
        0 => Err(Error::Form("`scopes` needs at least one; `*` is for all that the owner may do")),
        1..=MAX_SCOPES => Ok(scopes.into_iter().map(|scope| scope.0).collect()),
        _ => Err(Error::Form("`scopes` has at most 100")),
    }
}

/// When a token ends that was asked for with these; never, with neither.
pub(super) fn end(seconds: Option<u64>, at: Option<Moment>, now: Timestamp) -> Result<Option<Timestamp>, Error> {
    let end = match (seconds, at) {
        (None, None) => return Ok(None),
        (Some(seconds @ 1..=MAX_LIFE), None) => now.after(Duration::from_secs(seconds)),
        (Some(_), None) => return Err(Error::Form("`expires_in` is 1 second to 100 years")),
        (None, Some(Moment(at))) => at,
        (Some(_), Some(_)) => return Err(Error::Form("give `expires_in` or `expires_at`, not both")),
    };
    if end > now { Ok(Some(end)) } else { Err(Error::Form("`expires_at` has passed already")) }
}

/// The token of that number, if it is the owner's and of that kind.
///
/// # Errors
/// [`Error::TokenUnknown`] if not: whose it is otherwise, nobody is told.
pub(super) async fn known(
    metadata: &Metadata,
    number: TokenNumber,
    kind: TokenKind,
    owner: &TokenOwner,
) -> Result<AccessToken, Error> {
    let token = metadata.token(TokenId::from_number(number.get())).await?;
    token.filter(|token| token.kind == kind && token.owner == *owner).ok_or(Error::TokenUnknown(number))
}

/// Ends a token, and with it all that was issued for it.
pub(super) async fn revoke(metadata: &Metadata, token: AccessToken, call: &Call) -> Result<NoContent, Error> {
    // Where somebody else was faster, it is gone all the same.
    metadata.revoke_token(token.id, call.audit_origin()).await?;
    Ok(NoContent)
}

/// Why a token was not made, for its maker.
pub(super) fn of_create(error: CreateTokenError) -> Error {
    match error {
        CreateTokenError::NameTaken => Error::TokenNameTaken,
        CreateTokenError::UnknownOwner => Error::TokenOwnerGone,
        CreateTokenError::Database(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_when_it_was_asked_to() {
        let now = Timestamp::from_micros(1_000_000);
        let at = |micros| Some(Moment(Timestamp::from_micros(micros)));
        assert_eq!(end(None, None, now).unwrap(), None);
        assert_eq!(end(Some(2), None, now).unwrap(), Some(Timestamp::from_micros(3_000_000)));
        assert_eq!(end(None, at(1_000_001), now).unwrap(), Some(Timestamp::from_micros(1_000_001)));
        for (seconds, at) in [(Some(0), None), (Some(u64::MAX), None), (Some(1), at(9_000_000)), (None, at(1_000_000))]
        {
            assert!(end(seconds, at, now).is_err(), "{seconds:?} {at:?}");
        }
    }
}
