use std::sync::{Mutex, PoisonError};

use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, ConnectOptions, Connection};
use tokio::sync::Semaphore;
use tokio::time;

use super::Error;
use super::connect::{PATIENCE, SQLITE_READER};
use super::dialect::{Arg, Backend, Sql};
use super::transaction::{Row, run};

/// SQLite's connections that only read. A pool that looks after servers that
/// come and go costs as much as a question itself; a file needs none of that.
pub(super) struct Readers {
    options: Box<AnyConnectOptions>,
    free: Mutex<Vec<AnyConnection>>,
    /// One for each connection that may be open.
    permits: Semaphore,
    most: usize,
}

impl Readers {
    /// At most so many, opened when they are first needed.
    pub(super) fn new(options: AnyConnectOptions, most: usize) -> Self {
        Self {
            options: Box::new(options),
            free: Mutex::new(Vec::with_capacity(most)),
            permits: Semaphore::new(most),
            most,
        }
    }

    /// Asks a question.
    pub(super) async fn run(&self, sql: &Sql, args: &[Arg<'_>]) -> Result<Vec<Row>, Error> {
        let _permit = match self.permits.try_acquire() {
            Ok(permit) => permit,
            Err(_) => time::timeout(PATIENCE, self.permits.acquire())
                .await
                .map_err(|_| Error::from(sqlx::Error::PoolTimedOut))?
                .map_err(|_| Error::Closed)?,
        };
        let taken = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match taken {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let answer = run(&mut connection, Backend::Sqlite, sql, args).await?;
        // Kept for the next one; where the question failed, or nobody waited for the answer, it is closed.
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(answer.rows)
    }

    async fn connect(&self) -> Result<AnyConnection, Error> {
        let mut connection = self.options.connect().await?;
        sqlx::raw_sql(SQLITE_READER).execute(&mut connection).await?;
        Ok(connection)
    }

    /// How many wait for a question, and how many are at one.
    pub(super) fn idle_and_in_use(&self) -> (usize, usize) {
        let idle = self.free.lock().unwrap_or_else(PoisonError::into_inner).len();
        (idle, self.most.saturating_sub(self.permits.available_permits()))
    }

    /// Closes them; whoever asks from now on is told.
    pub(super) async fn close(&self) {
        self.permits.close();
        let free = std::mem::take(&mut *self.free.lock().unwrap_or_else(PoisonError::into_inner));
        for connection in free {
            if let Err(error) = connection.close().await {
                tracing::warn!(%error, "a connection to the database did not close cleanly");
            }
        }
    }
}
