//! How connections are opened: what holds for every one of them.

use std::sync::Arc;

use sea_orm::{
    DbBackend,
    sqlx::{ConnectOptions, postgres::PgConnectOptions},
};

use super::{DbSettings, file::File};

/// How connections are opened.
#[derive(Clone, Debug)]
pub enum Connector {
    Sqlite(Arc<File>),
    Postgres(Box<PgConnectOptions>),
}

impl Connector {
    /// Connections to PostgreSQL with this isolation level.
    pub fn postgres(options: &PgConnectOptions, settings: &DbSettings, isolation: &str) -> Self {
        let statement_timeout = settings.statement_timeout.as_millis().to_string();
        let name = options.get_application_name().unwrap_or("hero-teams");
        let options = (options.clone().application_name(name))
            // They come after those of the URL, and so before them.
            .options([("default_transaction_isolation", isolation), ("statement_timeout", &statement_timeout)])
            // Statements of both databases are logged where they are counted.
            .disable_statement_logging();
        Self::Postgres(Box::new(options))
    }

    pub fn backend(&self) -> DbBackend {
        match self {
            Self::Sqlite(_) => DbBackend::Sqlite,
            Self::Postgres(_) => DbBackend::Postgres,
        }
    }
}
