//! What can go wrong in the database, and what a broken constraint means.

use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, sqlx};

/// Why the store could not do what it was asked.
#[derive(Debug)]
pub enum StoreError {
    /// Rows that were to be linked are not there. Their ids, in no order.
    NotFound(Vec<i64>),
    /// Other transactions were in the way. The same request may succeed when it is repeated.
    Conflict,
    /// The database cannot be reached, or has no connection free.
    Unavailable(DbErr),
    /// Anything else that the database says.
    Database(DbErr),
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
                _ => Self::Database(error),
            },
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                Self::Unavailable(error)
            }
            _ => Self::Database(error),
        }
    }
}
