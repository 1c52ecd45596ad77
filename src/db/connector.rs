//! How connections are opened: what holds for every one of them.

use std::{sync::Arc, time::Duration};

use sea_orm::{
    DbBackend,
    sqlx::{
        self, AssertSqlSafe, ConnectOptions as _, Executor as _, PgConnection, Row as _, postgres::PgConnectOptions,
    },
};

use super::{DbSettings, file::File};

/// How connections are opened.
#[derive(Clone, Debug)]
pub enum Connector {
    Sqlite(Arc<File>),
    Postgres(Box<Asked>),
}

/// What is asked of PostgreSQL when a connection is opened.
#[derive(Clone, Debug)]
pub struct Asked {
    pub options: PgConnectOptions,
    /// The settings that must be in force, with their values as `pg_settings` has them.
    in_force: [(&'static str, String); 3],
    /// What begins a SERIALIZABLE transaction.
    ///
    /// A table that is written anew, because a column changes its type, is empty for whoever looks at it as it was
    /// before. So all tables are locked against that before the first statement, from which on the transaction looks.
    pub serializable: Arc<str>,
}

/// PostgreSQL ends a transaction whose server has said nothing for so long: it has come to a halt, or cannot be
/// reached.
const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_mins(1);
/// PostgreSQL ends what a server has left that cannot be reached any more, within a minute. The times are seconds, but
/// for the last, which is milliseconds.
const KEEPALIVE: [(&str, &str); 4] = [
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "60000"),
];

impl Connector {
    /// Connections to PostgreSQL.
    pub fn postgres(options: &PgConnectOptions, settings: &DbSettings) -> Self {
        let milliseconds = |time: Duration| time.as_millis().to_string();
        let in_force = [
            // What only reads is a statement at a time. Transactions say what they need when they begin.
            ("default_transaction_isolation", "read committed".to_owned()),
            ("statement_timeout", milliseconds(settings.statement_timeout)),
            ("idle_in_transaction_session_timeout", milliseconds(IDLE_IN_TRANSACTION_TIMEOUT)),
        ];
        let options = named(options)
            // They come after those of the URL, and so before them.
            .options(in_force.clone())
            .options(KEEPALIVE)
            // Statements of both databases are logged where they are counted.
            .disable_statement_logging();
        let serializable = format!(
            "BEGIN ISOLATION LEVEL SERIALIZABLE; LOCK TABLE {} IN ACCESS SHARE MODE",
            settings.migrations.quoted_tables()
        );
        Self::Postgres(Box::new(Asked { options, in_force, serializable: serializable.into() }))
    }

    pub fn backend(&self) -> DbBackend {
        match self {
            Self::Sqlite(_) => DbBackend::Sqlite,
            Self::Postgres(_) => DbBackend::Postgres,
        }
    }
}

/// The options, with a name by which PostgreSQL knows the program.
pub fn named(options: &PgConnectOptions) -> PgConnectOptions {
    let name = options.get_application_name().unwrap_or("hero-teams");
    options.clone().application_name(name)
}

impl Asked {
    /// Gives the number of the process that serves a connection, after looking at the settings that are in force there.
    /// What is between the server and PostgreSQL may have dropped what was asked for when the connection was opened.
    ///
    /// It is one round trip.
    pub async fn check(&self, connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
        let names = self.in_force.each_ref().map(|(name, _)| *name).join("', '");
        let sql = format!("SELECT pg_backend_pid(), name, setting FROM pg_settings WHERE name IN ('{names}')");
        let rows = connection.fetch_all(AssertSqlSafe(sql)).await?;
        for (name, asked) in &self.in_force {
            let row = rows.iter().find(|row| row.try_get::<&str, _>(1).is_ok_and(|found| found == *name));
            let found: &str = row.map_or(Ok("not known"), |row| row.try_get(2))?;
            if found != asked {
                let message = format!(
                    "PostgreSQL does not do what was asked for when the connection was opened: {name} is {found} and \
                     not {asked}; a pooler that ignores the startup parameter `options` is not supported"
                );
                return Err(sqlx::Error::Configuration(message.into()));
            }
        }
        rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)
    }
}
