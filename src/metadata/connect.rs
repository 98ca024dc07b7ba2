use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyPool, ConnectOptions, Connection};

use super::Error;
use super::dialect::Backend;
use super::migrate::migrate;
use super::readers::Readers;
use super::sqlite::Sqlite;

/// How long a question waits for a connection before it is told that the database is away.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Why the database could not be opened. For a person who starts the registry.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the database URL begins with neither `sqlite:` nor `postgres:`; try `sqlite:db/registry.db`")]
    Scheme,
    #[error("the database URL names no file; several connections share it, so `:memory:` will not do")]
    NoFile,
    #[error("the database URL cannot be used")]
    Url(#[source] sqlx::Error),
    #[error("the directory {} of the database cannot be created", .path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("the database {} cannot be created or written", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the database cannot be reached")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the thread that writes to the database cannot be started")]
    Thread(#[source] io::Error),
    #[error("migration {name} failed; nothing was changed")]
    Migration { name: &'static str, source: sqlx::Error },
    #[error("migration {name} is not the one that was applied to this database: was it changed since?")]
    MigrationChanged { name: &'static str },
    #[error(transparent)]
    Database(#[from] Error),
}

impl From<sqlx::Error> for OpenError {
    fn from(error: sqlx::Error) -> Self {
        Self::Connect(Box::new(error))
    }
}

/// Everything that leads to the database.
#[expect(clippy::large_enum_variant, reason = "there is one, for a moment, at start")]
pub(super) enum Connections {
    Sqlite {
        readers: Readers,
        writer: Sqlite,
        reconnect: Reconnect,
    },
    /// For questions and changes alike.
    Postgres(AnyPool),
}

/// Opens the writer's connection, and anew should it break.
pub(super) struct Reconnect(PathBuf);

impl Reconnect {
    pub(super) fn connect(&self) -> Result<Sqlite, rusqlite::Error> {
        Sqlite::open(&self.0, SQLITE_WRITER)
    }
}

/// An acknowledged commit survives a power cut (FULL); what a savepoint needs to
/// go back stays in memory; 8 MiB of pages; the log grows to 16 MiB before its
/// pages are written where they belong, since many are written again by then; one
/// that grew beyond is cut back.
const SQLITE_WRITER: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
     PRAGMA busy_timeout = 5000; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8192; \
     PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864";

pub(super) const SQLITE_READER: &str = "PRAGMA query_only = ON; PRAGMA busy_timeout = 5000; PRAGMA cache_size = -2048";

/// Commits survive a power cut whatever the server's default is, and nothing waits or idles for ever.
const POSTGRES_SESSION: &str = "SELECT set_config('synchronous_commit', 'local', false) \
     WHERE current_setting('synchronous_commit') = 'off'; \
     SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '60s'";

/// Connects, creating what is missing, and brings the schema up to date.
///
/// # Errors
/// [`OpenError`] says what is in the way.
pub(super) async fn connect(url: &str, connections: u32) -> Result<Connections, OpenError> {
    sqlx::any::install_default_drivers();
    if url.starts_with("sqlite:") {
        sqlite(url, connections).await
    } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        postgres(url, connections).await
    } else {
        Err(OpenError::Scheme)
    }
}

async fn sqlite(url: &str, connections: u32) -> Result<Connections, OpenError> {
    let path = sqlite_path(url)?;
    create(&path)?;
    let with_mode = match url.split_once('?') {
        None => format!("{url}?mode=rwc"),
        Some((_, query)) if query.split('&').any(|pair| pair.starts_with("mode=")) => url.to_owned(),
        Some(_) => format!("{url}&mode=rwc"),
    };
    let options = quiet(&with_mode)?;
    let reconnect = Reconnect(path);
    // Open before the other closes, which would take the log and its index along: a full disk has no room for new ones.
    let writer = reconnect.connect().map_err(|error| OpenError::Connect(Box::new(error)))?;
    let mut migrating = options.connect().await?;
    sqlx::raw_sql(SQLITE_WRITER).execute(&mut migrating).await?;
    migrate(&mut migrating, Backend::Sqlite).await?;
    migrating.close().await?;
    let readers = Readers::new(options, usize::try_from(connections).unwrap_or(1).max(1));
    Ok(Connections::Sqlite { readers, writer, reconnect })
}

async fn postgres(url: &str, connections: u32) -> Result<Connections, OpenError> {
    let options = quiet(url)?;
    let pool = AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .after_connect(|connection, _| {
            Box::pin(async move {
                sqlx::raw_sql(POSTGRES_SESSION).execute(connection).await?;
                Ok(())
            })
        })
        .connect_with(options)
        .await?;
    // A connection of its own: one that failed half-way is not handed on.
    let mut connection = pool.acquire().await?.detach();
    migrate(&mut connection, Backend::Postgres).await?;
    connection.close().await?;
    Ok(Connections::Postgres(pool))
}

/// Statements are not logged: they are many, and one that is slow shows in the metrics.
fn quiet(url: &str) -> Result<AnyConnectOptions, OpenError> {
    Ok(AnyConnectOptions::from_str(url).map_err(OpenError::Url)?.disable_statement_logging())
}

/// The file that the URL names, as sqlx reads it.
fn sqlite_path(url: &str) -> Result<PathBuf, OpenError> {
    let rest = url.trim_start_matches("sqlite:").trim_start_matches("//");
    let encoded = rest.split('?').next().unwrap_or_default();
    let path = percent_decode_str(encoded).decode_utf8().map_err(|_| OpenError::NoFile)?;
    if path.is_empty() || path == ":memory:" {
        return Err(OpenError::NoFile);
    }
    Ok(PathBuf::from(&*path))
}

/// The file and its directories. Only its owner may read it: it holds secrets.
fn create(path: &Path) -> Result<(), OpenError> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        fs::create_dir_all(directory).map_err(|source| OpenError::Directory { path: directory.to_owned(), source })?;
    }
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    opened.map(drop).map_err(|source| OpenError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_found_in_every_spelling_of_the_url() {
        let path = |url: &str| sqlite_path(url).map(|path| path.display().to_string());
        for (url, expected) in [
            ("sqlite:db/registry.db", "db/registry.db"),
            ("sqlite://db/registry.db?mode=rwc", "db/registry.db"),
            ("sqlite:///var/lib/a%20b.db", "/var/lib/a b.db"),
        ] {
            assert_eq!(path(url).unwrap(), expected);
        }
        for url in ["sqlite:", "sqlite::memory:", "sqlite://"] {
            assert!(matches!(sqlite_path(url), Err(OpenError::NoFile)), "{url}");
        }
    }
}
