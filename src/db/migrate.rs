//! The tables as this program expects them.

use std::{fmt, pin::Pin, sync::Arc};

use migration::MigratorTrait;
use sea_orm::{
    ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, ProxyDatabaseTrait, ProxyExecResult, ProxyRow,
    Statement, Value, from_query_result_to_proxy_row, prelude::async_trait::async_trait, sea_query::Query,
};

use super::{
    Db, StoreError, Transaction, connection::Isolation, error::is_locked, readiness::is_read_only, sqlite::RunOn,
};

/// The table in which SeaORM notes the migrations that were applied.
pub const MIGRATIONS: &str = "seaql_migrations";

/// The table that says which programs can work with the tables.
pub const SCHEMA_COMPAT: &str = "schema_compat";
/// Reads what it says: the migration that a program must know at least.
pub const MIN_PROGRAM: &str = "SELECT min_program FROM schema_compat";

pub const TABLES_OF_SQLITE: &str = "SELECT name FROM sqlite_schema
    WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";

/// Another program may have tables of other names in the same schema.
const TABLES_OF_POSTGRES: &str = "SELECT relname::text FROM pg_catalog.pg_class
    WHERE relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema())
    AND relname = ANY($1) ORDER BY relname";

/// Names the advisory lock under which PostgreSQL migrates: the bytes of "heroteam".
const MIGRATION_LOCK: i64 = i64::from_be_bytes(*b"heroteam");

/// The migrations of an API, and the tables that they make.
#[derive(Clone)]
pub struct Migrations {
    names: Arc<[String]>,
    /// The last of them that is more than an addition, which older programs can do without.
    min_program: Option<String>,
    /// All tables that they make.
    tables: Arc<[String]>,
    /// How many of the tables, from the first, are those that clients write.
    clients: usize,
    /// Whether they make the table of the events.
    pub(super) make_events: bool,
    up: Up,
}

/// Applies the migrations that are pending.
type Up = for<'a> fn(&'a DatabaseConnection) -> Pin<Box<dyn Future<Output = Result<(), DbErr>> + Send + 'a>>;

impl Migrations {
    /// The migrations of a migrator, which make the tables that clients write, and tables of the server's own.
    #[must_use]
    pub fn new<M: MigratorTrait + 'static>(mut tables: Vec<String>, own: Vec<String>, additive: &[&str]) -> Self {
        let clients = tables.len();
        tables.extend(own);
        let names: Arc<[String]> = M::migrations().iter().map(|migration| migration.name().to_owned()).collect();
        let min_program = names.iter().rfind(|name| !additive.contains(&name.as_str())).cloned();
        let (tables, up): (_, Up) = (tables.into(), |connection| Box::pin(M::up(connection, None)));
        Self { names, min_program, tables, clients, make_events: false, up }
    }

    /// The same migrations, which make the table of the events as well.
    #[must_use]
    pub fn with_events(self) -> Self {
        Self { make_events: true, ..self }
    }

    /// The tables that clients write, as SQL lists them.
    pub(super) fn quoted_tables(&self) -> String {
        let tables = self.tables.iter().take(self.clients);
        let quoted: Vec<_> = tables.map(|table| format!("\"{}\"", table.replace('"', "\"\""))).collect();
        quoted.join(", ")
    }
}

impl fmt::Debug for Migrations {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { names, tables, .. } = self;
        formatter.debug_struct("Migrations").field("names", names).field("tables", tables).finish_non_exhaustive()
    }
}

/// What a database has before this program uses it.
#[derive(Debug)]
pub struct Found {
    pub backend: DbBackend,
    /// On PostgreSQL those of the schema that this program would take for its own, on SQLite all of them.
    pub tables: Vec<String>,
    /// The migrations that were applied.
    pub migrations: Vec<String>,
    /// The migration that a program must know to work with the tables.
    pub min_program: Option<String>,
    /// How text is encoded.
    pub encoding: String,
}

/// The greatest number of names in a message.
const MAX_NAMES: usize = 5;

