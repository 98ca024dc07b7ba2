use std::path::Path;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};

use super::content::unique_name;

/// Where one registry keeps its metadata, gone when dropped.
pub(crate) enum Database {
    Sqlite { url: String },
    Postgres { server: String, name: String, url: String },
}

impl Database {
    /// An empty database: a file beside the blobs, or one on the PostgreSQL server
    /// that `TEST_POSTGRES_URL` names.
    #[expect(clippy::disallowed_methods, reason = "the suite is told by the environment which database to test")]
    pub(crate) async fn create(directory: &Path) -> Self {
        let Ok(server) = std::env::var("TEST_POSTGRES_URL") else {
            return Self::Sqlite { url: format!("sqlite:{}", directory.join("registry.db").display()) };
        };
        let name = format!("test_{}_{}", std::process::id(), unique_name("db").replace('-', "_"));
        let (address, parameters) = server.split_once('?').map_or((&*server, ""), |(a, p)| (a, p));
        let (host, _) = address.rsplit_once('/').expect("TEST_POSTGRES_URL ends in a database's name");
        let parameters = if parameters.is_empty() { String::new() } else { format!("?{parameters}") };
        let url = format!("{host}/{name}{parameters}");
        run(&server, format!("CREATE DATABASE {name}")).await;
        Self::Postgres { server, name, url }
    }

    /// What `DATABASE_URL` says.
    pub(crate) fn url(&self) -> &str {
        match self {
            Self::Sqlite { url } | Self::Postgres { url, .. } => url,
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Self::Postgres { server, name, .. } = self {
            let statement = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            let server = server.clone();
            // A test's own runtime may be the one that is ending.
            let dropped = std::thread::spawn(move || {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap()
                    .block_on(run(&server, statement));
            });
            if dropped.join().is_err() {
                eprintln!("the database {name} could not be dropped");
            }
        }
    }
}

async fn run(server: &str, statement: String) {
    let mut connection = PgConnection::connect(server).await.expect("the server of TEST_POSTGRES_URL answers");
    // Two CREATE DATABASE at once may find their template busy.
    let mut last = None;
    for _ in 0..20 {
        match connection.execute(AssertSqlSafe(statement.clone())).await {
            Ok(_) => return,
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{statement}: {}", last.unwrap());
}
