//! Credentials in, a [`Caller`] out.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::Counter;
use secrecy::SecretString;

use super::failures::Shown;
use super::identity::{Bearer, Caller, Credential, Identity, Peer, Robot, RobotName};
use super::login::Logins;
use super::password::{HashError, Hashed, Hasher, Password};
use super::policy::Claim;
use super::secret::{self, NoRandomness};
use super::throttle::{Limited, Limits};
use super::token::{SERVICE, Settings, Statement, Tokens};
use crate::domain::Username;
use crate::metadata;
use crate::metadata::{AccessToken, Account, Metadata, TokenKind, TokenOwner};

/// Who may register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Registration {
    /// Anybody.
    #[default]
    Open,
    /// Admins, for others.
    Admins,
}

/// How identities are proved and what they may by default.
#[derive(Debug, Clone)]
pub struct Options {
    /// What tokens are signed with; `None`: made up once and kept in the database.
    pub jwt_secret: Option<SecretString>,
    /// What they were signed with before.
    pub jwt_previous_secret: Option<SecretString>,
    /// How long a token is good for.
    pub jwt_lifetime: Duration,
    /// How long a refresh token is.
    pub refresh_lifetime: Duration,
    /// Goes into every password's hash.
    pub pepper: Option<SecretString>,
    /// Password hashes at a time.
    pub parallel_hashes: usize,
    /// How long a right password costs no hash.
    pub remember_for: Duration,
    /// On failed logins.
    pub limits: Limits,
    /// Who may register.
    pub registration: Registration,
    /// Who may claim a namespace by pushing to it.
    pub claim: Claim,
    /// The time, for tokens.
    pub clock: fn() -> SystemTime,
}

impl Default for Options {
    #[expect(clippy::disallowed_methods, reason = "a clock has to come from somewhere; this is its one default")]
    fn default() -> Self {
        Self {
            jwt_secret: None,
            jwt_previous_secret: None,
            jwt_lifetime: Duration::from_secs(3600),
            refresh_lifetime: Duration::from_secs(90 * 24 * 3600),
            pepper: None,
            parallel_hashes: 2,
            remember_for: Duration::from_secs(600),
            limits: Limits::default(),
            registration: Registration::default(),
            claim: Claim::default(),
            clock: SystemTime::now,
        }
    }
}

/// Says who asks and what they may. Cheap to clone, one for the whole process.
#[derive(Clone)]
pub struct Auth {
    pub(super) core: Arc<Core>,
}

pub(super) struct Core {
    pub(super) metadata: Metadata,
    pub(super) tokens: Tokens,
    pub(super) logins: Arc<Logins>,
    pub(super) refresh_lifetime: Duration,
    pub(super) registration: Registration,
    pub(super) claim: Claim,
    pub(super) clock: fn() -> SystemTime,
}

/// Why there is no [`Auth`].
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database did not give or keep the secret.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    /// No password can be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// No secret can be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// Why credentials were not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// They are wrong, expired or revoked, or the account is disabled. Which, nobody is told.
    #[error("the credentials are not accepted")]
    Invalid,
    /// Too many wrong ones came before.
    #[error("too many failed attempts")]
    Throttled {
        /// When to try again.
        retry_after: Duration,
    },
    /// Too many passwords wait to be checked.
    #[error("too many logins at once")]
    Overloaded,
    /// The database could not be asked.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    /// A password could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The work was broken off: the process is ending, or the work panicked.
    #[error("the password check was broken off")]
    Interrupted,
}

impl From<Limited> for Rejection {
    fn from(limited: Limited) -> Self {
        metrics::counter!("registry_rate_limited_total", "scope" => limited.scope.as_str()).increment(1);
        Self::Throttled { retry_after: limited.retry_after }
    }
}

impl Rejection {
    fn result(&self) -> &'static str {
        match self {
            Self::Invalid => "failure",
            Self::Throttled { .. } => "throttled",
            Self::Overloaded => "overloaded",
            Self::Metadata(_) | Self::Hash(_) | Self::Interrupted => "error",
        }
    }
}

/// Labels of what is counted: how somebody proved who they are, and that they did.
const BEARER: &str = "bearer";
const SUCCESS: &str = "success";

/// The setting that keeps a secret that was made up.
const JWT_SECRET: &str = "jwt_secret";

/// How coarsely a token's last use is noted.
const LAST_USE_GRAIN: Duration = Duration::from_secs(600);

impl Auth {
    /// Prepares keys and hashes.
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way.
    pub async fn new(metadata: Metadata, options: Options) -> Result<Self, OpenError> {
        let secret = match options.jwt_secret {
            Some(secret) => secret,
            None => {
                tracing::warn!("JWT_SECRET is not set: tokens are signed with a secret that is kept in the database");
                metadata.setting_or_insert(JWT_SECRET, secret::random::<48>()?).await?.into()
            }
        };
        let tokens = Tokens::new(&Settings {
            lifetime: options.jwt_lifetime,
            secret: &secret,
            previous: options.jwt_previous_secret.as_ref(),
        });
        let logins = Logins::new(
            metadata.clone(),
            Hasher::new(options.pepper)?,
            options.parallel_hashes,
            options.remember_for,
            options.limits,
        )?;
        let core = Core {
            metadata,
            tokens,
            logins: Arc::new(logins),
            refresh_lifetime: options.refresh_lifetime,
            registration: options.registration,
            claim: options.claim,
            clock: options.clock,
        };
        Ok(Self { core: Arc::new(core) })
    }

