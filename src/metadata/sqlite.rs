//! SQLite's connection that writes.
//!
//! A connection of sqlx has a thread of its own, and each question is two hops:
//! to that thread and back. They took three quarters of the time of a change, and
//! changes come one after another. Here statements run where they are asked, on
//! the writer's thread.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{CachedStatement, Connection};

use super::Error;
use super::dialect::{Arg, Sql, without_nul};
use super::transaction::{Answer, Row};

/// Statements that are kept prepared: more than there are.
const PREPARED: usize = 256;

/// The connection; whoever calls it waits for the disk.
pub(super) struct Sqlite(Connection);

impl Sqlite {
    /// Opens the database in this file, and sets this up for the connection.
    pub(super) fn open(path: &Path, setup: &str) -> Result<Self, rusqlite::Error> {
        let connection = Connection::open(path)?;
        connection.set_prepared_statement_cache_capacity(PREPARED);
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.execute_batch(setup)?;
        Ok(Self(connection))
    }

    /// Runs all of the statements, or those before the first that fails.
    pub(super) fn run(&mut self, sql: &Sql, args: &[Arg<'_>]) -> Result<Answer, Error> {
        #[cfg(test)]
        super::tests::plans::check(sql, |explain| self.plan(explain));
        let mut answer = Answer::default();
        for text in sql.sqlite_statements() {
            let mut statement = self.0.prepare_cached(text)?;
            bind(&mut statement, args)?;
            answer.affected = match statement.column_count() {
                0 => statement.raw_execute()? as u64,
                columns => {
                    let mut rows = statement.raw_query();
                    while let Some(row) = rows.next()? {
                        let values = (0..columns).map(|column| row.get(column));
                        answer.rows.push(Row::Sqlite(values.collect::<Result<_, _>>()?));
                    }
                    self.0.changes()
                }
            };
        }
        Ok(answer)
    }

    /// Closes it, and says what was in the way. All is in the database's file then, if there is
    /// room, but its log and the log's index stay, empty: without them it could not be opened,
    /// not even to read, where somebody else has taken the last of the disk meanwhile.
    pub(super) fn close(self) -> Result<(), Error> {
        let _ = self.0.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        self.0.close().map_err(|(_, error)| error.into())
    }

    #[cfg(test)]
    fn plan(&self, explain: &str) -> Vec<String> {
        let mut statement = self.0.prepare(explain).unwrap();
        let lines = statement.raw_query().mapped(|row| row.get(3)).collect::<Result<_, _>>();
        lines.unwrap()
    }
}

/// Parameters have the numbers of the whole; one that this statement leaves out takes a value all the same.
fn bind(statement: &mut CachedStatement<'_>, args: &[Arg<'_>]) -> Result<(), Error> {
    for number in 1..=statement.parameter_count() {
        match args.get(number - 1) {
            Some(Arg::Int(value)) => statement.raw_bind_parameter(number, value)?,
            Some(Arg::Text(value)) => statement.raw_bind_parameter(number, value.map(without_nul).as_deref())?,
            Some(Arg::Bytes(value)) => statement.raw_bind_parameter(number, value)?,
            None => return Err(rusqlite::Error::InvalidParameterCount(args.len(), number).into()),
        }
    }
    Ok(())
}
