//! How connections are opened: what holds for every one of them.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use sea_orm::{
    DbBackend,
    sqlx::{
        self, AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, Row as _,
        postgres::{PgConnectOptions, PgRow},
    },
};
use tokio::{sync::OnceCell, time::timeout};

use super::{DbSettings, file::File, pooler};
use crate::config::PostgresUrl;

/// How connections are opened.
#[derive(Clone, Debug)]
pub enum Connector {
    Sqlite(Arc<File>),
    Postgres(Arc<Postgres>),
}

/// How connections to PostgreSQL are opened, and what is asked of it.
#[derive(Debug)]
pub struct Postgres {
    hosts: Vec<PgConnectOptions>,
    /// Whether the pooler of each host has been looked at, and is one that this program works with.
    is_probed: Vec<OnceCell<()>>,
    /// Whether a host that may only be read is passed over.
    must_write: bool,
    /// The host that was connected to last.
    latest: AtomicUsize,
    /// The settings that must be in force, with their values as `pg_settings` has them.
    in_force: [(&'static str, String); 3],
    serializable: Arc<str>,
    read_committed: Arc<str>,
    repeatable_read: Arc<str>,
    /// Whether a pooler is between the server and PostgreSQL, which gives each transaction another session.
    pub is_pooled: bool,
    /// Whether statements stay prepared.
    pub prepares: bool,
}

/// A process of PostgreSQL that serves a connection.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// The number of its host.
    pub host: usize,
    pub pid: i32,
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
/// A setting that nobody else makes. Where it is missing, a pooler drops what is asked for, though the database may
/// have the same settings from elsewhere.
const ASKED: (&str, &str) = ("hero_teams.asked", "on");
/// Why a host is refused that may only be read.
pub const CANNOT_BE_WRITTEN: &str =
    "the host may only be read, but target_session_attrs asks for one that can be written";
/// How long one of several hosts has to answer.
const MAX_HOST: Duration = Duration::from_secs(2);

/// The isolation level of a transaction. SQLite has one writer, so its transactions are always serializable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    Serializable,
    ReadCommitted,
    /// Reads what was committed when it began, for as long as it takes, and writes nothing.
    RepeatableRead,
}

impl Connector {
    /// Connections to PostgreSQL.
    pub fn postgres(url: &PostgresUrl, settings: &DbSettings) -> Self {
        let milliseconds = |time: Duration| time.as_millis().to_string();
        let timeouts = [
            ("statement_timeout", milliseconds(settings.statement_timeout)),
            ("idle_in_transaction_session_timeout", milliseconds(IDLE_IN_TRANSACTION_TIMEOUT)),
        ];
        let [statement, idle] = timeouts.clone();
        // What only reads is a statement at a time. Transactions say what they need when they begin.
        let in_force = [("default_transaction_isolation", "read committed".to_owned()), statement, idle];
        let (is_pooled, prepares) = (settings.is_pooled, settings.prepared_statements);
        let options = |host: &PgConnectOptions| {
            // Statements of both databases are logged where they are counted.
            let host = named(host).disable_statement_logging();
            let host = if prepares { host } else { host.statement_cache_capacity(0) };
            if is_pooled {
                // A pooler refuses what it does not know.
                host.extra_float_digits(None)
            } else {
                // They come after those of the URL, and so before them.
                host.options(in_force.clone()).options(KEEPALIVE).options([ASKED])
            }
        };
        // A session that a pooler gives has nothing of what was asked for when the connection was opened.
        let local = timeouts.map(|(name, value)| format!("; SET LOCAL {name} = {value}")).concat();
        let local = if is_pooled { local } else { String::new() };
        // A table that is written anew, because a column changes its type, is empty for whoever looks at it as it was
        // before. So all tables are locked against that before the first statement, from which on it looks.
        let tables = settings.migrations.quoted_tables();
        let serializable =
            format!("BEGIN ISOLATION LEVEL SERIALIZABLE{local}; LOCK TABLE {tables} IN ACCESS SHARE MODE");
        let read_committed = format!("BEGIN ISOLATION LEVEL READ COMMITTED{local}");
        // Whoever reads it may take its time.
        let repeatable_read = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY{local}; SET LOCAL idle_in_transaction_session_timeout = 0"
        );
        Self::Postgres(Arc::new(Postgres {
            hosts: url.hosts.iter().map(options).collect(),
            is_probed: url.hosts.iter().map(|_| OnceCell::new()).collect(),
            must_write: url.must_write,
            latest: AtomicUsize::new(0),
            in_force,
            serializable: serializable.into(),
            read_committed: read_committed.into(),
            repeatable_read: repeatable_read.into(),
            is_pooled,
            prepares,
        }))
    }

