//! The tables as this program expects them.

use std::sync::Arc;

use sea_orm::{
    ConnectionTrait, Database, DbBackend, DbErr, ProxyDatabaseTrait, ProxyExecResult, ProxyRow, Statement, Value,
    from_query_result_to_proxy_row, prelude::async_trait::async_trait, sea_query::Query,
};

use super::{
    Db, StoreError, Transaction,
    connector::Isolation,
    error::is_locked,
    migrations::{Found, MIGRATIONS, MIN_PROGRAM, Migrations, SCHEMA_COMPAT, TABLES_OF_SQLITE},
    readiness::is_read_only,
    sqlite::RunOn,
};

/// Another program may have tables of other names in the same schema.
const TABLES_OF_POSTGRES: &str = "SELECT relname::text FROM pg_catalog.pg_class
    WHERE relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema())
    AND relname = ANY($1) ORDER BY relname";

/// Names the advisory lock under which PostgreSQL migrates: the bytes of "heroteam".
const MIGRATION_LOCK: i64 = i64::from_be_bytes(*b"heroteam");

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
        let tables = self.tables(&*txn).await?;
        if let Some(table) = self.shared.migrations.tables.iter().find(|table| !tables.contains(table)) {
            let message = format!("no migration makes the table {table}; add one to `migrations`");
            return Err(DbErr::Custom(message).into());
        }
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
        let texts = async |sql: &str| texts(&read, sql, Vec::new()).await;
        let tables = self.tables(&read).await?;
        let encoding = if backend == DbBackend::Sqlite {
            "SELECT encoding FROM pragma_encoding"
        } else {
            "SELECT current_setting('server_encoding')"
        };
        let has_migrations = tables.iter().any(|table| table == MIGRATIONS);
        let migrations = if has_migrations { texts("SELECT version FROM seaql_migrations").await? } else { Vec::new() };
        // It is asked for when it says something.
        let knows = |name: &String| self.shared.migrations.names.contains(name);
        let asks = tables.iter().any(|table| table == SCHEMA_COMPAT) && !migrations.iter().all(knows);
        let min_program = if asks { texts(MIN_PROGRAM).await?.pop() } else { None };
        let encoding = texts(encoding).await?.into_iter().next().unwrap_or_default();
        Ok(Found { backend, tables, migrations, min_program, encoding })
    }

    /// The tables: on PostgreSQL those of the schema that this program would take for its own, on SQLite all of them.
    async fn tables(&self, db: &impl ConnectionTrait) -> Result<Vec<String>, DbErr> {
        if db.get_database_backend() == DbBackend::Sqlite {
            return texts(db, TABLES_OF_SQLITE, Vec::new()).await;
        }
        let mut names = self.shared.migrations.tables.to_vec();
        names.push(MIGRATIONS.to_owned());
        texts(db, TABLES_OF_POSTGRES, vec![names.into()]).await
    }
}

async fn texts(db: &impl ConnectionTrait, sql: &str, values: Vec<Value>) -> Result<Vec<String>, DbErr> {
    let rows = db.query_all_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, values)).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
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