impl Found {
    /// Refuses a database that this program did not make, or in which it would answer wrongly.
    ///
    /// # Errors
    ///
    /// A message that goes on after the name of the database.
    pub fn ensure_known(&self, expected: &Migrations) -> Result<(), String> {
        let is_sqlite = self.backend == DbBackend::Sqlite;
        let elsewhere = if is_sqlite {
            "it stays as it is; name another file, such as sqlite://hero-teams.db"
        } else {
            "it stays as it is; name another database, or another schema with options=-c%20search_path%3DNAME"
        };
        if let Some(names) = self.unknown(expected)
            && !self.is_compatible(expected)
        {
            let who = "another program, or a newer version of this one";
            return Err(format!("was made by {who} (it has the migrations {names}); {elsewhere}"));
        }
        if self.migrations.is_empty() && self.tables.iter().any(|table| table != MIGRATIONS) {
            let tables = list(&self.tables);
            let copy = "the command `copy --from URL` takes over its rows";
            return Err(format!("has tables that this program did not make ({tables}); {elsewhere}; {copy}"));
        }
        if self.pending(expected).is_empty()
            && let Some(table) = expected.tables.iter().find(|table| !self.tables.contains(table))
        {
            return Err(format!("has no table {table}, although the migration that makes it was applied"));
        }
        if matches!(self.encoding.as_str(), "UTF-8" | "UTF8") {
            return Ok(());
        }
        let remedy = if is_sqlite {
            "convert it with `sqlite3 OLD .dump | sqlite3 NEW`"
        } else {
            "create one with `createdb --template template0 --encoding UTF8 NAME`"
        };
        Err(format!("stores text in {}, but UTF-8 is required to compare it; {remedy}", self.encoding))
    }

    /// The names of the migrations that are not known, if there are any.
    fn unknown(&self, expected: &Migrations) -> Option<String> {
        let mut unknown = self.migrations.iter().filter(|name| !expected.names.contains(name)).peekable();
        unknown.peek().is_some().then(|| list(unknown))
    }

    /// Whether a newer version has only added what this one can do without.
    fn is_compatible(&self, expected: &Migrations) -> bool {
        let knows = |name: &String| expected.names.contains(name);
        self.min_program.as_ref().is_some_and(knows) && self.pending(expected).is_empty()
    }

    /// The migrations that are to be applied.
    fn pending(&self, expected: &Migrations) -> Vec<String> {
        expected.names.iter().filter(|name| !self.migrations.contains(name)).cloned().collect()
    }
}

fn list<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let mut names: Vec<_> = names.into_iter().map(String::as_str).collect();
    if names.len() > MAX_NAMES {
        names.truncate(MAX_NAMES);
        names.push("…");
    }
    names.join(", ")
}