    pub fn backend(&self) -> DbBackend {
        match self {
            Self::Sqlite(_) => DbBackend::Sqlite,
            Self::Postgres(_) => DbBackend::Postgres,
        }
    }

    /// What is told of the database to those who watch.
    pub fn target(&self) -> Target {
        match self {
            Self::Sqlite(file) => {
                Target { backend: DbBackend::Sqlite, namespace: file.name(), address: String::new(), port: 0 }
            }
            Self::Postgres(postgres) => {
                let host = &postgres.hosts[0];
                Target {
                    backend: DbBackend::Postgres,
                    namespace: host.get_database().unwrap_or(host.get_username()).to_owned(),
                    address: postgres.address(0),
                    port: host.get_port(),
                }
            }
        }
    }

    /// Whether a pooler is between the server and PostgreSQL.
    pub fn is_pooled(&self) -> bool {
        matches!(self, Self::Postgres(postgres) if postgres.is_pooled)
    }
}

/// A database, as those who watch know it.
#[derive(Clone, Debug)]
pub struct Target {
    pub backend: DbBackend,
    /// The name of the database, or of the file.
    pub namespace: String,
    /// The first host, or its folder of sockets; empty on SQLite.
    pub address: String,
    pub port: u16,
}

impl Target {
    /// The name of the system (semantic conventions of OpenTelemetry, `db.system.name`).
    pub fn system_name(&self) -> &'static str {
        if self.backend == DbBackend::Sqlite { "sqlite" } else { "postgresql" }
    }
}

/// The options, with a name by which PostgreSQL knows the program.
pub fn named(options: &PgConnectOptions) -> PgConnectOptions {
    let name = options.get_application_name().unwrap_or("hero-teams");
    options.clone().application_name(name)
}

impl Postgres {
    /// What begins a transaction.
    pub fn begin(&self, isolation: Isolation) -> Arc<str> {
        match isolation {
            Isolation::Serializable => Arc::clone(&self.serializable),
            Isolation::ReadCommitted => Arc::clone(&self.read_committed),
            Isolation::RepeatableRead => Arc::clone(&self.repeatable_read),
        }
    }

    /// Opens a connection to the first host that answers, and can be written if it must be. The host that was good the
    /// last time comes first. Gives also the process that serves it, unless a pooler is between.
    ///
    /// # Errors
    ///
    /// When there is none, or what was asked for is not in force.
    pub async fn open(&self) -> Result<(PgConnection, Option<Process>), sqlx::Error> {
        let (host, opened) =
            first_host(self.hosts.len(), self.latest.load(Relaxed), |host| self.open_host(host)).await?;
        if self.latest.swap(host, Relaxed) != host {
            tracing::info!(host = host + 1, "connected to another one of the hosts of the database");
        }
        Ok(opened)
    }

    async fn open_host(&self, host: usize) -> Result<(PgConnection, Option<Process>), sqlx::Error> {
        let mut connection = self.connect(host).await?;
        let pid = self.verify_settings(&mut connection).await?;
        if self.is_pooled {
            self.is_probed[host].get_or_try_init(|| pooler::probe(self, host, &mut connection)).await?;
        }
        Ok((connection, pid.map(|pid| Process { host, pid })))
    }

