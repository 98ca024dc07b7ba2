use std::sync::Arc;

/// What happened, as whoever talks to the database says it.
type Source = Arc<dyn std::error::Error + Send + Sync>;

/// Why the database did not do what it was asked. A variant says what the
/// caller can do about it; the source says what happened.
///
/// It is [`Clone`] because changes that share a transaction share its failure.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Nothing was changed; later it may work: the database is away or busy.
    #[error("the database is not available")]
    Unavailable(#[source] Source),
    /// Nothing was changed: the database's disk is full.
    #[error("the database has no space left")]
    Full(#[source] Source),
    /// The commit was sent and no answer came: the change may be there or not.
    /// No file that it may name may be removed.
    #[error("whether the database made the change is unknown")]
    OutcomeUnknown(#[source] Source),
    /// Nothing was changed: a race was lost again and again.
    #[error("too many changes to the same rows at once")]
    Contended(#[source] Source),
    /// Nothing was changed: what was asked for contradicts what is there, such
    /// as a commit of an object that a sweep has claimed.
    #[error("the change contradicts what is there")]
    Conflict(#[source] Source),
    /// Nothing was changed: judged again inside the transaction, the caller may not.
    #[error("not allowed, judged by what is there now")]
    Denied,
    /// A stored text no longer parses: somebody else wrote it, or a disk lost it.
    #[error("the database holds `{text}` where a {wanted} belongs")]
    Corrupt { wanted: &'static str, text: Box<str> },
    /// The metadata was closed, or the change panicked.
    #[error("the database was closed")]
    Closed,
    /// A fault of ours, such as a statement that the database does not take.
    #[error("the database refused a statement")]
    Sql(#[source] Source),
}

/// What a change that rolls back says: a failure of the database, or a refusal
/// in the caller's own words.
pub(super) trait Refusal: From<Error> + Send + 'static {
    /// The database's failure, where it is one.
    fn failure(&self) -> Option<&Error>;
}

impl Refusal for Error {
    fn failure(&self) -> Option<&Error> {
        Some(self)
    }
}

impl Error {
    /// Whether the same may well work a moment later: the database is away or
    /// busy, or a sweep took what a commit slept too long over.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::OutcomeUnknown(_) | Self::Contended(_) | Self::Conflict(_) | Self::Closed => {
                true
            }
            Self::Full(_) | Self::Denied | Self::Corrupt { .. } | Self::Sql(_) => false,
        }
    }

    /// What a transaction needs has gone since it looked: it may win when run again.
    pub(super) fn lost_race() -> Self {
        Self::Contended(Arc::new(sqlx::Error::RowNotFound))
    }

    /// Whether the transaction lost a race and may win it when run again.
    pub(super) fn is_race(&self) -> bool {
        matches!(self, Self::Contended(_))
    }

    /// Whether the connection, or the whole transaction with it, is done for.
    pub(super) fn ends_transaction(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full(_) | Self::Closed)
    }

    /// What a failed COMMIT means: a full disk leaves nothing behind, and a
    /// refusal is an answer; after anything else the change may be there.
    pub(super) fn of_commit(error: impl Into<Self>) -> Self {
        match error.into() {
            Self::Unavailable(source) => Self::OutcomeUnknown(source),
            other => other,
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let kind = match &error {
            sqlx::Error::Database(database) => kind_of_code(database.code().as_deref().unwrap_or_default()),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::WorkerCrashed => Self::Unavailable,
            sqlx::Error::PoolClosed => return Self::Closed,
            _ => Self::Sql,
        };
        kind(Arc::new(error))
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let code = error.sqlite_error().map(|error| error.extended_code.to_string());
        kind_of_code(&code.unwrap_or_default())(Arc::new(error))
    }
}

/// SQLSTATE of PostgreSQL (five characters) or (extended) result code of SQLite (a number).
fn kind_of_code(code: &str) -> fn(Source) -> Error {
    if code.len() == 5 {
        return match code {
            "40001" | "40P01" | "23503" => Error::Contended,
            "53100" => Error::Full,
            "23505" | "23514" => Error::Conflict,
            "55P03" => Error::Unavailable, // waited for a lock for as long as anyone should
            _ if ["08", "53", "57", "58"].contains(&&code[..2]) => Error::Unavailable,
            _ => Error::Sql,
        };
    }
    // The low byte is the primary result code.
    match code.parse::<u32>().map(|code| code & 0xff) {
        Ok(13) => Error::Full,                                      // SQLITE_FULL
        Ok(5 | 6 | 7 | 8 | 9 | 10 | 14 | 15) => Error::Unavailable, // BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, CANTOPEN, PROTOCOL
        Ok(19) => Error::Conflict,                                  // CONSTRAINT
        _ => Error::Sql,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_connection_after_commit_is_no_failed_commit() {
        let lost = || sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert!(matches!(Error::from(lost()), Error::Unavailable(_)));
        assert!(matches!(Error::of_commit(lost()), Error::OutcomeUnknown(_)));
    }

    #[test]
    fn codes_of_both_databases_are_told_apart() {
        let kind = |code: &str| kind_of_code(code)(Arc::new(sqlx::Error::RowNotFound));
        assert!(matches!(kind("40P01"), Error::Contended(_)));
        assert!(matches!(kind("53100"), Error::Full(_)));
        assert!(matches!(kind("57P01"), Error::Unavailable(_)));
        assert!(matches!(kind("13"), Error::Full(_)));
        assert!(matches!(kind("778"), Error::Unavailable(_))); // SQLITE_IOERR_WRITE
        assert!(matches!(kind("2067"), Error::Conflict(_))); // SQLITE_CONSTRAINT_UNIQUE
        assert!(matches!(kind("1"), Error::Sql(_)));
    }
}
