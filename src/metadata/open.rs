use std::fmt;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use sqlx::AnyPool;

use super::cache::Caches;
use super::change::{Change, Job, Writer, transact};
use super::connect::{Connections, OpenError, connect};
use super::dialect::{Arg, Backend, Sql};
use super::error::{Error, Refusal};
use super::readers::Readers;
use super::transaction::{Row, Tx, run};

/// Where the metadata is and how it is kept.
#[derive(Clone)]
pub struct Options {
    /// `sqlite:<path>` or `postgres://…`. May hold a password.
    pub url: String,
    /// How long a blob that no manifest names stays linked.
    pub lease: Duration,
    /// How many connections may be open at once, beside the one that writes to SQLite.
    pub connections: u32,
    /// How much of the manifests is kept in memory, in bytes.
    pub manifest_cache: u64,
    /// On PostgreSQL, how old what another replica changed of accounts, tokens
    /// and rights may be.
    pub staleness: Duration,
    /// On SQLite, how often to look for what another process (the command line) wrote.
    pub poll: Duration,
}

impl Options {
    /// That database, everything else as usual.
    pub fn new(url: impl Into<String>) -> Self {
        let url = url.into();
        // A reader of a file is a thread here; one of a server mostly waits for it.
        let connections = if url.starts_with("sqlite:") { 4 } else { 16 };
        Self {
            url,
            lease: Duration::from_secs(24 * 60 * 60),
            connections,
            manifest_cache: 8 * 1024 * 1024,
            staleness: Duration::from_secs(2),
            poll: Duration::from_millis(200),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("Options")
            .field("lease", &self.lease)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

/// The metadata: cheap to clone, one for the whole process.
#[derive(Clone)]
pub struct Metadata {
    pub(super) core: Arc<Core>,
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata").field("backend", &self.core.backend).finish_non_exhaustive()
    }
}

pub(super) struct Core {
    pub(super) backend: Backend,
    pub(super) caches: Arc<Caches>,
    pub(super) lease: Duration,
    database: Database,
}

enum Database {
    Sqlite {
        readers: Readers,
        /// To the writer, until the metadata is closed.
        jobs: RwLock<Option<Sender<Box<dyn Job>>>>,
        writer: Mutex<Option<JoinHandle<()>>>,
    },
    Postgres(AnyPool),
}

static PING: Sql = Sql::new(&["SELECT 1"]);

impl Metadata {
    /// Connects, creates what is missing, and brings the schema up to date.
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way.
    pub async fn open(options: &Options) -> Result<Self, OpenError> {
        let connections = connect(&options.url, options.connections).await?;
        let backend = match connections {
            Connections::Sqlite { .. } => Backend::Sqlite,
            Connections::Postgres(_) => Backend::Postgres,
        };
        let caches = Arc::new(Caches::new(backend, options.staleness, options.manifest_cache));
        let database = match connections {
            Connections::Sqlite { readers, writer, reconnect } => {
                let (writer, jobs) = Writer::new(writer, reconnect, Arc::clone(&caches), options.poll);
                let thread = thread::Builder::new().name("sqlite-writer".to_owned()).spawn(|| writer.serve());
                let writer = Mutex::new(Some(thread.map_err(OpenError::Thread)?));
                Database::Sqlite { readers, jobs: RwLock::new(Some(jobs)), writer }
            }
            Connections::Postgres(pool) => Database::Postgres(pool),
        };
        Ok(Self { core: Arc::new(Core { backend, caches, lease: options.lease, database }) })
    }

    /// Which database it is.
    pub fn backend(&self) -> Backend {
        self.core.backend
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where it does not.
    pub async fn ping(&self) -> Result<(), Error> {
        self.read("ping", &PING, &[]).await.map(drop)
    }

    /// Finishes the changes under way and closes the connections.
    pub async fn close(&self) {
        match &self.core.database {
            Database::Sqlite { readers, jobs, writer } => {
                // The writer goes last: whoever does says what stays of the log.
                readers.close().await;
                drop(jobs.write().unwrap_or_else(PoisonError::into_inner).take());
                let writer = writer.lock().unwrap_or_else(PoisonError::into_inner).take();
                let ended = tokio::task::spawn_blocking(|| writer.map(JoinHandle::join)).await;
                if !matches!(ended, Ok(None | Some(Ok(())))) {
                    tracing::error!("the writer did not end well");
                }
            }
            Database::Postgres(pool) => pool.close().await,
        }
    }

    /// Asks the database.
    pub(super) async fn read(&self, op: &'static str, sql: &Sql, args: &[Arg<'_>]) -> Result<Vec<Row>, Error> {
        let began = Instant::now();
        // Boxed, or every request that a cache answers would have to have room for it, many times over.
        let rows = Box::pin(self.core.read(sql, args)).await;
        self.core.measure(op, began);
        rows
    }

    /// Asks the database for at most one row.
    pub(super) async fn read_one(&self, op: &'static str, sql: &Sql, args: &[Arg<'_>]) -> Result<Option<Row>, Error> {
        Ok(self.read(op, sql, args).await?.into_iter().next())
    }

    /// Makes a change: all of it or nothing, durable when this returns. It goes
    /// on when the caller goes away.
    pub(super) async fn write<A, T, E, F>(&self, op: &'static str, args: A, change: F) -> Result<T, E>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
        E: Refusal,
        F: for<'t> Fn(&'t mut Tx<'_>, &'t A) -> BoxFuture<'t, Result<T, E>> + Send + Sync + 'static,
    {
        let began = Instant::now();
        let outcome = match &self.core.database {
            Database::Sqlite { jobs, .. } => queue(jobs, args, change).await,
            Database::Postgres(pool) => {
                let (pool, caches) = (pool.clone(), Arc::clone(&self.core.caches));
                tokio::spawn(async move { transact(&pool, &caches, &args, &change).await })
                    .await
                    .unwrap_or_else(|_| Err(Error::Closed.into()))
            }
        };
        self.core.measure(op, began);
        outcome
    }
}

impl Core {
    async fn read(&self, sql: &Sql, args: &[Arg<'_>]) -> Result<Vec<Row>, Error> {
        match &self.database {
            Database::Sqlite { readers, .. } => readers.run(sql, args).await,
            Database::Postgres(pool) => {
                let mut connection = pool.acquire().await?;
                Ok(run(&mut connection, Backend::Postgres, sql, args).await?.rows)
            }
        }
    }

    fn measure(&self, op: &'static str, began: Instant) {
        let backend = self.backend.as_str();
        metrics::histogram!("registry_db_query_duration_seconds", "op" => op, "backend" => backend)
            .record(began.elapsed().as_secs_f64());
        let (idle, in_use) = match &self.database {
            Database::Sqlite { readers, .. } => readers.idle_and_in_use(),
            Database::Postgres(pool) => {
                let open = usize::try_from(pool.size()).unwrap_or_default();
                (pool.num_idle(), open.saturating_sub(pool.num_idle()))
            }
        };
        for (state, count) in [("idle", idle), ("in_use", in_use)] {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            metrics::gauge!("registry_db_pool_connections", "state" => state).set(count);
        }
    }
}

/// Hands a change to the writer and waits until it is committed.
async fn queue<A, T, E, F>(jobs: &RwLock<Option<Sender<Box<dyn Job>>>>, args: A, change: F) -> Result<T, E>
where
    A: Send + Sync + 'static,
    T: Send + 'static,
    E: Refusal,
    F: for<'t> Fn(&'t mut Tx<'_>, &'t A) -> BoxFuture<'t, Result<T, E>> + Send + Sync + 'static,
{
    let jobs = jobs.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(Error::Closed)?;
    let (job, answer) = Change::new(args, change);
    jobs.send(Box::new(job)).map_err(|_| Error::Closed)?;
    answer.await.unwrap_or_else(|_| Err(Error::Closed.into()))
}
