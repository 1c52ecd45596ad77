//! What can go wrong in the database, and what a broken constraint means.

use std::{fmt, sync::Arc};

use rusqlite::ffi::{SQLITE_BUSY, SQLITE_CONSTRAINT_FOREIGNKEY, SQLITE_INTERRUPT};
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, sqlx};
use tokio::task::JoinError;

use super::sqlite;

/// Why the store could not do what it was asked.
#[derive(Debug)]
pub enum StoreError {
    /// Rows do not exist: those that were to be changed or deleted, and for each relation of the entity those that were to be
    /// linked or unlinked.
    NotFound { keys: Vec<i64>, related: Vec<Vec<i64>> },
    /// Other transactions were in the way. The same request may succeed when it is repeated.
    Conflict,
    /// A statement took longer than it may, or the request has no time left. What was running is cancelled, and nothing of
    /// its transaction is written.
    Timeout,
    /// The database cannot be reached, or has no connection free.
    Unavailable(DbErr),
    /// Anything else that the database says.
    Database(DbErr),
}

/// A task that did not end: it panicked, which goes on here, or the server is stopping.
impl From<JoinError> for StoreError {
    fn from(error: JoinError) -> Self {
        match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Self::Unavailable(DbErr::Custom(error.to_string())),
        }
    }
}

impl StoreError {
    /// Whether SQLite has found no row for a foreign key. On PostgreSQL that is a [`StoreError::Conflict`].
    #[must_use]
    pub(super) fn is_foreign_key_violation(&self) -> bool {
        let Self::Database(DbErr::Exec(RuntimeErr::SqlxError(cause))) = self else { return false };
        sqlite::code(cause) == Some(SQLITE_CONSTRAINT_FOREIGNKEY)
    }
}

impl std::error::Error for StoreError {}

/// For the log and for those who start the program. Clients are told less.
impl fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { keys, related } => {
                write!(formatter, "there are no rows with these keys: {keys:?} {related:?}")
            }
            Self::Conflict => formatter.write_str("other transactions were in the way"),
            Self::Timeout => formatter.write_str("it took too long"),
            Self::Unavailable(cause) | Self::Database(cause) => formatter.write_str(&reason(cause)),
        }
    }
}

/// What an error says, once: each layer that it came through repeats the text of the one below.
fn reason(error: &DbErr) -> String {
    let cause = match error {
        DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) => return "no connection could be had in time".to_owned(),
        DbErr::Custom(text) | DbErr::Migration(text) => return text.clone(),
        DbErr::Conn(cause) | DbErr::Exec(cause) | DbErr::Query(cause) => cause,
        error => return error.to_string(),
    };
    let RuntimeErr::SqlxError(error) = cause else { return cause.to_string() };
    if let Some(error) = error.as_database_error() {
        return error.message().to_owned();
    }
    let mut cause: &dyn std::error::Error = &**error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        if let DbErr::ConnectionAcquire(ConnAcquireErr::Timeout | ConnAcquireErr::ConnectionClosed) = error {
            return Self::Unavailable(error);
        }
        let (DbErr::Conn(RuntimeErr::SqlxError(cause))
        | DbErr::Exec(RuntimeErr::SqlxError(cause))
        | DbErr::Query(RuntimeErr::SqlxError(cause))) = &error
        else {
            return Self::Database(error);
        };
        match &**cause {
            cause if sqlite::code(cause) == Some(SQLITE_INTERRUPT) => Self::Timeout,
            cause if sqlite::code(cause).is_some_and(is_sqlite_unavailable) => Self::Unavailable(error),
            sqlx::Error::Database(database) => match database.code().as_deref() {
                // serialization_failure, deadlock_detected and foreign_key_violation: a row that was looked up a
                // moment ago and is gone when it is linked, because another transaction was faster.
                Some("40001" | "40P01" | "23503") => Self::Conflict,
                // query_canceled
                Some("57014") => Self::Timeout,
                Some(code) if is_unavailable(code) => Self::Unavailable(error),
                _ if matches!(error, DbErr::Conn(_)) => Self::Unavailable(error),
                _ => Self::Database(error),
            },
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                Self::Unavailable(error)
            }
            sqlx::Error::AnyDriverError(cause) if cause.is::<DeadlineExceeded>() => Self::Timeout,
            // Whatever keeps a connection from being opened.
            _ if matches!(error, DbErr::Conn(_)) => Self::Unavailable(error),
            _ => Self::Database(error),
        }
    }
}

/// Whether SQLite has met a lock that somebody else has.
pub fn is_busy(error: &sqlx::Error) -> bool {
    sqlite::code(error).is_some_and(|code| code & 0xff == SQLITE_BUSY)
}

/// What a statement fails with whose request has no time left.
pub fn deadline_exceeded() -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(Arc::new(time_is_over())))
}

/// The same, as a driver says it.
pub fn time_is_over() -> sqlx::Error {
    sqlx::Error::AnyDriverError(Box::new(DeadlineExceeded))
}

/// It travels as the cause of a [`DbErr`], because that is what SeaORM's traits give.
#[derive(Debug)]
struct DeadlineExceeded;

impl std::error::Error for DeadlineExceeded {}

impl fmt::Display for DeadlineExceeded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the time of the request is over")
    }
}

/// Whether a code of SQLite says that it cannot work at the moment, whatever it is asked.
fn is_sqlite_unavailable(code: i32) -> bool {
    // BUSY, LOCKED, NOMEM, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, PROTOCOL and NOTADB, which are the lowest byte of more
    // exact codes.
    matches!(code & 0xff, 5..=8 | 10 | 11 | 13..=15 | 26)
}

/// Whether an SQLSTATE of PostgreSQL says that it cannot work at the moment, whatever it is asked.
fn is_unavailable(code: &str) -> bool {
    // Connection exceptions, insufficient resources and operator interventions, read_only_sql_transaction,
    // the time-outs that end a session, and a database that is gone. A statement that was cancelled (57014) is not one.
    let is_class = |class| code.starts_with(class);
    (is_class("08") || is_class("53") || is_class("57P")) || matches!(code, "25006" | "25P03" | "25P04" | "3D000")
}

#[cfg(test)]
mod tests {
    use super::{is_sqlite_unavailable, is_unavailable};

    #[test]
    fn codes_of_both_databases() {
        for code in [5, 517, 8, 1032, 10, 778, 11, 13, 14, 15, 26] {
            assert!(is_sqlite_unavailable(code), "{code}");
        }
        for code in [1, 9, 19, 787, 2067] {
            assert!(!is_sqlite_unavailable(code), "{code}");
        }
        for code in ["08006", "53300", "57P01", "57P05", "25P03", "25006", "3D000"] {
            assert!(is_unavailable(code), "{code}");
        }
        for code in ["22001", "23505", "40001", "42P01", "57014", "P0001", "XX000"] {
            assert!(!is_unavailable(code), "{code}");
        }
    }
}
