//! How connections are opened: what holds for every one of them.

use std::{str::FromStr, time::Duration};

use sea_orm::{
    DbBackend,
    sqlx::{
        self, ConnectOptions,
        postgres::PgConnectOptions,
        sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
    },
};

use super::DbSettings;

/// How connections are opened.
#[derive(Clone, Debug)]
pub enum Connector {
    Sqlite(Box<SqliteConnectOptions>),
    Postgres(Box<PgConnectOptions>),
}

/// How long SQLite waits for the lock of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

impl Connector {
    /// Connections to SQLite. Only those that write create the file.
    pub fn sqlite(settings: &DbSettings, writes: bool) -> Result<Self, sqlx::Error> {
        let mut options = SqliteConnectOptions::from_str(&settings.url)?
            .create_if_missing(writes)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT);
        if !settings.log_sql {
            options = options.disable_statement_logging();
        }
        Ok(Self::Sqlite(Box::new(options)))
    }

    /// Connections to PostgreSQL with this isolation level.
    pub fn postgres(settings: &DbSettings, isolation: &str) -> Result<Self, sqlx::Error> {
        let statement_timeout = settings.statement_timeout.as_millis().to_string();
        let mut options = PgConnectOptions::from_str(&settings.url)?
            .application_name("hero-teams")
            .options([("default_transaction_isolation", isolation), ("statement_timeout", &statement_timeout)]);
        if !settings.log_sql {
            options = options.disable_statement_logging();
        }
        Ok(Self::Postgres(Box::new(options)))
    }

    pub fn backend(&self) -> DbBackend {
        match self {
            Self::Sqlite(_) => DbBackend::Sqlite,
            Self::Postgres(_) => DbBackend::Postgres,
        }
    }
}