    /// The `service` of challenges, which is the audience of tokens (R-CHL-05).
    pub fn service(&self) -> &'static str {
        SERVICE
    }

    /// Who sends that bearer token.
    ///
    /// # Errors
    /// [`Rejection`].
    pub async fn bearer(&self, token: &str) -> Result<Caller, Rejection> {
        counted(BEARER, self.core.bearer(token).await)
    }

    /// Who sends that name and password in a header. Nothing and nothing is nobody (R-TKG-04).
    ///
    /// # Errors
    /// [`Rejection`].
    pub async fn basic(&self, user: &str, password: &str, peer: &Peer) -> Result<Caller, Rejection> {
        if user.is_empty() && password.is_empty() {
            return Ok(Caller::anonymous());
        }
        self.log_in(user, password, peer).await
    }

    /// Refuses what was to be a name and a password, and cannot be read: a failed login of nobody knows whom.
    pub async fn unreadable(&self, peer: &Peer) -> Rejection {
        let rejection = self.core.logins.refuse(None, Shown::Password, peer).await;
        count("password", rejection.result());
        rejection
    }

    /// Who has that name and password; somebody, and not nobody. An access token
    /// may stand in for the password.
    ///
    /// # Errors
    /// [`Rejection`].
    pub async fn log_in(&self, user: &str, password: &str, peer: &Peer) -> Result<Caller, Rejection> {
        let (method, outcome) = match secret::kind_of(password) {
            Some(kind) => ("access_token", self.core.secret(kind, user, password, peer).await),
            None => ("password", self.core.password(user, password, peer).await),
        };
        counted(method, outcome)
    }

    /// Who got that refresh token.
    ///
    /// # Errors
    /// [`Rejection`].
    pub async fn refresh(&self, token: &str, peer: &Peer) -> Result<Caller, Rejection> {
        counted("refresh_token", self.core.refresh(token, peer).await)
    }

    /// Whether that is the user's password, and nothing that may stand in for it.
    /// Counted and written down as a login, since it can be guessed at like one.
    ///
    /// # Errors
    /// [`Rejection::Invalid`] if it is not.
    pub async fn confirm(&self, user: &Username, password: &str, peer: &Peer) -> Result<Account, Rejection> {
        counted("password", self.core.logins.check(user, password, peer).await)
    }

    /// Writes the failed logins down that were only counted so far: now and then, and before the log is read.
    pub async fn write_down_failures(&self) {
        self.core.logins.failures.write_down().await;
    }

    /// Hashes a new password, in turn with the others.
    ///
    /// # Errors
    /// [`Rejection`], but none that is about credentials.
    pub async fn hash(&self, password: &Password, from: IpAddr) -> Result<Hashed, Rejection> {
        self.core.logins.hash(password.clone(), from).await
    }
}

fn counted<T>(method: &'static str, outcome: Result<T, Rejection>) -> Result<T, Rejection> {
    count(method, outcome.as_ref().map_or_else(Rejection::result, |_| SUCCESS));
    outcome
}

fn count(method: &'static str, result: &'static str) {
    // Looked up once: nearly every request has a token that is good.
    static TOKENS: LazyLock<Counter> = LazyLock::new(|| attempts(BEARER, SUCCESS));
    match (method, result) {
        (BEARER, SUCCESS) => TOKENS.increment(1),
        _ => attempts(method, result).increment(1),
    }
}

fn attempts(method: &'static str, result: &'static str) -> Counter {
    metrics::counter!("registry_auth_attempts_total", "method" => method, "result" => result)
}

impl Core {
    async fn bearer(&self, token: &str) -> Result<Caller, Rejection> {
        let verified = self.tokens.verify(token, (self.clock)()).map_err(|reason| {
            tracing::debug!(%reason, "a bearer token was refused");
            Rejection::Invalid
        })?;
        let Statement { subject, epoch, credential, scopes } = &verified.statement;
        let bearer = scopes.as_ref().map_or(Bearer::Unscoped, |scopes| Bearer::Scoped(Arc::clone(scopes)));
        if subject.is_empty() {
            return Ok(Caller::new(Identity::Anonymous, None, bearer));
        }
        let used = match credential {
            Some(id) => Some(self.live(self.metadata.token(*id).await?)?),
            None => None,
        };
        let identity = match (subject.parse::<Username>(), &used) {
            (Ok(name), _) => {
                let account = self.active(self.metadata.account(&name).await?)?;
                if *epoch != Some(account.epoch) {
                    return Err(Rejection::Invalid);
                }
                Identity::User(account)
            }
            (Err(_), Some(token)) => Identity::Robot(robot(token)?),
            (Err(_), None) => return Err(Rejection::Invalid),
        };
        self.caller(identity, used, bearer, subject)
    }

