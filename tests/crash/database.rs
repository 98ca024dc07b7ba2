use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};

/// Where the registries of one life keep their metadata, gone when dropped.
pub(crate) enum Database {
    Sqlite(String),
    Postgres { server: String, name: String, url: String },
}

impl Database {
    pub(crate) fn sqlite(directory: &Path) -> Self {
        Self::Sqlite(format!("sqlite:{}", directory.join("db/registry.db").display()))
    }

    /// A database of its own on the server that this URL names.
    pub(crate) fn postgres(server: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("crash_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let (address, parameters) = server.split_once('?').map_or((server, ""), |(address, rest)| (address, rest));
        let (host, _) = address.rsplit_once('/').expect("TEST_POSTGRES_URL ends in a database's name");
        let url = if parameters.is_empty() { format!("{host}/{name}") } else { format!("{host}/{name}?{parameters}") };
        run(server, &format!("CREATE DATABASE {name}"));
        Self::Postgres { server: server.to_owned(), name, url }
    }

    /// What `DATABASE_URL` says.
    pub(crate) fn url(&self) -> &str {
        match self {
            Self::Sqlite(url) | Self::Postgres { url, .. } => url,
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // After a failure it is kept to be looked at.
        if let (Self::Postgres { server, name, .. }, false) = (&*self, std::thread::panicking()) {
            run(server, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        }
    }
}

fn run(server: &str, statement: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = PgConnection::connect(server).await.expect("the server of TEST_POSTGRES_URL answers");
        // Two CREATE DATABASE at once may find their template busy.
        let mut tries = 0;
        while let Err(error) = connection.execute(AssertSqlSafe(statement.to_owned())).await {
            tries += 1;
            assert!(tries < 20, "{statement}: {error}");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    });
}
