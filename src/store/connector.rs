//! How connections are opened: what holds for every one of them.

use std::str::FromStr;

use sea_orm::{
    DbBackend,
    sqlx::{self, ConnectOptions, postgres::PgConnectOptions},
};

use super::DbSettings;

/// How connections are opened.
#[derive(Clone, Debug)]
pub enum Connector {
    /// The file as a URI for SQLite, and whether it is created when it is not there.
    Sqlite {
        uri: String,
        creates: bool,
    },
    Postgres(Box<PgConnectOptions>),
}

impl Connector {
    /// Connections to SQLite. Only those that write create the file.
    pub fn sqlite(settings: &DbSettings, writes: bool) -> Self {
        let path = settings.url.strip_prefix("sqlite:").unwrap_or(&settings.url);
        let path = path.strip_prefix("//").unwrap_or(path);
        // SQLite reads what follows two slashes as the name of a machine.
        let slashes = if path.starts_with('/') { "///" } else { "" };
        // That a file may be created is said by a flag, and not when it is opened for reading.
        let path = path.trim_start_matches('/').trim_end_matches("?mode=rwc").replace('#', "%23");
        Self::Sqlite { uri: format!("file:{slashes}{path}"), creates: writes }
    }

    /// Connections to PostgreSQL with this isolation level.
    pub fn postgres(settings: &DbSettings, isolation: &str) -> Result<Self, sqlx::Error> {
        let statement_timeout = settings.statement_timeout.as_millis().to_string();
        let options = PgConnectOptions::from_str(&settings.url)?
            .application_name("hero-teams")
            .options([("default_transaction_isolation", isolation), ("statement_timeout", &statement_timeout)])
            // Statements of both databases are logged where they are counted.
            .disable_statement_logging();
        Ok(Self::Postgres(Box::new(options)))
    }

    pub fn backend(&self) -> DbBackend {
        match self {
            Self::Sqlite { .. } => DbBackend::Sqlite,
            Self::Postgres(_) => DbBackend::Postgres,
        }
    }
}
