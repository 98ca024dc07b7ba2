use futures_util::TryStreamExt;
use rusqlite::types::Value;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Either, Executor, Row as _};
use std::str::FromStr;
use uuid::Uuid;

use super::cache::{Caches, News};
use super::dialect::{Arg, Backend, Sql, arguments};
use super::repositories::{Asker, Facts};
use super::sqlite::Sqlite;
use super::{Error, Timestamp};
use crate::domain::RepositoryName;

/// A transaction under way: what a change sees and does.
///
/// On SQLite it may be one of several in the same database transaction, each in
/// a savepoint of its own; a change cannot tell.
pub(super) struct Tx<'c> {
    connection: Connection<'c>,
    /// One time for the whole change.
    pub(super) now: Timestamp,
    caches: Option<&'c Caches>,
    news: Vec<News>,
    savepoint: Savepoint,
}

/// What a transaction is under way on.
pub(super) enum Connection<'c> {
    Sqlite(&'c mut Sqlite),
    Postgres(&'c mut AnyConnection),
}

/// Whether a change can be undone alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Savepoint {
    /// It has nothing to undo yet; its first statement sets a savepoint on its way.
    Due,
    Set,
}

/// Takes the place of the last savepoint.
static SAVE: Sql = Sql::new(&["RELEASE change", "SAVEPOINT change"]);

/// A row, as the connection gave it.
pub(super) enum Row {
    /// By a connection of sqlx.
    Any(AnyRow),
    /// By the one that writes to SQLite.
    Sqlite(Vec<Value>),
}

/// What the database said to a statement, or to several.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) rows: Vec<Row>,
    /// Rows changed by the last statement.
    pub(super) affected: u64,
}

impl<'c> Tx<'c> {
    /// `caches` are those that hold the truth for this transaction, if any do.
    pub(super) fn new(
        connection: Connection<'c>,
        now: Timestamp,
        caches: Option<&'c Caches>,
        savepoint: Savepoint,
    ) -> Self {
        Self { connection, now, caches, news: Vec::new(), savepoint }
    }

    /// Which database it is.
    pub(super) fn backend(&self) -> Backend {
        match &self.connection {
            Connection::Sqlite(_) => Backend::Sqlite,
            Connection::Postgres(_) => Backend::Postgres,
        }
    }

