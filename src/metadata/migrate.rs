//! Brings the schema up to date: forward only, all in one transaction, under a
//! lock that several starting replicas contend for.
//!
//! Migrations expand and contract, so a replica of the previous release goes on
//! while one of the next has migrated already: versions that this binary does
//! not know are none of its business. The texts are part of the binary.

use sha2::{Digest as _, Sha256};
use sqlx::AnyConnection;

use super::clock::Timestamp;
use super::connect::OpenError;
use super::dialect::{Backend, Sql};
use super::transaction::{Columns, run};

struct Migration {
    version: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

macro_rules! migration {
    ($version:literal, $name:literal) => {
        Migration {
            version: $version,
            name: $name,
            sqlite: include_str!(concat!("../../migrations/sqlite/", $name, ".sql")),
            postgres: include_str!(concat!("../../migrations/postgres/", $name, ".sql")),
        }
    };
}

const MIGRATIONS: &[Migration] = &[
    migration!(1, "0001_accounts"),
    migration!(2, "0002_content"),
    migration!(3, "0003_audit"),
    migration!(4, "0004_audit_times"),
];

static APPLIED: Sql = Sql::new(&["SELECT version, checksum FROM schema_migrations ORDER BY version"]);
static RECORD: Sql =
    Sql::new(&["INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES ($1, $2, $3, $4)"]);

const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version BIGINT PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at BIGINT NOT NULL)";

/// Whoever comes second waits here until the first is done. The number is the registry's own.
const POSTGRES_LOCK: &str = "BEGIN; SET LOCAL lock_timeout = '10min'; SELECT pg_advisory_xact_lock(7251836401923)";
const SQLITE_LOCK: &str = "BEGIN IMMEDIATE";

/// Applies what is missing.
///
/// # Errors
/// [`OpenError`], and then nothing was applied.
pub(super) async fn migrate(connection: &mut AnyConnection, backend: Backend) -> Result<(), OpenError> {
    let lock = match backend {
        Backend::Sqlite => SQLITE_LOCK,
        Backend::Postgres => POSTGRES_LOCK,
    };
    sqlx::raw_sql(lock).execute(&mut *connection).await?;
    match apply(connection, backend).await {
        Ok(()) => {
            sqlx::raw_sql("COMMIT").execute(connection).await?;
            Ok(())
        }
        Err(error) => {
            // The first error is the one to tell; a connection that cannot roll back is dropped by whoever called.
            let _ = sqlx::raw_sql("ROLLBACK").execute(connection).await;
            Err(error)
        }
    }
}

async fn apply(connection: &mut AnyConnection, backend: Backend) -> Result<(), OpenError> {
    sqlx::raw_sql(TABLE).execute(&mut *connection).await?;
    let applied = run(connection, backend, &APPLIED, &[]).await?.rows;
    for migration in MIGRATIONS {
        let text = match backend {
            Backend::Sqlite => migration.sqlite,
            Backend::Postgres => migration.postgres,
        };
        let checksum = checksum(text);
        let mut recorded = None;
        for row in &applied {
            if row.int(0)? == migration.version {
                recorded = Some(row.text(1)?);
            }
        }
        match recorded {
            Some(recorded) if recorded == checksum => {}
            Some(_) => return Err(OpenError::MigrationChanged { name: migration.name }),
            None => {
                sqlx::raw_sql(text)
                    .execute(&mut *connection)
                    .await
                    .map_err(|source| OpenError::Migration { name: migration.name, source })?;
                let now = Timestamp::now().as_micros();
                let args = [migration.version.into(), migration.name.into(), checksum.as_str().into(), now.into()];
                run(connection, backend, &RECORD, &args).await?;
                tracing::info!(migration = migration.name, "the database's schema was brought forward");
            }
        }
    }
    Ok(())
}

fn checksum(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
