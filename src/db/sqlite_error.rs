//! The errors of SQLite, as SQLx has those of other databases.

use std::{error::Error, fmt};

use rusqlite::ffi::{SQLITE_CONSTRAINT_FOREIGNKEY, SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE};
use sea_orm::sqlx::{
    self,
    error::{DatabaseError, ErrorKind},
};

/// SQLite's extended result code, when the error is one of SQLite.
pub fn code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.try_downcast_ref::<SqliteError>()?.code
}

/// What SQLite says. It has no SQLSTATE.
#[derive(Debug)]
pub struct SqliteError {
    message: String,
    code: Option<i32>,
}

impl From<rusqlite::Error> for SqliteError {
    fn from(cause: rusqlite::Error) -> Self {
        let code = cause.sqlite_error().map(|error| error.extended_code);
        let message = match cause {
            // Without the statement, which the log has when it is asked for.
            rusqlite::Error::SqlInputError { msg, .. } => msg,
            cause => cause.to_string(),
        };
        Self { message, code }
    }
}

impl fmt::Display for SqliteError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl Error for SqliteError {}

impl DatabaseError for SqliteError {
    fn message(&self) -> &str {
        &self.message
    }

    fn kind(&self) -> ErrorKind {
        match self.code {
            Some(SQLITE_CONSTRAINT_FOREIGNKEY) => ErrorKind::ForeignKeyViolation,
            Some(SQLITE_CONSTRAINT_PRIMARYKEY | SQLITE_CONSTRAINT_UNIQUE) => ErrorKind::UniqueViolation,
            _ => ErrorKind::Other,
        }
    }

    fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
        self
    }
}
