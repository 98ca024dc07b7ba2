//! What the metadata must do, on both databases: SQLite always, PostgreSQL
//! where `TEST_POSTGRES_URL` names a server whose role may create databases.

mod accounts;

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use sqlx::{AnyConnection, Connection};

use super::*;
use crate::domain::{Algorithm, Digest, ObjectName, RepositoryName, UploadId, Username, Visibility};

/// A database of its own for one test, gone with it.
pub(super) struct Database {
    pub(super) metadata: Metadata,
    pub(super) options: Options,
    _directory: Option<tempfile::TempDir>,
    drop_at: Option<(String, String)>,
}

impl std::ops::Deref for Database {
    type Target = Metadata;
    fn deref(&self) -> &Metadata {
        &self.metadata
    }
}

/// Runs the same test on every database at hand, each time on an empty one.
pub(super) fn on_each<F: Future<Output = ()>>(test: impl Fn(Arc<Database>) -> F) {
    on_each_with(|_| {}, test);
}

pub(super) fn on_each_with<F: Future<Output = ()>>(change: impl Fn(&mut Options), test: impl Fn(Arc<Database>) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let server = std::env::vars().find(|(name, _)| name == "TEST_POSTGRES_URL").map(|(_, url)| url);
    let servers = [None, server];
    for server in servers.iter().take(if servers[1].is_some() { 2 } else { 1 }) {
        runtime.block_on(async {
            let database = Arc::new(open(server.as_deref(), &change).await);
            test(Arc::clone(&database)).await;
            database.metadata.close().await;
            if let Some((server, name)) = &database.drop_at {
                let mut connection = AnyConnection::connect(server).await.unwrap();
                let sql = sqlx::AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"));
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            }
        });
    }
}

async fn open(server: Option<&str>, change: &impl Fn(&mut Options)) -> Database {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (url, directory, drop_at) = match server {
        None => {
            let directory = tempfile::tempdir().unwrap();
            (format!("sqlite:{}/db/registry.db", directory.path().display()), Some(directory), None)
        }
        Some(server) => {
            let name = format!("metadata_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            sqlx::any::install_default_drivers();
            let mut connection = AnyConnection::connect(server).await.unwrap();
            let sql = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            let (base, _) = server.rsplit_once('/').unwrap();
            (format!("{base}/{name}"), None, Some((server.to_owned(), name)))
        }
    };
    let mut options = Options::new(url);
    change(&mut options);
    let metadata = Metadata::open(&options).await.unwrap();
    Database { metadata, options, _directory: directory, drop_at }
}

pub(super) fn origin() -> Origin {
    Origin { actor: Actor::Anonymous, address: Some(IpAddr::from([192, 0, 2, 7])), request: Some("request-1".into()) }
}

pub(super) fn as_user(account: &Account) -> Origin {
    let actor = Actor::User { id: account.id, name: account.name.clone() };
    Origin { actor, ..origin() }
}

pub(super) fn new_user(name: &str) -> NewUser {
    NewUser {
        name: name.parse().unwrap(),
        password_hash: PasswordHash::new("$argon2id$…"),
        pepper_id: Some("p1".into()),
        admin: false,
    }
}

pub(super) async fn user(metadata: &Metadata, name: &str) -> Account {
    metadata.create_user(new_user(name), origin()).await.unwrap()
}
