//! The room over a real database: SQLite always, PostgreSQL where
//! `TEST_POSTGRES_URL` names a server whose role may create databases.

mod costs;
mod logins;
mod permits;
mod sessions;

use std::future::Future;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::{AnyConnection, Connection};

use super::*;
use crate::domain::{Grant, Namespace, Username};
use crate::metadata;
use crate::metadata::{AccessToken, Account, Metadata, NewToken, NewUser, Origin, TokenKind, TokenOwner};

/// A database of its own, and what the tests do with it.
struct House {
    metadata: Metadata,
    auth: Auth,
}

/// Options that a test need not wait for.
fn options() -> Options {
    Options { jwt_secret: Some("a secret of thirty-two bytes or so".into()), ..Options::default() }
}

/// Runs the test on every database at hand, each time on an empty one.
#[expect(clippy::disallowed_methods, reason = "which databases are at hand, the environment says")]
fn on_each<F: Future<Output = ()>>(options: &Options, test: impl Fn(Arc<House>) -> F) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let server = std::env::vars().find(|(name, _)| name == "TEST_POSTGRES_URL").map(|(_, url)| url);
    runtime.block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let file = format!("sqlite:{}/registry.db", directory.path().display());
        test(open(&file, options).await).await;
        if let Some(server) = server {
            sqlx::any::install_default_drivers();
            let name = format!("auth_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            run(&server, format!("CREATE DATABASE {name}")).await;
            let (base, _) = server.rsplit_once('/').unwrap();
            test(open(&format!("{base}/{name}"), options).await).await;
            run(&server, format!("DROP DATABASE {name} WITH (FORCE)")).await;
        }
    });
}

async fn open(url: &str, options: &Options) -> Arc<House> {
    let metadata = Metadata::open(&metadata::Options::new(url)).await.unwrap();
    let auth = Auth::new(metadata.clone(), options.clone()).await.unwrap();
    Arc::new(House { metadata, auth })
}

async fn run(server: &str, sql: String) {
    let mut connection = AnyConnection::connect(server).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
}

fn name(text: &str) -> Username {
    text.parse().unwrap()
}

fn from(last: u8) -> Peer {
    IpAddr::from([192, 0, 2, last]).into()
}

fn password(text: &str) -> Password {
    Password::try_from(text).unwrap()
}

impl House {
    /// A user, whose password is `password`.
    async fn user(&self, user: &str) -> Account {
        self.person(user, false).await
    }

    async fn admin(&self, user: &str) -> Account {
        self.person(user, true).await
    }

    async fn person(&self, user: &str, admin: bool) -> Account {
        static HASHED: LazyLock<Hashed> =
            LazyLock::new(|| Hasher::new(None).unwrap().hash(&password("password")).unwrap());
        let Hashed { hash, pepper_id } = HASHED.clone();
        let user = NewUser { name: name(user), password_hash: hash, pepper_id, admin };
        self.metadata.create_user(user, Origin::system()).await.unwrap()
    }

    async fn set_password(&self, account: &Account, to: &str) {
        let Hashed { hash, pepper_id } = Hasher::new(None).unwrap().hash(&password(to)).unwrap();
        self.metadata.set_password(account.id, hash, pepper_id, Origin::system()).await.unwrap().unwrap();
    }

    async fn login(&self, user: &str, password: &str, peer: &Peer) -> Result<Caller, Rejection> {
        self.auth.basic(user, password, peer).await
    }

    /// A bearer token of that caller, asked for with these scopes or none.
    async fn bearer(&self, caller: &Caller, scopes: Option<&str>) -> String {
        let asked = scopes.map(|scopes| Scopes::asked([scopes]).unwrap().unwrap());
        self.auth.issue(caller, asked.as_ref()).await.unwrap().token.expose_secret().to_owned()
    }

    /// An access token: its secret, and what the database knows of it.
    async fn token(&self, kind: TokenKind, owner: TokenOwner, label: &str, grants: &[&str]) -> (String, AccessToken) {
        self.token_until(kind, owner, label, grants, None).await
    }

    async fn token_until(
        &self,
        kind: TokenKind,
        owner: TokenOwner,
        label: &str,
        grants: &[&str],
        expires_at: Option<metadata::Timestamp>,
    ) -> (String, AccessToken) {
        let NewSecret { secret, hash } = NewSecret::generate(kind).unwrap();
        let grants = grants.iter().map(|grant| grant.parse::<Grant>().unwrap()).collect();
        let name = label.into();
        let token = NewToken { kind, name, owner, grants, secret: hash, parent: None, client: None, expires_at };
        let token = self.metadata.create_token(token, Origin::system()).await.unwrap();
        (secret.expose_secret().to_owned(), token)
    }
}

fn is_invalid<T>(outcome: &Result<T, Rejection>) -> bool {
    matches!(outcome, Err(Rejection::Invalid))
}

fn namespace(text: &str) -> TokenOwner {
    TokenOwner::Namespace(text.parse::<Namespace>().unwrap())
}

/// In which something does not happen, and in which something does.
const SOON: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(20);
