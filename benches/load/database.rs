use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::Result;
use crate::client::unique;
use crate::processes::postmaster_of;

/// A database of its own on a PostgreSQL that somebody else runs.
pub(crate) struct Database {
    server: String,
    name: String,
    pub(crate) url: String,
    /// The server's first process, if it is on this machine.
    pub(crate) process: Option<u32>,
}

impl Database {
    pub(crate) async fn create(server: &str) -> Result<Self> {
        let name = format!("load_{}", unique());
        let (address, parameters) = server.split_once('?').map_or((server, None), |(a, b)| (a, Some(b)));
        let (host, _) = address.rsplit_once('/').ok_or("a database's URL ends in its name")?;
        let url =
            format!("{host}/{name}{}", parameters.map_or_else(String::new, |parameters| format!("?{parameters}")));
        let mut connection = PgConnection::connect(server).await?;
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
        let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await?;
        let process = postmaster_of(backend.unsigned_abs());
        if process.is_none() {
            eprintln!("PostgreSQL is not on this machine: its CPU is not counted");
        }
        Ok(Self { server: server.to_owned(), name, url, process })
    }

    pub(crate) async fn remove(self) -> Result {
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        PgConnection::connect(&self.server).await?.execute(AssertSqlSafe(statement)).await?;
        Ok(())
    }
}
