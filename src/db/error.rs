//! What can go wrong in the database, and what a broken constraint means.

use std::{error::Error, fmt, sync::Arc};

use rusqlite::ffi::{SQLITE_BUSY, SQLITE_CONSTRAINT_FOREIGNKEY, SQLITE_INTERRUPT};
use sea_orm::{
    ConnAcquireErr, DbBackend, DbErr, RuntimeErr,
    sqlx::{self, postgres::PgDatabaseError},
};
use tokio::task::JoinError;

use super::sqlite_error::code;

/// Why the store could not do what it was asked.
#[derive(Debug)]
pub enum StoreError {
    /// Rows do not exist: those that were to be changed or deleted, and for each relation of the entity those that were
    /// to be linked or unlinked.
    NotFound { keys: Vec<i64>, related: Vec<Vec<i64>> },
    /// The transaction may succeed when it is repeated: another transaction has changed the same rows, a row to be
    /// linked does not exist, or a table has changed. It has the SQLSTATE with which the database rolled it back; on
    /// SQLite, which has none, `40001`.
    Conflict(&'static str),
    /// A statement took longer than it may, or the request has no time left. What was running is cancelled, and nothing
    /// of its transaction is written.
    Timeout,
    /// The database cannot be reached.
    Unavailable(DbErr),
    /// No connection to the database was free in time.
    Busy(DbErr),
    /// The answer to a commit did not come. What it was to write may be written.
    Unanswered(DbErr),
    /// Anything else that the database says.
    Database(DbErr),
}

/// What PostgreSQL says of a row that is missing (23503).
const FOREIGN_KEY_VIOLATION: &str = "violates foreign key constraint";
/// The SQLSTATE `serialization_failure`.
pub const SERIALIZATION_FAILURE: &str = "40001";
/// The SQLSTATE of a prepared statement that is not known any more, or is of no use: `invalid_sql_statement_name`.
const STALE: &str = "26000";
/// What a coordinator of Citus says when a worker did not commit, or did not say that it has.
const FAILED_COMMIT: &str = "could not commit transaction for shard";

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
    pub(crate) fn is_foreign_key_violation(&self) -> bool {
        let Self::Database(DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause))) =
            self
        else {
            return false;
        };
        code(cause) == Some(SQLITE_CONSTRAINT_FOREIGNKEY)
    }

    /// Its kind, in one word, for those who watch.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::Conflict(_) => "conflict",
            Self::Timeout => "timeout",
            Self::Unavailable(_) => "unavailable",
            Self::Busy(_) => "busy",
            Self::Unanswered(_) => "unanswered",
            Self::Database(_) => "database",
        }
    }
}

impl Error for StoreError {}

/// For the log and for those who start the program. Clients are told less.
impl fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { keys, related } => {
                write!(formatter, "there are no rows with these keys: {keys:?} {related:?}")
            }
            Self::Conflict(_) => formatter.write_str("other transactions were in the way"),
            Self::Timeout => formatter.write_str("it took too long"),
            Self::Unavailable(cause) | Self::Busy(cause) | Self::Unanswered(cause) | Self::Database(cause) => {
                formatter.write_str(&reason(cause))
            }
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
        match error {
            DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) => return Self::Busy(error),
            DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed) => return Self::Unavailable(error),
            _ => {}
        }
        let (DbErr::Conn(RuntimeErr::SqlxError(cause))
        | DbErr::Exec(RuntimeErr::SqlxError(cause))
        | DbErr::Query(RuntimeErr::SqlxError(cause))) = &error
        else {
            return Self::Database(error);
        };
        match &**cause {
            cause if code(cause) == Some(SQLITE_INTERRUPT) => Self::Timeout,
            cause if code(cause).is_some_and(is_sqlite_unavailable) => Self::Unavailable(error),
            // The statement was planned for tables that have been changed since. Nothing of it was done.
            cause if is_stale(cause) => Self::Conflict(STALE),
            cause if is_without_room(cause) => Self::Busy(error),
            sqlx::Error::Database(database) => match database.code().as_deref() {
                // serialization_failure and deadlock_detected: other transactions. foreign_key_violation: a row to be
                // linked does not exist. The first attempt of `Creation` does not look it up, and the next one does.
                // Or it was looked up, and another transaction has deleted it since.
                Some("40001") => Self::Conflict(SERIALIZATION_FAILURE),
                Some("40P01") => Self::Conflict("40P01"),
                Some("23503") => Self::Conflict("23503"),
                // internal_error: a coordinator of Citus has lost the code on the way from a worker.
                Some("XX000") if database.message().contains(FOREIGN_KEY_VIOLATION) => Self::Conflict("23503"),
                Some("XX000") if database.message().starts_with(FAILED_COMMIT) => Self::Unanswered(error),
                // query_canceled
                Some("57014") => Self::Timeout,
                Some(code) if is_unavailable(code) => Self::Unavailable(error),
                // Syntax Error or Access Rule Violation: a table is missing, or not for this role, and stays so.
                Some(code) if code.starts_with("42") => Self::Database(error),
                _ if matches!(error, DbErr::Conn(_)) => Self::Unavailable(error),
                _ => Self::Database(error),
            },
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                Self::Unavailable(error)
            }
            sqlx::Error::AnyDriverError(cause) if cause.is::<DeadlineExceeded>() => Self::Timeout,
            sqlx::Error::AnyDriverError(cause) if cause.is::<UnansweredCommit>() => Self::Unanswered(error),
            // Whatever keeps a connection from being opened.
            _ if matches!(error, DbErr::Conn(_)) => Self::Unavailable(error),
            _ => Self::Database(error),
        }
    }
}

/// Whether SQLite has met a lock that somebody else has.
pub fn is_busy(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| code & 0xff == SQLITE_BUSY)
}