    /// A connection to a host as it is.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn connect(&self, host: usize) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect_with(&self.hosts[host]).await
    }

    /// Gives the number of the process that serves a connection, after looking at the settings that are in force there.
    /// What is between the server and PostgreSQL may have dropped what was asked for when the connection was opened.
    ///
    /// It is one round trip. Behind a pooler the settings are not looked at, and the process is not known: all that is
    /// asked is whether the host can be written, if it must be.
    async fn verify_settings(&self, connection: &mut PgConnection) -> Result<Option<i32>, sqlx::Error> {
        if self.is_pooled && !self.must_write {
            return Ok(None);
        }
        let names = self.in_force.each_ref().map(|(name, _)| *name).join("', '");
        let sql = format!(
            "SELECT pg_backend_pid(), current_setting('transaction_read_only'), name, setting, \
             current_setting('{}', true) FROM pg_settings WHERE name IN ('{names}')",
            ASKED.0
        );
        let rows = connection.fetch_all(AssertSqlSafe(sql)).await?;
        let first = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        if self.must_write && first.try_get::<&str, _>(1)? == "on" {
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, CANNOT_BE_WRITTEN).into());
        }
        if self.is_pooled {
            return Ok(None);
        }
        for (name, asked) in &self.in_force {
            let found = value(&rows, name)?;
            if found != asked {
                return Err(not_asked(&format!("{name} is {found} and not {asked}")));
            }
        }
        if first.try_get::<Option<&str>, _>(4)? != Some(ASKED.1) {
            return Err(not_asked("no setting has arrived"));
        }
        first.try_get(0).map(Some)
    }

    /// The name of a host, or its folder of sockets.
    pub fn address(&self, host: usize) -> String {
        let host = &self.hosts[host];
        host.get_socket().map_or_else(|| host.get_host().to_owned(), |socket| socket.display().to_string())
    }

    /// The settings that must be in force.
    pub fn in_force(&self) -> &[(&'static str, String)] {
        &self.in_force
    }
}

fn not_asked(found: &str) -> sqlx::Error {
    let message = format!(
        "PostgreSQL does not do what was asked for when the connection was opened: {found}; through a pooler, set \
         --pooler transaction"
    );
    sqlx::Error::Configuration(message.into())
}

/// The value of a setting, in rows whose third column is the name of one, and whose fourth is the value.
fn value<'a>(rows: &'a [PgRow], name: &str) -> Result<&'a str, sqlx::Error> {
    let row = rows.iter().find(|row| row.try_get::<&str, _>(2).is_ok_and(|found| found == name));
    row.map_or(Ok("not known"), |row| row.try_get(3))
}

/// What is opened at the first of so many hosts where that goes well, and the number of the host. `latest` comes first.
///
/// # Errors
///
/// When there is none: what a database or a look at it has said, if there is something.
pub async fn first_host<T, F: Future<Output = Result<T, sqlx::Error>>>(
    number: usize,
    latest: usize,
    open: impl Fn(usize) -> F,
) -> Result<(usize, T), sqlx::Error> {
    if number == 1 {
        return Ok((0, open(0).await?));
    }
    let mut refusal = None;
    for host in (0..number).map(|host| (latest + host) % number) {
        match timeout(MAX_HOST, open(host)).await {
            Ok(Ok(opened)) => return Ok((host, opened)),
            Ok(Err(error @ (sqlx::Error::Database(_) | sqlx::Error::Configuration(_)))) => {
                refusal = refusal.or(Some(error));
            }
            Ok(Err(error)) => tracing::debug!(%error, host = host + 1, "a host of the database is passed over"),
            Err(_) => tracing::debug!(host = host + 1, "a host of the database does not answer"),
        }
    }
    let message = "none of the hosts answers and can be written";
    Err(refusal.unwrap_or_else(|| io::Error::new(io::ErrorKind::ConnectionRefused, message).into()))
}
