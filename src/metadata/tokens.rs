use std::fmt;
use std::time::Duration;

use super::audit::{AuditAction, audit};
use super::cache::News;
use super::dialect::{Arg, Sql};
use super::error::Refusal;
use super::pagination::limit;
use super::transaction::{Columns, Row, Tx, parse};
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

impl TokenKind {
    const ALL: [Self; 3] = [Self::Personal, Self::Robot, Self::Refresh];

    /// The word for it, in the database and in requests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Personal => "personal",
            Self::Robot => "robot",
            Self::Refresh => "refresh",
        }
    }
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

/// Sessions that a user may have: refresh tokens that have not expired. One more
/// ends the one that was not used for longest, whatever client has it, for a
/// client calls itself what it likes.
pub(super) const SESSIONS: usize = 100;

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

macro_rules! select {
    ($rest:literal) => {
        Sql::new(&[concat!(
            "SELECT id, kind, name, account, namespace, grants, parent, client, created_at, expires_at, last_used_at
             FROM access_tokens ",
            $rest
        )])
    };
}

static BY_ID: Sql = select!("WHERE id = $1");
static BY_SECRET: Sql = select!("WHERE secret = $1");
static OF_ACCOUNT: Sql = select!("WHERE account = $1 AND kind = $2 AND id > $3 ORDER BY id LIMIT $4");
static OF_NAMESPACE: Sql = select!("WHERE namespace = $1 AND kind = $2 AND id > $3 ORDER BY id LIMIT $4");
/// The owner is there, and the parent too, if one is named: locked, so that neither goes meanwhile.
static USER_IS_THERE: Sql = Sql::new(&["SELECT id FROM users WHERE id = $1 FOR_SHARE(users)"]);
/// Of one user's logins each sees what the one before it made.
static USER_LOGS_IN: Sql = Sql::new(&["SELECT id FROM users WHERE id = $1 FOR_UPDATE(users)"]);
/// Skips the sessions that stay. Were there ever many more, it would take them in several goes.
static END_OLDEST_SESSIONS: Sql = Sql::new(&["DELETE FROM access_tokens WHERE id IN
     (SELECT id FROM access_tokens
      WHERE account = $1 AND kind = 'refresh' AND (expires_at IS NULL OR expires_at > $2)
      ORDER BY COALESCE(last_used_at, created_at) DESC, id DESC LIMIT 1000 OFFSET $3) RETURNING id"]);
static NAMESPACE_IS_THERE: Sql = Sql::new(&["SELECT name FROM namespaces WHERE name = $1 FOR_SHARE(namespaces)"]);
static PARENT_IS_THERE: Sql = Sql::new(&["SELECT id FROM access_tokens WHERE id = $1 FOR_SHARE(access_tokens)"]);
static INSERT: Sql = Sql::new(&["INSERT INTO access_tokens
     (kind, name, secret, account, namespace, grants, parent, client, created_at, expires_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING RETURNING id"]);
static DELETE: Sql = Sql::new(&["DELETE FROM access_tokens WHERE id = $1 RETURNING kind, name, namespace"]);
static TOUCH: Sql = Sql::new(&["UPDATE access_tokens SET last_used_at = $2
     WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $3)"]);
static DELETE_EXPIRED: Sql = Sql::new(&["DELETE FROM access_tokens WHERE id IN
     (SELECT id FROM access_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)"]);

fn token(row: &Row) -> Result<AccessToken, Error> {
    let kind = row.text(1)?;
    let corrupt = |wanted, text: &str| Error::Corrupt { wanted, text: text.into() };
    let owner = match (row.maybe_int(3)?, row.maybe_parse(4, "namespace")?) {
        (Some(user), None) => TokenOwner::User(UserId(user)),
        (None, Some(namespace)) => TokenOwner::Namespace(namespace),
        _ => return Err(corrupt("token's owner", row.text(2)?)),
    };
    Ok(AccessToken {
        id: TokenId(row.int(0)?),
        kind: TokenKind::ALL.into_iter().find(|k| k.as_str() == kind).ok_or_else(|| corrupt("kind of token", kind))?,
        name: row.text(2)?.into(),
        owner,
        grants: row.text(5)?.split_whitespace().map(|text| parse(text, "grant")).collect::<Result<_, _>>()?,
        parent: row.maybe_int(6)?.map(TokenId),
        client: row.maybe_text(7)?.map(Into::into),
        created_at: row.time(8)?,
        expires_at: row.maybe_time(9)?,
        last_used_at: row.maybe_time(10)?,
    })
}

impl Metadata {
    /// Makes a token. Personal and robot tokens are written to the audit log, refresh tokens are not:
    /// each login makes one, and a user has a hundred at most.
    ///
    /// # Errors
    /// [`CreateTokenError`]; nothing was changed then.
    pub async fn create_token(&self, token: NewToken, origin: Origin) -> Result<AccessToken, CreateTokenError> {
        self.write("create_token", (token, origin), |tx, (token, origin)| Box::pin(create(tx, token, origin))).await
    }

    /// The token with that secret, expired or not. On PostgreSQL up to two seconds old.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn token_by_secret(&self, secret: &TokenHash) -> Result<Option<AccessToken>, Error> {
        let caches = &self.core.caches;
        if let Some(id) = caches.secrets.get(secret) {
            return self.token(id).await;
        }
        let noted = caches.secrets.version(secret);
        let Some(row) = self.read_one("token_by_secret", &BY_SECRET, &[secret.0.as_slice().into()]).await? else {
            return Ok(None);
        };
        let found = token(&row)?;
        caches.secrets.insert(*secret, found.id, noted);
        Ok(Some(found))
    }

    /// The token with that id, expired or not. On PostgreSQL up to two seconds old.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn token(&self, id: TokenId) -> Result<Option<AccessToken>, Error> {
        let cache = &self.core.caches.tokens;
        if let Some(known) = cache.get(&id) {
            return Ok(Some(known));
        }
        let noted = cache.version(&id);
        let Some(row) = self.read_one("token", &BY_ID, &[id.0.into()]).await? else { return Ok(None) };
        let found = token(&row)?;
        cache.insert(id, found.clone(), noted);
        Ok(Some(found))
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
        let (sql, owner): (_, Arg<'_>) = match owner {
            TokenOwner::User(user) => (&OF_ACCOUNT, user.0.into()),
            TokenOwner::Namespace(namespace) => (&OF_NAMESPACE, namespace.as_str().into()),
        };
        let after = after.map_or(0, |after| after.0);
        let args = [owner, kind.as_str().into(), after.into(), limit(count).into()];
        self.read("tokens", sql, &args).await?.iter().map(token).collect()
    }

    /// Revokes a token, and the refresh tokens that were asked with it. `false` if there is none.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn revoke_token(&self, id: TokenId, origin: Origin) -> Result<bool, Error> {
        self.write("revoke_token", (id, origin), |tx, (id, origin)| {
            Box::pin(async move {
                let Some(row) = tx.one(&DELETE, &[id.0.into()]).await? else { return Ok(false) };
                // With it go those that were asked with it, which only the database knows.
                tx.note(News::Tokens);
                let (kind, name) = (row.text(0)?, row.text(1)?);
                let detail = row.maybe_text(2)?.map(|namespace| format!("{kind} of {namespace}: {name}"));
                let detail = detail.unwrap_or_else(|| format!("{kind}: {name}"));
                audit(tx, origin, AuditAction::TokenRevoke, &format!("token:{}", id.0), Some(&detail)).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Notes that the token was used, if that was last noted longer ago than `grain`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn touch_token(&self, token: &AccessToken, grain: Duration) -> Result<(), Error> {
        let now = Timestamp::now();
        if token.last_used_at.is_some_and(|last| last >= now.before(grain)) {
            return Ok(());
        }
        self.write("touch_token", (token.id, grain), |tx, (id, grain)| {
            Box::pin(async move {
                let (now, before) = (tx.now.as_micros(), tx.now.before(*grain).as_micros());
                tx.run(&TOUCH, &[id.0.into(), now.into(), before.into()]).await?;
                tx.note(News::Token(*id));
                Ok(())
            })
        })
        .await
    }

    /// Removes up to `count` tokens that expired before `before`; how many it removed.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn remove_expired_tokens(&self, before: Timestamp, count: usize) -> Result<u64, Error> {
        self.write("remove_expired_tokens", (before, count), |tx, (before, count)| {
            Box::pin(async move {
                let args = [before.as_micros().into(), limit(*count).into()];
                let removed = tx.run(&DELETE_EXPIRED, &args).await?.affected;
                if removed > 0 {
                    tx.note(News::Tokens);
                }
                Ok(removed)
            })
        })
        .await
    }
}

async fn create(tx: &mut Tx<'_>, token: &NewToken, origin: &Origin) -> Result<AccessToken, CreateTokenError> {
    let (account, namespace) = match &token.owner {
        TokenOwner::User(user) => (Some(user.0), None),
        TokenOwner::Namespace(namespace) => (None, Some(namespace.as_str())),
    };
    let owner = match &token.owner {
        TokenOwner::User(user) if token.kind == TokenKind::Refresh => tx.one(&USER_LOGS_IN, &[user.0.into()]).await?,
        TokenOwner::User(user) => tx.one(&USER_IS_THERE, &[user.0.into()]).await?,
        TokenOwner::Namespace(namespace) => tx.one(&NAMESPACE_IS_THERE, &[namespace.as_str().into()]).await?,
    };
    let parent = match token.parent {
        Some(parent) => tx.one(&PARENT_IS_THERE, &[parent.0.into()]).await?.is_some(),
        None => true,
    };
    if owner.is_none() || !parent {
        return Err(CreateTokenError::UnknownOwner);
    }
    if token.kind == TokenKind::Refresh {
        let args = [account.into(), tx.now.as_micros().into(), limit(SESSIONS - 1).into()];
        for row in tx.all(&END_OLDEST_SESSIONS, &args).await? {
            tx.note(News::Token(TokenId(row.int(0)?)));
        }
    }
    let grants = token.grants.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let args = [
        token.kind.as_str().into(),
        (&*token.name).into(),
        token.secret.0.as_slice().into(),
        account.into(),
        namespace.into(),
        grants.as_str().into(),
        token.parent.map(|parent| parent.0).into(),
        token.client.as_deref().into(),
        tx.now.as_micros().into(),
        token.expires_at.map(Timestamp::as_micros).into(),
    ];
    let Some(row) = tx.one(&INSERT, &args).await? else { return Err(CreateTokenError::NameTaken) };
    let id = TokenId(row.int(0)?);
    if token.kind != TokenKind::Refresh {
        let detail = match namespace {
            Some(namespace) => format!("{} of {namespace}: {}", token.kind.as_str(), token.name),
            None => format!("{}: {}", token.kind.as_str(), token.name),
        };
        audit(tx, origin, AuditAction::TokenCreate, &format!("token:{}", id.0), Some(&detail)).await?;
    }
    Ok(AccessToken {
        id,
        kind: token.kind,
        name: token.name.clone(),
        owner: token.owner.clone(),
        grants: token.grants.clone(),
        parent: token.parent,
        client: token.client.clone(),
        created_at: tx.now,
        expires_at: token.expires_at,
        last_used_at: None,
    })
}