/// The same, of an error of SeaORM.
pub fn is_locked(error: &DbErr) -> bool {
    let (DbErr::Conn(cause) | DbErr::Exec(cause) | DbErr::Query(cause)) = error else { return false };
    matches!(cause, RuntimeErr::SqlxError(cause) if is_busy(cause))
}

/// Whether PostgreSQL has as many connections as it, the database or the user may have.
pub fn is_without_room(error: &sqlx::Error) -> bool {
    // too_many_connections
    sql_state(error).is_some_and(|code| code == "53300")
}

/// Whether a connection to PostgreSQL is of no use any more after an error, while another one may be.
pub fn is_outdated(error: &sqlx::Error) -> bool {
    // read_only_sql_transaction: it leads to what has become a standby.
    is_lost(error) || is_stale(error) || sql_state(error).is_some_and(|code| code == "25006")
}

/// Whether an error of a replica says nothing of what the primary would answer: it has gone, is busy, gives up a query
/// for what it has to replay, or does not have a table yet.
pub fn is_of_replica(error: &DbErr) -> bool {
    if let DbErr::Query(RuntimeErr::SqlxError(cause)) = error
        && sql_state(cause).is_some_and(|code| matches!(code, "42P01" | "42703"))
    {
        return true;
    }
    matches!(
        StoreError::from(error.clone()),
        StoreError::Unavailable(_) | StoreError::Busy(_) | StoreError::Conflict(_)
    )
}

/// The code of an error for those who watch: the SQLSTATE, or the result code of SQLite. A connection that was lost has
/// the SQLSTATE `connection_failure`, and a statement whose time was over has that of one that was cancelled.
pub fn response_code(error: &DbErr, backend: DbBackend) -> Option<String> {
    let (DbErr::Conn(RuntimeErr::SqlxError(cause))
    | DbErr::Exec(RuntimeErr::SqlxError(cause))
    | DbErr::Query(RuntimeErr::SqlxError(cause))) = error
    else {
        return None;
    };
    match &**cause {
        sqlx::Error::AnyDriverError(cause) if cause.is::<DeadlineExceeded>() => Some(code_of_cancelled(backend)),
        cause if is_lost(cause) && sql_state(cause).is_none() => Some("08006".to_owned()),
        cause => code(cause).map(|code| code.to_string()).or_else(|| sql_state(cause).map(str::to_owned)),
    }
}

/// The code of a statement that was cancelled: `query_canceled` or `SQLITE_INTERRUPT`.
pub fn code_of_cancelled(backend: DbBackend) -> String {
    if backend == DbBackend::Postgres { "57014".to_owned() } else { SQLITE_INTERRUPT.to_string() }
}

/// Whether PostgreSQL does not do such a thing.
pub fn is_not_supported(error: &sqlx::Error) -> bool {
    // feature_not_supported
    sql_state(error).is_some_and(|code| code == "0A000")
}

/// Whether a connection to PostgreSQL has ended.
pub fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        error => sql_state(error).is_some_and(is_end_of_session),
    }
}

/// Whether PostgreSQL does not know a prepared statement any more, or cannot use it, because the columns that it gives
/// have other types than when it was prepared.
fn is_stale(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    let Some(error) = error.try_downcast_ref::<PgDatabaseError>() else { return false };
    // invalid_sql_statement_name; feature_not_supported has many reasons, and the one that is meant here has no code of
    // its own.
    error.code() == STALE || (error.code() == "0A000" && error.routine() == Some("RevalidateCachedQuery"))
}

fn sql_state(error: &sqlx::Error) -> Option<&str> {
    let sqlx::Error::Database(error) = error else { return None };
    error.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::code)
}

/// What a commit fails with whose answer did not come: because the connection broke, or because it took too long.
pub fn unanswered_commit(cause: impl Into<Box<dyn Error + Send + Sync>>) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(Arc::new(sqlx::Error::AnyDriverError(Box::new(UnansweredCommit(cause.into()))))))
}

/// What a statement that commits itself fails with. When the connection has ended, its answer did not come.
pub fn unanswered_if_lost(error: DbErr) -> DbErr {
    match &error {
        DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause)) if is_lost(cause) => {
            unanswered_commit(Arc::clone(cause))
        }
        _ => error,
    }
}

/// It also travels as the cause of a [`DbErr`].
#[derive(Debug)]
struct UnansweredCommit(Box<dyn Error + Send + Sync>);

impl Error for UnansweredCommit {}

impl fmt::Display for UnansweredCommit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a commit was not answered, so what it was to write may be written: {}", self.0)
    }
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

impl Error for DeadlineExceeded {}

impl fmt::Display for DeadlineExceeded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the time of the request is over")
    }
}

/// Whether a code of SQLite says that it cannot work at the moment, whatever it is asked.
fn is_sqlite_unavailable(code: i32) -> bool {
    // BUSY, LOCKED, NOMEM, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, PROTOCOL and NOTADB, which are the lowest byte of
    // more exact codes.
    matches!(code & 0xff, 5..=8 | 10 | 11 | 13..=15 | 26)
}

/// Whether an SQLSTATE of PostgreSQL comes with the end of the session.
fn is_end_of_session(code: &str) -> bool {
    // Connection exceptions and operator interventions, and the time-outs of sessions and their transactions.
    code.starts_with("08") || code.starts_with("57P") || matches!(code, "25P03" | "25P04")
}

/// Whether an SQLSTATE of PostgreSQL says that it cannot work at the moment, whatever it is asked.
fn is_unavailable(code: &str) -> bool {
    // Insufficient resources, read_only_sql_transaction and a database that is gone. A statement that was cancelled
    // (57014) is not one.
    is_end_of_session(code) || code.starts_with("53") || matches!(code, "25006" | "3D000")
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
