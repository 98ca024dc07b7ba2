//! Bearer tokens: JWTs that this registry signs for itself (R-JWT).
//!
//! To a client a token is opaque, so one symmetric algorithm is enough and it is
//! pinned. A token says who, until when and how narrowly; it is never the reason
//! why something is allowed: [`super::policy`] judges by current state (I6).
//!
//! A verified token is remembered by its hash, which saves parsing and HMAC but
//! no check that can change: times, account and credential are looked at each
//! time.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use ring::{digest, hmac};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::scopes::Scopes;
use super::signature;
use crate::domain::{Actions, Resource, Scope};
use crate::metadata::TokenId;

/// The `service` of challenges and the audience of tokens (R-CHL-05).
pub(super) const SERVICE: &str = "distribution";

/// Claim `iss`.
const ISSUER: &str = "distribution";

/// Longest token that is issued or looked at, in bytes.
pub(super) const MAX_LEN: usize = 24 * 1024;

/// By how much clocks may differ (R-JWT-01), and `nbf` lies in the past (R-JWT-02).
const LEEWAY: u64 = 60;

/// By how much a token outlives what its client was told (R-TKR-03).
const GRACE: u64 = 60;

/// Verified tokens remembered at most, by what they weigh in bytes.
const REMEMBERED: u64 = 4 * 1024 * 1024;

/// Signs and verifies tokens.
pub(super) struct Tokens {
    lifetime: Duration,
    current: Key,
    previous: Option<Key>,
    validation: Validation,
    verified: Cache<[u8; 32], Arc<Verified>, ByWeight>,
}

struct Key {
    header: Header,
    encoding: EncodingKey,
    decoding: DecodingKey,
}

/// What tokens are signed with and how long they are good for.
pub(super) struct Settings<'a> {
    /// What clients are told as `expires_in`.
    pub(super) lifetime: Duration,
    /// Signs and verifies.
    pub(super) secret: &'a SecretString,
    /// Verifies what was signed before the secret changed (R-JWT-05).
    pub(super) previous: Option<&'a SecretString>,
}

/// What a token says: the payload without its times and constants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    /// The account's name, or nothing for an anonymous token.
    pub(super) subject: Box<str>,
    /// The account's token epoch when it was issued.
    pub(super) epoch: Option<Uuid>,
    /// The id of the access token it was issued for.
    pub(super) credential: Option<TokenId>,
    /// What it was asked for and granted, or `None` if no scope was asked for.
    pub(super) scopes: Option<Arc<Scopes>>,
}

/// A token that was signed here; whether it is valid now, its times tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verified {
    /// What it says.
    pub(super) statement: Statement,
    not_before: u64,
    expires: u64,
}

/// A fresh token.
#[derive(Debug)]
pub(super) struct Signed {
    /// The token itself.
    pub(super) token: SecretString,
    /// When it was issued.
    pub(super) issued_at: SystemTime,
    /// How long its client may rely on it.
    pub(super) expires_in: Duration,
}

/// Why a token was not signed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SignError {
    /// It would not fit into a header.
    #[error("a token has at most {MAX_LEN} bytes, this one would have {0}")]
    TooLong(usize),
    /// It could not be written.
    #[error("signing a token failed")]
    Jwt(#[from] jsonwebtoken::errors::Error),
}

/// Why a token is bad. For the log: to clients all are the same.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// Too long to be ours.
    #[error("the token has {0} bytes")]
    TooLong(usize),
    /// Not in form, not signed by us, or not for us.
    #[error("the token is not good: {0}")]
    Jwt(#[from] jsonwebtoken::errors::Error),
    /// Its time is over, or has not come.
    #[error("the token is not valid at this time")]
    Time,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    #[serde(skip_deserializing)]
    iss: Box<str>,
    sub: Box<str>,
    #[serde(skip_deserializing)]
    aud: Box<str>,
    exp: u64,
    nbf: u64,
    iat: u64,
    jti: Box<str>,
    access: Vec<AccessEntry>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unscoped: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cred: Option<i64>,
}

/// One entry of `access`. One of another type may look otherwise and says nothing (R-JWT-03).
#[derive(Serialize, Deserialize)]
struct AccessEntry {
    #[serde(rename = "type", default)]
    kind: Box<str>,
    #[serde(default)]
    name: Box<str>,
    #[serde(default)]
    actions: Vec<Box<str>>,
}

