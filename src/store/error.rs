//! What can go wrong in the database, and what a broken constraint means.

use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, sqlx};
use tokio::task::JoinError;

/// Why the store could not do what it was asked.
#[derive(Debug)]
pub enum StoreError {
    /// Rows are not there: those that were to be changed or deleted, and those on the other side that were to be linked.
    NotFound { keys: Vec<i64>, linked: Vec<i64> },
    /// Other transactions were in the way. The same request may succeed when it is repeated.
    Conflict,
    /// A statement took longer than it may, and was cancelled.
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
            sqlx::Error::Database(database) => match database.code().as_deref() {
                // PostgreSQL's serialization_failure, deadlock_detected and foreign_key_violation: a row that was looked up a
                // moment ago and is gone when it is linked, because another transaction was faster.
                Some("40001" | "40P01" | "23503") => Self::Conflict,
                // PostgreSQL's query_canceled.
                Some("57014") => Self::Timeout,
                Some(code) if is_unavailable(code) => Self::Unavailable(error),
                _ => Self::Database(error),
            },
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                Self::Unavailable(error)
            }
            _ => Self::Database(error),
        }
    }
}

/// Whether SQLite says that somebody else has the lock.
pub fn is_busy(error: &DbErr) -> bool {
    let (DbErr::Conn(RuntimeErr::SqlxError(cause))
    | DbErr::Exec(RuntimeErr::SqlxError(cause))
    | DbErr::Query(RuntimeErr::SqlxError(cause))) = error
    else {
        return false;
    };
    let code = cause.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

/// Whether a code of the database says that it cannot work at the moment, whatever it is asked.
fn is_unavailable(code: &str) -> bool {
    // An SQLSTATE has five characters, SQLite's numbers have fewer.
    if code.len() < 5 {
        let code = code.parse().unwrap_or(0);
        // SQLite's BUSY, LOCKED, READONLY, IOERR, FULL and CANTOPEN, which are the lowest byte of more exact codes.
        return matches!(code & 0xff_u32, 5 | 6 | 8 | 10 | 13 | 14);
    }
    // PostgreSQL's connection exceptions, insufficient resources and operator interventions, read_only_sql_transaction,
    // the time-outs that end a session, and a database that is gone. A statement that was cancelled (57014) is not one.
    let is_class = |class| code.starts_with(class);
    (is_class("08") || is_class("53") || is_class("57P")) || matches!(code, "25006" | "25P03" | "25P04" | "3D000")
}

#[cfg(test)]
mod tests {
    use super::is_unavailable;

    #[test]
    fn codes_of_both_databases() {
        for code in ["5", "517", "8", "1032", "13", "14", "08006", "53300", "57P01", "57P05", "25P03", "25006", "3D000"]
        {
            assert!(is_unavailable(code), "{code}");
        }
        for code in ["1", "19", "787", "2067", "22001", "23505", "40001", "42P01", "57014", "P0001", "XX000"] {
            assert!(!is_unavailable(code), "{code}");
        }
    }
}
