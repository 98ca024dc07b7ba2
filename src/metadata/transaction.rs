use futures_util::TryStreamExt;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Either, Executor, Row};
use std::str::FromStr;
use uuid::Uuid;

use super::cache::{Caches, News};
use super::dialect::{Arg, Backend, Sql, arguments};
use super::repositories::{Asker, Facts};
use super::{Error, Timestamp};
use crate::domain::RepositoryName;

/// A transaction under way: what a change sees and does.
///
/// On SQLite it may be one of several in the same database transaction, each in
/// a savepoint of its own; a change cannot tell.
pub(super) struct Tx<'c> {
    connection: &'c mut AnyConnection,
    pub(super) backend: Backend,
    /// One time for the whole change.
    pub(super) now: Timestamp,
    caches: Option<&'c Caches>,
    news: Vec<News>,
    savepoint: Savepoint,
}

/// Whether a change can be undone alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Savepoint {
    /// It has nothing to undo yet; its first statement sets a savepoint on its way.
    Due,
    Set,
}

/// What the database said to a statement, or to several.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) rows: Vec<AnyRow>,
    /// Rows changed by the last statement.
    pub(super) affected: u64,
}

impl<'c> Tx<'c> {
    /// `caches` are those that hold the truth for this transaction, if any do.
    pub(super) fn new(
        connection: &'c mut AnyConnection,
        backend: Backend,
        now: Timestamp,
        caches: Option<&'c Caches>,
        savepoint: Savepoint,
    ) -> Self {
        Self { connection, backend, now, caches, news: Vec::new(), savepoint }
    }

    /// Runs statements that change something.
    pub(super) async fn run(&mut self, sql: &Sql, args: &[Arg<'_>]) -> Result<Answer, Error> {
        if self.savepoint == Savepoint::Due {
            self.savepoint = Savepoint::Set;
            #[cfg(test)]
            super::tests::plans::check(self.connection, sql).await;
            let mut answer = Answer::default();
            let query = sqlx::query_with(sql.sqlite_saving(), arguments(args)?);
            collect(self.connection, query, &mut answer).await?;
            return Ok(answer);
        }
        run(self.connection, self.backend, sql, args).await
    }

    /// Whether there is something to go back to.
    pub(super) fn savepoint(&self) -> Savepoint {
        self.savepoint
    }

    /// All rows.
    pub(super) async fn all(&mut self, sql: &Sql, args: &[Arg<'_>]) -> Result<Vec<AnyRow>, Error> {
        Ok(self.run(sql, args).await?.rows)
    }

    /// The first row, if there is one.
    pub(super) async fn one(&mut self, sql: &Sql, args: &[Arg<'_>]) -> Result<Option<AnyRow>, Error> {
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
            super::tests::plans::check(connection, sql).await;
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
            Either::Right(row) => answer.rows.push(row),
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

impl Columns for AnyRow {
    fn int(&self, column: usize) -> Result<i64, Error> {
        Ok(self.try_get(column)?)
    }

    fn maybe_int(&self, column: usize) -> Result<Option<i64>, Error> {
        Ok(self.try_get(column)?)
    }

    fn text(&self, column: usize) -> Result<&str, Error> {
        Ok(self.try_get(column)?)
    }

    fn maybe_text(&self, column: usize) -> Result<Option<&str>, Error> {
        Ok(self.try_get(column)?)
    }

    fn bytes(&self, column: usize) -> Result<&[u8], Error> {
        Ok(self.try_get(column)?)
    }
}