    /// Runs statements that change something.
    pub(super) async fn run(&mut self, sql: &Sql, args: &[Arg<'_>]) -> Result<Answer, Error> {
        match &mut self.connection {
            Connection::Sqlite(connection) => {
                if self.savepoint == Savepoint::Due {
                    connection.run(&SAVE, &[])?;
                    self.savepoint = Savepoint::Set;
                }
                connection.run(sql, args)
            }
            Connection::Postgres(connection) => run(connection, Backend::Postgres, sql, args).await,
        }
    }

    /// Whether there is something to go back to.
    pub(super) fn savepoint(&self) -> Savepoint {
        self.savepoint
    }

    /// All rows.
    pub(super) async fn all(&mut self, sql: &Sql, args: &[Arg<'_>]) -> Result<Vec<Row>, Error> {
        Ok(self.run(sql, args).await?.rows)
    }

    /// The first row, if there is one.
    pub(super) async fn one(&mut self, sql: &Sql, args: &[Arg<'_>]) -> Result<Option<Row>, Error> {
        Ok(self.all(sql, args).await?.into_iter().next())
    }

    /// What the caches are told once the change is committed.
    pub(super) fn note(&mut self, news: News) {
        self.news.push(news);
    }

    /// What the change noted.
    pub(super) fn into_news(self) -> Vec<News> {
        self.news
    }

    /// The facts, where a cache is known to hold the truth of this transaction.
    pub(super) fn known_facts(&self, repository: &RepositoryName, asker: Asker) -> Option<Facts> {
        self.caches?.facts.get(&(repository.clone(), asker))
    }
}

/// Runs statements on a connection.
pub(super) async fn run(
    connection: &mut AnyConnection,
    backend: Backend,
    sql: &Sql,
    args: &[Arg<'_>],
) -> Result<Answer, Error> {
    let mut answer = Answer::default();
    match backend {
        Backend::Sqlite => {
            #[cfg(test)]
            super::tests::plans::check_on(connection, sql).await;
            let query = sqlx::query_with(sql.sqlite(), arguments(args)?);
            collect(connection, query, &mut answer).await?;
        }
        Backend::Postgres => {
            for statement in sql.postgres() {
                let query = sqlx::query_with(statement.text, statement.arguments(args)?);
                collect(connection, query, &mut answer).await?;
            }
        }
    }
    Ok(answer)
}

async fn collect(
    connection: &mut AnyConnection,
    query: sqlx::query::Query<'_, sqlx::Any, sqlx::any::AnyArguments>,
    answer: &mut Answer,
) -> Result<(), Error> {
    let mut stream = connection.fetch_many(query);
    while let Some(step) = stream.try_next().await? {
        match step {
            Either::Left(done) => answer.affected = done.rows_affected(),
            Either::Right(row) => answer.rows.push(Row::Any(row)),
        }
    }
    Ok(())
}

/// Reading a row by a column's place.
pub(super) trait Columns {
    fn int(&self, column: usize) -> Result<i64, Error>;
    fn maybe_int(&self, column: usize) -> Result<Option<i64>, Error>;
    fn text(&self, column: usize) -> Result<&str, Error>;
    fn maybe_text(&self, column: usize) -> Result<Option<&str>, Error>;
    fn bytes(&self, column: usize) -> Result<&[u8], Error>;

    fn flag(&self, column: usize) -> Result<bool, Error> {
        Ok(self.int(column)? != 0)
    }

    fn size(&self, column: usize) -> Result<u64, Error> {
        let number = self.int(column)?;
        u64::try_from(number).map_err(|_| Error::Corrupt { wanted: "size", text: number.to_string().into() })
    }

    fn time(&self, column: usize) -> Result<Timestamp, Error> {
        Ok(Timestamp::from_micros(self.int(column)?))
    }

    fn maybe_time(&self, column: usize) -> Result<Option<Timestamp>, Error> {
        Ok(self.maybe_int(column)?.map(Timestamp::from_micros))
    }

    fn uuid(&self, column: usize) -> Result<Uuid, Error> {
        self.parse(column, "UUID")
    }

    /// A word of the domain, kept as text.
    fn parse<T: FromStr>(&self, column: usize, wanted: &'static str) -> Result<T, Error> {
        parse(self.text(column)?, wanted)
    }

    fn maybe_parse<T: FromStr>(&self, column: usize, wanted: &'static str) -> Result<Option<T>, Error> {
        self.maybe_text(column)?.map(|text| parse(text, wanted)).transpose()
    }
}

/// A word of the domain that the database holds.
pub(super) fn parse<T: FromStr>(text: &str, wanted: &'static str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::Corrupt { wanted, text: text.into() })
}

impl Columns for Row {
    fn int(&self, column: usize) -> Result<i64, Error> {
        self.maybe_int(column)?.ok_or_else(|| mistyped(column))
    }

    fn maybe_int(&self, column: usize) -> Result<Option<i64>, Error> {
        match self {
            Self::Any(row) => Ok(row.try_get(column)?),
            Self::Sqlite(values) => match values.get(column) {
                Some(Value::Integer(value)) => Ok(Some(*value)),
                Some(Value::Null) => Ok(None),
                _ => Err(mistyped(column)),
            },
        }
    }

    fn text(&self, column: usize) -> Result<&str, Error> {
        self.maybe_text(column)?.ok_or_else(|| mistyped(column))
    }

    fn maybe_text(&self, column: usize) -> Result<Option<&str>, Error> {
        match self {
            Self::Any(row) => Ok(row.try_get(column)?),
            Self::Sqlite(values) => match values.get(column) {
                Some(Value::Text(value)) => Ok(Some(value)),
                Some(Value::Null) => Ok(None),
                _ => Err(mistyped(column)),
            },
        }
    }

    fn bytes(&self, column: usize) -> Result<&[u8], Error> {
        match self {
            Self::Any(row) => Ok(row.try_get(column)?),
            Self::Sqlite(values) => match values.get(column) {
                Some(Value::Blob(value)) => Ok(value),
                _ => Err(mistyped(column)),
            },
        }
    }
}

fn mistyped(column: usize) -> Error {
    sqlx::Error::Decode(format!("column {column} is of another type").into()).into()
}
