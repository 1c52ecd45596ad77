//! The tables as this program expects them.

use std::sync::Arc;

use migration::MigratorTrait;
use sea_orm::{
    ConnectionTrait, Database, DbBackend, DbErr, ProxyDatabaseTrait, ProxyExecResult, ProxyRow, Statement,
    from_query_result_to_proxy_row, prelude::async_trait::async_trait,
};

use super::{Db, Transaction, connection::Isolation, readiness::is_read_only, sqlite::Place};

/// Names the advisory lock under which PostgreSQL migrates: the bytes of "heroteam".
const MIGRATION_LOCK: i64 = i64::from_be_bytes(*b"heroteam");

impl Db {
    /// Applies the migrations that are pending, all or none.
    ///
    /// Several servers may do so at once: SQLite's write lock and PostgreSQL's advisory lock let one after the other
    /// in, and the later ones find nothing to do. Where PostgreSQL may only be read, because it is a standby, there must be
    /// nothing to do.
    ///
    /// # Errors
    ///
    /// When the database has a migration that this program does not know, a statement fails, or the database does not
    /// answer any more.
    pub async fn migrate(&self) -> Result<(), DbErr> {
        tokio::select! {
            migrated = self.apply_migrations() => migrated,
            silent = self.write.until_silent(), if self.write.get_database_backend() == DbBackend::Postgres => Err(silent),
        }
    }

    async fn apply_migrations(&self) -> Result<(), DbErr> {
        // A migration takes the time that it takes, so it is not a slow statement of a request.
        let write = self.write.of(&Arc::default());
        if write.get_database_backend() == DbBackend::Postgres && is_read_only(&write).await? {
            return self.refuse_pending_migrations().await;
        }
        // Read committed: a snapshot from before the wait would not show what the other server has done.
        let txn = write.begin_in(Place::Thread, Isolation::ReadCommitted).await?;
        if txn.get_database_backend() == DbBackend::Postgres {
            // The wait for the other server takes its time, too.
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
        migration::Migrator::up(&connection, None).await?;
        drop(connection);
        match Arc::into_inner(txn) {
            Some(txn) => txn.commit().await,
            None => Err(DbErr::Custom("the migrations have not come to their end".to_owned())),
        }
    }

    async fn refuse_pending_migrations(&self) -> Result<(), DbErr> {
        let pending = self.pending_migrations().await?;
        if !pending.is_empty() {
            let pending = pending.join(", ");
            return Err(DbErr::Custom(format!("the database may only be read, and migrations are pending: {pending}")));
        }
        tracing::warn!("the database may only be read, so mutations are refused");
        Ok(())
    }

    /// Names the migrations that are pending, and changes nothing.
    ///
    /// # Errors
    ///
    /// When the database has a migration that this program does not know, or does not answer.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, DbErr> {
        let pending = if self.read.get_database_backend() == DbBackend::Postgres {
            migration::Migrator::get_pending_migrations_read_only(&self.read).await?
        } else {
            // SeaORM looks for a table of SQLite with its own driver alone.
            let table = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'seaql_migrations'";
            match self.read.query_one_raw(Statement::from_string(DbBackend::Sqlite, table)).await? {
                Some(_) => migration::Migrator::get_pending_migrations(&self.read).await?,
                None => migration::Migrator::get_migration_files(),
            }
        };
        Ok(pending.iter().map(|migration| migration.name().to_owned()).collect())
    }
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
