//! How a change reaches the database.
//!
//! A change is a function of a transaction and its arguments, and may be run
//! again. On SQLite one thread owns the only connection that writes: it takes
//! whatever changes wait, runs each in a savepoint of its own, commits them
//! together, and then answers them all; so many acknowledged changes share one
//! fsync. On PostgreSQL each has a transaction of its own, run again when it
//! loses a race, boundedly. Either way a caller who goes away leaves no change
//! half done and no cache stale.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::{Acquire, AnyPool};
use tokio::sync::oneshot;
use tokio::time;

use super::cache::{Caches, News};
use super::connect::Reconnect;
use super::dialect::Sql;
use super::error::Refusal;
use super::sqlite::Sqlite;
use super::transaction::{Answer, Columns, Connection, Savepoint, Tx};
use super::{Error, Timestamp};
use crate::failpoint::failpoint;

/// At most so many changes share a commit, and none joins later than that, so
/// that the first does not wait for ever.
const TOGETHER: usize = 256;
const BOARDING: Duration = Duration::from_millis(25);

/// How often a change that loses races is tried.
const ATTEMPTS: u32 = 8;

/// A change that waits for the writer.
pub(super) trait Job: Send {
    /// Runs it, which on SQLite waits for nothing; an error means that what it did must be undone.
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), Undo>;

    /// Tells whoever waits: what came of it, or that the transaction failed.
    fn answer(self: Box<Self>, failure: Option<&Error>);
}

/// What must be undone after a change that failed.
#[derive(Debug, Clone)]
pub(super) enum Undo {
    /// Just what the change did.
    Change,
    /// Everything: the transaction is lost.
    Transaction(Error),
}

/// One change with its arguments, and where its result goes.
pub(super) struct Change<A, T, E, F> {
    args: A,
    change: F,
    result: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<A, T, E, F> Change<A, T, E, F> {
    pub(super) fn new(args: A, change: F) -> (Self, oneshot::Receiver<Result<T, E>>) {
        let (reply, answer) = oneshot::channel();
        (Self { args, change, result: None, reply }, answer)
    }
}

impl<A, T, E, F> Job for Change<A, T, E, F>
where
    A: Send + Sync,
    T: Send,
    E: Refusal,
    F: for<'t> Fn(&'t mut Tx<'_>, &'t A) -> BoxFuture<'t, Result<T, E>> + Send + Sync,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), Undo> {
        // A panic must not end the thread. Nothing is pending here: a change waits for its statements alone.
        let ran = AssertUnwindSafe((self.change)(tx, &self.args)).catch_unwind().now_or_never();
        let result = ran.and_then(Result::ok).unwrap_or_else(|| Err(Error::Closed.into()));
        let undo = match &result {
            Ok(_) => Ok(()),
            Err(refusal) => match refusal.failure() {
                Some(failure) if failure.ends_transaction() => Err(Undo::Transaction(failure.clone())),
                _ => Err(Undo::Change),
            },
        };
        self.result = Some(result);
        undo
    }

    fn answer(self: Box<Self>, failure: Option<&Error>) {
        let result = match failure {
            Some(failure) => Err(failure.clone().into()),
            None => self.result.unwrap_or_else(|| Err(Error::Closed.into())),
        };
        // Nobody listens any more where the caller has gone; the change stands all the same.
        let _ = self.reply.send(result);
    }
}

/// What the one thread has that writes to SQLite.
pub(super) struct Writer {
    connection: Option<Sqlite>,
    reconnect: Reconnect,
    /// As many as there are requests at once, which are bounded.
    jobs: Receiver<Box<dyn Job>>,
    caches: Arc<Caches>,
    poll: Duration,
    /// SQLite's count of commits by other connections, when last looked at.
    data_version: i64,
}

static BEGIN: Sql = Sql::new(&["BEGIN IMMEDIATE", "PRAGMA data_version", "SAVEPOINT change"]);
static DATA_VERSION: Sql = Sql::new(&["PRAGMA data_version"]);
static GO_BACK: Sql = Sql::new(&["ROLLBACK TO change"]);
static COMMIT: Sql = Sql::new(&["COMMIT"]);
static ROLLBACK: Sql = Sql::new(&["ROLLBACK"]);

