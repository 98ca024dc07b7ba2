use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use sqlx::AnyPool;
use sqlx::any::AnyRow;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::cache::Caches;
use super::change::{Change, Job, Writer, transact};
use super::connect::{Connections, OpenError, connect};
use super::dialect::{Arg, Backend, Sql};
use super::error::{Error, Refusal};
use super::transaction::{Tx, run};

/// Where the metadata is and how it is kept.
#[derive(Clone)]
pub struct Options {
    /// `sqlite:<path>` or `postgres://…`. May hold a password.
    pub url: String,
    /// How long a blob that no manifest names stays linked.
    pub lease: Duration,
    /// How many connections may be open at once.
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
        Self {
            url: url.into(),
            lease: Duration::from_secs(24 * 60 * 60),
            connections: 8,
            manifest_cache: 16 * 1024 * 1024,
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
    pool: AnyPool,
    /// To the writer, on SQLite, until the metadata is closed.
    jobs: std::sync::RwLock<Option<mpsc::Sender<Box<dyn Job>>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

static PING: Sql = Sql::new(&["SELECT 1"]);

impl Metadata {
    /// Connects, creates what is missing, and brings the schema up to date.
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way.
    pub async fn open(options: &Options) -> Result<Self, OpenError> {
        let Connections { backend, pool, writer } = connect(&options.url, options.connections).await?;
        let caches = Arc::new(Caches::new(backend, options.staleness, options.manifest_cache));
        let (jobs, writer) = match writer {
            Some((connection, reconnect)) => {
                let (writer, jobs) = Writer::new(connection, reconnect, Arc::clone(&caches), options.poll);
                (Some(jobs), Some(tokio::spawn(writer.serve())))
            }
            None => (None, None),
        };
        let core = Core {
            backend,
            caches,
            lease: options.lease,
            pool,
            jobs: std::sync::RwLock::new(jobs),
            writer: Mutex::new(writer),
        };
        Ok(Self { core: Arc::new(core) })
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
        drop(self.core.jobs.write().unwrap_or_else(std::sync::PoisonError::into_inner).take());
        if let Some(writer) = self.core.writer.lock().await.take()
            && let Err(error) = writer.await
        {
            tracing::error!(%error, "the writer did not end well");
        }
        self.core.pool.close().await;
    }

    /// Asks the database.
    pub(super) async fn read(&self, op: &'static str, sql: &Sql, args: &[Arg<'_>]) -> Result<Vec<AnyRow>, Error> {
        let began = Instant::now();
        let rows = self.core.read(sql, args).await;
        self.core.measure(op, began);
        rows
    }

    /// Asks the database for at most one row.
    pub(super) async fn read_one(
        &self,
        op: &'static str,
        sql: &Sql,
        args: &[Arg<'_>],
    ) -> Result<Option<AnyRow>, Error> {
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
        let outcome = match self.core.backend {
            Backend::Sqlite => self.core.queue(args, change).await,
            Backend::Postgres => {
                let core = Arc::clone(&self.core);
                tokio::spawn(async move { transact(&core.pool, &core.caches, &args, &change).await })
                    .await
                    .unwrap_or_else(|_| Err(Error::Closed.into()))
            }
        };
        self.core.measure(op, began);
        outcome
    }
}

impl Core {
    async fn read(&self, sql: &Sql, args: &[Arg<'_>]) -> Result<Vec<AnyRow>, Error> {
        let mut connection = self.pool.acquire().await?;
        Ok(run(&mut connection, self.backend, sql, args).await?.rows)
    }

    async fn queue<A, T, E, F>(&self, args: A, change: F) -> Result<T, E>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
        E: Refusal,
        F: for<'t> Fn(&'t mut Tx<'_>, &'t A) -> BoxFuture<'t, Result<T, E>> + Send + Sync + 'static,
    {
        let jobs = self.jobs.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let (job, answer) = Change::new(args, change);
        match jobs {
            Some(jobs) => jobs.send(Box::new(job)).await.map_err(|_| Error::Closed)?,
            None => return Err(Error::Closed.into()),
        }
        answer.await.unwrap_or_else(|_| Err(Error::Closed.into()))
    }

    fn measure(&self, op: &'static str, began: Instant) {
        let backend = self.backend.as_str();
        metrics::histogram!("registry_db_query_duration_seconds", "op" => op, "backend" => backend)
            .record(began.elapsed().as_secs_f64());
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX);
        let in_use = self.pool.size().saturating_sub(idle);
        metrics::gauge!("registry_db_pool_connections", "state" => "idle").set(idle);
        metrics::gauge!("registry_db_pool_connections", "state" => "in_use").set(in_use);
    }
}