impl Tokens {
    /// Tokens of these settings.
    pub(super) fn new(settings: &Settings<'_>) -> Self {
        signature::install();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[SERVICE]);
        // The times are checked by `Verified::at`, for remembered tokens as for new ones.
        validation.validate_exp = false;
        Self {
            lifetime: settings.lifetime,
            current: Key::new(settings.secret),
            previous: settings.previous.map(Key::new),
            validation,
            verified: Cache::with_weighter(4096, REMEMBERED, ByWeight),
        }
    }

    /// A token that says so, from now on.
    ///
    /// # Errors
    /// [`SignError::TooLong`] if its scopes are more than a header holds.
    pub(super) fn sign(&self, statement: &Statement, now: SystemTime) -> Result<Signed, SignError> {
        let issued = seconds(now);
        let claims = Claims {
            iss: ISSUER.into(),
            sub: statement.subject.clone(),
            aud: SERVICE.into(),
            exp: issued + self.lifetime.as_secs() + GRACE,
            nbf: issued.saturating_sub(LEEWAY),
            iat: issued,
            jti: Uuid::new_v4().to_string().into(),
            access: statement.scopes.iter().flat_map(|scopes| scopes.iter()).map(AccessEntry::from).collect(),
            unscoped: statement.scopes.is_none(),
            epoch: statement.epoch.map(|epoch| epoch.to_string().into()),
            cred: statement.credential.map(TokenId::get),
        };
        let token = jsonwebtoken::encode(&self.current.header, &claims, &self.current.encoding)?;
        if token.len() > MAX_LEN {
            return Err(SignError::TooLong(token.len()));
        }
        Ok(Signed {
            token: token.into(),
            issued_at: UNIX_EPOCH + Duration::from_secs(issued),
            expires_in: Duration::from_secs(self.lifetime.as_secs()),
        })
    }

    /// What a good token says.
    ///
    /// # Errors
    /// [`TokenError`] for everything else.
    pub(super) fn verify(&self, token: &str, now: SystemTime) -> Result<Arc<Verified>, TokenError> {
        if token.len() > MAX_LEN {
            return Err(TokenError::TooLong(token.len()));
        }
        let hash = sha256(token.as_bytes());
        if let Some(verified) = self.verified.get(&hash) {
            return verified.at(now).map(|()| verified);
        }
        let verified = Arc::new(self.read(token)?);
        verified.at(now)?;
        self.verified.insert(hash, Arc::clone(&verified));
        Ok(verified)
    }

    fn read(&self, token: &str) -> Result<Verified, jsonwebtoken::errors::Error> {
        let header = jsonwebtoken::decode_header(token)?;
        let named = |key: &&Key| header.kid.is_none() || header.kid == key.header.kid;
        let mut outcome = Err(ErrorKind::InvalidSignature.into());
        for key in [Some(&self.current), self.previous.as_ref()].into_iter().flatten().filter(named) {
            outcome = jsonwebtoken::decode::<Claims>(token, &key.decoding, &self.validation);
            if outcome.is_ok() {
                break;
            }
        }
        Verified::of(outcome?.claims)
    }
}

impl Key {
    fn new(secret: &SecretString) -> Self {
        let secret = secret.expose_secret().as_bytes();
        let name = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"key id");
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(name.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect());
        let (encoding, decoding) = signature::keys(secret);
        Self { header, encoding, decoding }
    }
}

impl Verified {
    fn of(claims: Claims) -> Result<Self, jsonwebtoken::errors::Error> {
        let bad = |claim: &str| ErrorKind::InvalidClaimFormat(claim.into());
        let epoch = claims.epoch.map(|text| Uuid::try_parse(&text).map_err(|_| bad("epoch"))).transpose()?;
        let scopes = (!claims.unscoped)
            .then(|| Arc::new(claims.access.into_iter().filter_map(AccessEntry::scope).collect::<Scopes>()));
        let statement =
            Statement { subject: claims.sub, epoch, credential: claims.cred.map(TokenId::from_number), scopes };
        Ok(Self { statement, not_before: claims.nbf, expires: claims.exp })
    }

    /// Whether it is valid then.
    fn at(&self, now: SystemTime) -> Result<(), TokenError> {
        let now = seconds(now);
        let valid = self.not_before <= now.saturating_add(LEEWAY) && now < self.expires.saturating_add(LEEWAY);
        if valid { Ok(()) } else { Err(TokenError::Time) }
    }
}

impl From<Scope> for AccessEntry {
    fn from(scope: Scope) -> Self {
        match scope.resource {
            Resource::Repository(name) => Self {
                kind: "repository".into(),
                name: name.as_str().into(),
                actions: scope.actions.iter().map(|action| action.as_str().into()).collect(),
            },
            Resource::Catalog => Self { kind: "registry".into(), name: "catalog".into(), actions: vec!["*".into()] },
        }
    }
}

impl AccessEntry {
    fn scope(self) -> Option<Scope> {
        let actions = Actions::of_words(self.actions.iter().map(|word| &**word));
        match &*self.kind {
            "repository" => Some(Scope::repository(self.name.parse().ok()?, actions)),
            "registry" if &*self.name == "catalog" && actions == Actions::ALL => {
                Some(Scope { resource: Resource::Catalog, actions })
            }
            _ => None,
        }
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct ByWeight;

impl Weighter<[u8; 32], Arc<Verified>> for ByWeight {
    fn weight(&self, _: &[u8; 32], verified: &Arc<Verified>) -> u64 {
        let scopes = verified.statement.scopes.iter().flat_map(|scopes| scopes.repositories());
        256 + scopes.map(|(name, _)| 64 + name.as_str().len() as u64).sum::<u64>()
    }
}

/// The hash under which a secret is looked up.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// Seconds since 1970.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