impl Db {
    /// Applies the migrations that are pending, all or none. Where none is, nothing is written.
    ///
    /// Several servers may do so at once: SQLite's write lock and PostgreSQL's advisory lock let one after the other
    /// in, and the later ones find nothing to do. Where PostgreSQL may only be read, because it is a standby, there
    /// must be nothing to do.
    ///
    /// # Errors
    ///
    /// When the database may only be read, a statement fails, or the database does not answer any more.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let is_postgres = self.write.get_database_backend() == DbBackend::Postgres;
        tokio::select! {
            migrated = self.apply_migrations() => migrated,
            silent = self.write.until_silent(), if is_postgres => Err(silent.into()),
        }
    }

    async fn apply_migrations(&self) -> Result<(), StoreError> {
        let pending = self.pending_migrations().await?;
        // A migration takes the time that it takes, so it is not a slow statement of a request.
        let write = self.write.with_meter(&Arc::default());
        let is_postgres = write.get_database_backend() == DbBackend::Postgres;
        if if is_postgres { is_read_only(&write).await? } else { write.is_read_only() } {
            return refuse(&pending, write.get_database_backend());
        }
        if pending.is_empty() {
            return Ok(());
        }
        // Read committed: a snapshot from before the wait would not show what the other server has done.
        let txn = loop {
            match write.begin_in(RunOn::BlockingPool, Some(Isolation::ReadCommitted)).await {
                // SQLite gives up after some seconds, but another server may take longer.
                Err(error) if is_locked(&error) => {
                    tracing::warn!("another process writes to the database; the migrations wait for it");
                }
                txn => break txn?,
            }
        };
        if is_postgres {
            // The wait for the other server takes time as well.
            txn.execute_unprepared("SET LOCAL statement_timeout = 0").await?;
            txn.execute_raw(Statement::from_sql_and_values(
                DbBackend::Postgres,
                "SELECT pg_advisory_xact_lock($1)",
                [MIGRATION_LOCK.into()],
            ))
            .await?;
        }
        let txn = Arc::new(txn);
        // Migrations know no connections but those of SeaORM.
        let proxy: Box<dyn ProxyDatabaseTrait> = Box::new(Proxy(Arc::clone(&txn)));
        let connection = Database::connect_proxy(txn.get_database_backend(), Arc::new(proxy)).await?;
        (self.shared.migrations.up)(&connection).await?;
        drop(connection);
        self.note_min_program(&txn).await?;
        match Arc::into_inner(txn) {
            Some(txn) => Ok(txn.commit().await?),
            None => Err(DbErr::Custom("the migrations have not come to their end".to_owned()).into()),
        }
    }

    /// Notes which programs can work with the tables from now on.
    async fn note_min_program(&self, txn: &Transaction) -> Result<(), StoreError> {
        let Migrations { min_program: Some(name), .. } = &self.shared.migrations else { return Ok(()) };
        if self.shared.migrations.tables.iter().any(|table| table == SCHEMA_COMPAT) {
            txn.execute(&Query::delete().from_table(SCHEMA_COMPAT).take()).await?;
            let mut insert = Query::insert().into_table(SCHEMA_COMPAT).columns(["min_program"]).take();
            let row = insert.values([name.as_str().into()]);
            txn.execute(row.map_err(|error| DbErr::Custom(error.to_string()))?).await?;
        }
        Ok(())
    }

    /// Names the migrations that are pending, and changes nothing.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.found().await?.pending(&self.shared.migrations))
    }

    /// Refuses a database that this program did not make, or in which it would answer wrongly.
    pub(super) async fn ensure_known(&self) -> Result<(), StoreError> {
        let (found, expected) = (self.found().await?, &self.shared.migrations);
        let refused = |reason| StoreError::Database(DbErr::Custom(format!("the database {reason}")));
        found.ensure_known(expected).map_err(refused)?;
        if let Some(names) = found.unknown(expected) {
            tracing::warn!("the database has migrations of a newer version, which this one can do without ({names})");
        }
        Ok(())
    }

    async fn found(&self) -> Result<Found, StoreError> {
        let backend = self.read.get_database_backend();
        // It is no statement of a request, that may be too slow.
        let read = self.read.with_meter(&Arc::default());
        let texts = async |sql: &str, values: Vec<Value>| {
            let rows = read.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
            rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<Vec<String>, _>>()
        };
        let (tables, encoding) = if backend == DbBackend::Sqlite {
            (texts(TABLES_OF_SQLITE, Vec::new()).await?, "SELECT encoding FROM pragma_encoding")
        } else {
            let mut names = self.shared.migrations.tables.to_vec();
            names.push(MIGRATIONS.to_owned());
            (texts(TABLES_OF_POSTGRES, vec![names.into()]).await?, "SELECT current_setting('server_encoding')")
        };
        let has_migrations = tables.iter().any(|table| table == MIGRATIONS);
        let migrations =
            if has_migrations { texts("SELECT version FROM seaql_migrations", Vec::new()).await? } else { Vec::new() };
        // It is asked for when it says something.
        let knows = |name: &String| self.shared.migrations.names.contains(name);
        let asks = tables.iter().any(|table| table == SCHEMA_COMPAT) && !migrations.iter().all(knows);
        let min_program = if asks { texts(MIN_PROGRAM, Vec::new()).await?.pop() } else { None };
        let encoding = texts(encoding, Vec::new()).await?.into_iter().next().unwrap_or_default();
        Ok(Found { backend, tables, migrations, min_program, encoding })
    }
}

/// Refuses migrations of a database that may only be read. Opening a file of SQLite that may only be read has warned.
fn refuse(pending: &[String], backend: DbBackend) -> Result<(), StoreError> {
    if pending.is_empty() {
        if backend == DbBackend::Postgres {
            tracing::warn!("the database may only be read, so mutations are refused");
        }
        return Ok(());
    }
    let message = format!("the database is outdated and may only be read (pending: {})", pending.join(", "));
    Err(StoreError::Database(DbErr::Migration(message)))
}

/// A transaction as SeaORM takes it from databases that it does not know.
#[derive(Debug)]
struct Proxy(Arc<Transaction>);

#[async_trait]
impl ProxyDatabaseTrait for Proxy {
    async fn query(&self, statement: Statement) -> Result<Vec<ProxyRow>, DbErr> {
        let rows = self.0.query_all_raw(statement).await?;
        Ok(rows.iter().map(from_query_result_to_proxy_row).collect())
    }

    async fn execute(&self, statement: Statement) -> Result<ProxyExecResult, DbErr> {
        self.0.execute_raw(statement).await.map(Into::into)
    }
}