impl Writer {
    /// `poll` is how long it waits for a change before it looks for what other processes wrote.
    pub(super) fn new(
        connection: Sqlite,
        reconnect: Reconnect,
        caches: Arc<Caches>,
        poll: Duration,
    ) -> (Self, Sender<Box<dyn Job>>) {
        let (sender, jobs) = channel();
        (Self { connection: Some(connection), reconnect, jobs, caches, poll, data_version: 0 }, sender)
    }

    /// Writes until nobody can ask any more.
    pub(super) fn serve(mut self) {
        loop {
            match self.jobs.recv_timeout(self.poll) {
                // This looks around, too.
                Ok(job) => self.write(job),
                Err(RecvTimeoutError::Timeout) => self.look_around(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close()
        {
            tracing::warn!(%error, "the database did not close cleanly");
        }
    }

    fn look_around(&mut self) {
        let looked = self.execute(&DATA_VERSION);
        match looked.and_then(|answer| answer.rows.first().map_or(Ok(0), |row| row.int(0))) {
            Ok(version) => self.notice(version),
            Err(_) => self.lose(),
        }
    }

    /// Another connection has written: nothing that is remembered is sure.
    fn notice(&mut self, data_version: i64) {
        if data_version != self.data_version {
            self.data_version = data_version;
            self.caches.clear();
        }
    }

    /// The connection is of no use any more.
    fn lose(&mut self) {
        self.connection = None;
        self.data_version = 0;
        self.caches.clear();
    }

    fn execute(&mut self, sql: &Sql) -> Result<Answer, Error> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.reconnect.connect()?,
        };
        self.connection.insert(connection).run(sql, &[])
    }

    fn begin(&mut self) -> Result<(), Error> {
        let answer = self.execute(&BEGIN)?;
        let version = answer.rows.first().map_or(Ok(0), |row| row.int(0))?;
        self.notice(version);
        Ok(())
    }

    /// Runs a change and whatever waits behind it, commits, and answers.
    fn write(&mut self, first: Box<dyn Job>) {
        let mut jobs = Vec::new();
        let mut news = Vec::new();
        let done = match self.begin() {
            Ok(()) => self.run_all(first, &mut jobs, &mut news),
            Err(error) => {
                jobs.push(first);
                Err(error)
            }
        };
        let done = match done {
            Ok(()) => self.commit(),
            Err(error) => {
                self.roll_back();
                Err(error)
            }
        };
        match &done {
            Ok(()) => self.caches.apply(news),
            // Each who waits is told, and logs it with the request it belongs to.
            Err(_) => self.caches.clear(),
        }
        for job in jobs {
            job.answer(done.as_ref().err());
        }
    }

    fn run_all(
        &mut self,
        first: Box<dyn Job>,
        jobs: &mut Vec<Box<dyn Job>>,
        news: &mut Vec<News>,
    ) -> Result<(), Error> {
        let began = Instant::now();
        let mut next = Some(first);
        while let Some(mut job) = next {
            let caches = Arc::clone(&self.caches);
            // Facts that a change in this very transaction may have made untrue are asked anew.
            let known = (!news.iter().any(touches_facts)).then_some(&*caches);
            let savepoint = if jobs.is_empty() { Savepoint::Set } else { Savepoint::Due };
            let (ran, savepoint) = match self.connection.as_mut() {
                None => (Err(Undo::Transaction(Error::Closed)), savepoint),
                Some(connection) => {
                    let mut tx = Tx::new(Connection::Sqlite(connection), Timestamp::now(), known, savepoint);
                    let ran = job.run(&mut tx);
                    let savepoint = tx.savepoint();
                    let ran = ran.and_then(|()| passed("metadata.change.made").map_err(Undo::Transaction));
                    if ran.is_ok() {
                        news.append(&mut tx.into_news());
                    }
                    (ran, savepoint)
                }
            };
            jobs.push(job);
            match ran {
                Err(Undo::Change) if savepoint == Savepoint::Set => self.execute(&GO_BACK).map(drop)?,
                Err(Undo::Transaction(error)) => return Err(error),
                Ok(()) | Err(Undo::Change) => {}
            }
            let more = jobs.len() < TOGETHER && began.elapsed() < BOARDING;
            next = if more { self.jobs.try_recv().ok() } else { None };
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Error> {
        let committed = match self.connection.as_mut() {
            Some(connection) => commit_on(connection),
            None => return Err(Error::Closed),
        };
        if let Err(error) = committed {
            // Still open after a full disk; gone after worse, and so is our trust in the connection.
            match error {
                Error::OutcomeUnknown(_) => self.lose(),
                _ => self.roll_back(),
            }
            return Err(error);
        }
        Ok(())
    }

    fn roll_back(&mut self) {
        match self.execute(&ROLLBACK) {
            // A refused statement means that SQLite has rolled back by itself, as it does when the disk is full.
            Ok(_) | Err(Error::Sql(_)) => {}
            Err(_) => self.lose(),
        }
    }
}

fn commit_on(connection: &mut Sqlite) -> Result<(), Error> {
    passed("metadata.commit.begin")?;
    connection.run(&COMMIT, &[]).map_err(Error::of_commit)?;
    unanswered("metadata.commit.done")
}

/// A failpoint where nothing is committed yet.
fn passed(place: &str) -> Result<(), Error> {
    failpoint(place).map_err(|error| Error::from(sqlx::Error::Io(error)))
}

/// A failpoint where the commit is done, and its answer lost.
fn unanswered(place: &str) -> Result<(), Error> {
    failpoint(place).map_err(|error| Error::of_commit(sqlx::Error::Io(error)))
}

fn touches_facts(news: &News) -> bool {
    matches!(news, News::Facts | News::Everything)
}

/// Runs a change on PostgreSQL, again where it loses a race.
pub(super) async fn transact<A, T, E, F>(pool: &AnyPool, caches: &Caches, args: &A, change: &F) -> Result<T, E>
where
    E: Refusal,
    F: for<'t> Fn(&'t mut Tx<'_>, &'t A) -> BoxFuture<'t, Result<T, E>>,
{
    let mut attempt = 1;
    loop {
        let outcome = transact_once(pool, caches, args, change).await;
        let raced = matches!(&outcome, Err(refusal) if refusal.failure().is_some_and(Error::is_race));
        if !raced || attempt == ATTEMPTS {
            return outcome;
        }
        // Whoever lost together does not come back together.
        let jitter = u64::from(uuid::Uuid::new_v4().as_bytes()[0]);
        time::sleep(Duration::from_micros((1 << attempt) * (500 + 4 * jitter))).await;
        attempt += 1;
    }
}

async fn transact_once<A, T, E, F>(pool: &AnyPool, caches: &Caches, args: &A, change: &F) -> Result<T, E>
where
    E: Refusal,
    F: for<'t> Fn(&'t mut Tx<'_>, &'t A) -> BoxFuture<'t, Result<T, E>>,
{
    let failed = |error: sqlx::Error| E::from(Error::from(error));
    let mut connection = pool.acquire().await.map_err(failed)?;
    let mut transaction = connection.begin().await.map_err(failed)?;
    let mut tx = Tx::new(Connection::Postgres(&mut transaction), Timestamp::now(), None, Savepoint::Set);
    let value = match change(&mut tx, args).await {
        Ok(value) => value,
        Err(refusal) => {
            // If this fails too, the connection is closed and the server rolls back.
            let _ = transaction.rollback().await;
            return Err(refusal);
        }
    };
    let news = tx.into_news();
    passed("metadata.change.made")?;
    passed("metadata.commit.begin")?;
    let committed = transaction.commit().await.map_err(Error::of_commit);
    match committed.and_then(|()| unanswered("metadata.commit.done")) {
        Ok(()) => caches.apply(news),
        Err(error) => {
            caches.clear();
            return Err(error.into());
        }
    }
    Ok(value)
}