    /// The caller, if the token that was used is one of that identity's.
    fn caller(
        &self,
        identity: Identity,
        used: Option<AccessToken>,
        bearer: Bearer,
        name: &str,
    ) -> Result<Caller, Rejection> {
        let theirs = match (&identity, &used) {
            (Identity::User(_), None) => true,
            (Identity::User(account), Some(token)) => {
                account.name.as_str() == name && token.owner == TokenOwner::User(account.id)
            }
            (Identity::Robot(robot), Some(_)) => robot.name.to_string() == name,
            (Identity::Robot(_), None) | (Identity::Anonymous, _) => false,
        };
        if !theirs {
            return Err(Rejection::Invalid);
        }
        let credential = used.map(|token| Credential { id: token.id, grants: token.grants.into() });
        Ok(Caller::new(identity, credential, bearer))
    }

    async fn password(&self, user: &str, password: &str, peer: &Peer) -> Result<Caller, Rejection> {
        let Ok(user) = user.parse::<Username>() else {
            // Nobody has a name outside the grammar, so that saying so at once tells nothing.
            return Err(self.logins.refuse(None, Shown::Password, peer).await);
        };
        let account = self.logins.check(&user, password, peer).await?;
        Ok(Caller::new(Identity::User(account), None, Bearer::Absent))
    }

    async fn secret(&self, kind: TokenKind, user: &str, secret: &str, peer: &Peer) -> Result<Caller, Rejection> {
        match self.owner_of(kind, user, secret).await {
            Err(Rejection::Invalid) => {
                let named = user.parse::<Username>().is_ok() || user.parse::<RobotName>().is_ok();
                Err(self.logins.refuse(named.then_some(user), Shown::AccessToken, peer).await)
            }
            outcome => outcome,
        }
    }

    async fn owner_of(&self, kind: TokenKind, user: &str, secret: &str) -> Result<Caller, Rejection> {
        let token = self.live(self.metadata.token_by_secret(&secret::hash(secret)).await?)?;
        let identity = match (&token.owner, token.kind) {
            _ if token.kind != kind => return Err(Rejection::Invalid),
            (TokenOwner::User(id), TokenKind::Personal) => {
                Identity::User(self.active(self.metadata.account_by_id(*id).await?)?)
            }
            (TokenOwner::Namespace(_), TokenKind::Robot) => Identity::Robot(robot(&token)?),
            // A refresh token is no password.
            _ => return Err(Rejection::Invalid),
        };
        let used = token.clone();
        let caller = self.caller(identity, Some(token), Bearer::Absent, user)?;
        self.note_use(&used).await;
        Ok(caller)
    }

    async fn refresh(&self, secret: &str, peer: &Peer) -> Result<Caller, Rejection> {
        match self.user_of_refresh(secret).await {
            Err(Rejection::Invalid) => Err(self.logins.refuse(None, Shown::RefreshToken, peer).await),
            outcome => outcome,
        }
    }

    async fn user_of_refresh(&self, secret: &str) -> Result<Caller, Rejection> {
        if secret::kind_of(secret) != Some(TokenKind::Refresh) {
            return Err(Rejection::Invalid);
        }
        let token = self.live(self.metadata.token_by_secret(&secret::hash(secret)).await?)?;
        let (TokenKind::Refresh, TokenOwner::User(id)) = (token.kind, &token.owner) else {
            return Err(Rejection::Invalid);
        };
        let account = self.active(self.metadata.account_by_id(*id).await?)?;
        self.note_use(&token).await;
        let credential = Credential { id: token.id, grants: token.grants.into() };
        Ok(Caller::new(Identity::User(account), Some(credential), Bearer::Absent))
    }

    /// The token, if there is one and its time is not over.
    fn live(&self, token: Option<AccessToken>) -> Result<AccessToken, Rejection> {
        let now = (self.clock)().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        token.filter(|token| token.expires_at.is_none_or(|expires| now < expires.as_micros())).ok_or(Rejection::Invalid)
    }

    /// The account, if there is one and it is not disabled.
    fn active(&self, account: Option<Account>) -> Result<Account, Rejection> {
        account.filter(|account| !account.disabled).ok_or(Rejection::Invalid)
    }

    async fn note_use(&self, token: &AccessToken) {
        if let Err(error) = self.metadata.touch_token(token, LAST_USE_GRAIN).await {
            tracing::warn!(%error, token = token.id.get(), "the last use of an access token could not be noted");
        }
    }
}

/// Whose token a robot's is.
fn robot(token: &AccessToken) -> Result<Robot, Rejection> {
    match (&token.owner, token.kind) {
        (TokenOwner::Namespace(namespace), TokenKind::Robot) => {
            let name = RobotName::new(namespace.clone(), &token.name).map_err(|_| Rejection::Invalid)?;
            Ok(Robot { id: token.id, name })
        }
        _ => Err(Rejection::Invalid),
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}
