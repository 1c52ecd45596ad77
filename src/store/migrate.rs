//! The tables as this program expects them.

use migration::MigratorTrait;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait,
};

use super::{Db, connector::Connector};

/// Names the advisory lock under which PostgreSQL migrates: the bytes of "heroteam".
const MIGRATION_LOCK: i64 = i64::from_be_bytes(*b"heroteam");

impl Db {
    /// Applies the migrations that are pending, all or none.
    ///
    /// Several servers may do so at once: SQLite's write lock and PostgreSQL's advisory lock let one after the other
    /// in, and the later ones find nothing to do.
    ///
    /// # Errors
    ///
    /// When the database has a migration that this program does not know, or a statement fails.
    pub async fn migrate(&self) -> Result<(), DbErr> {
        // A connection of its own, because migrations know no connections but those of SeaORM.
        let connection = self.connect_to_migrate().await?;
        let migrated = migrate(&connection).await;
        connection.close().await?;
        migrated
    }

    /// Names the migrations that are pending, and changes nothing.
    ///
    /// # Errors
    ///
    /// When the database has a migration that this program does not know, or does not answer.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, DbErr> {
        let pending = migration::Migrator::get_pending_migrations_read_only(&self.read).await?;
        Ok(pending.iter().map(|migration| migration.name().to_owned()).collect())
    }

    async fn connect_to_migrate(&self) -> Result<DatabaseConnection, DbErr> {
        let settings = &self.shared.settings;
        let mut options = ConnectOptions::new(settings.url.clone());
        options.max_connections(1).acquire_timeout(settings.acquire_timeout);
        match self.write.connector().clone() {
            Connector::Sqlite(sqlite) => options.map_sqlx_sqlite_opts(move |_| (*sqlite).clone()),
            Connector::Postgres(postgres) => options.map_sqlx_postgres_opts(move |_| (*postgres).clone()),
        };
        Database::connect(options).await
    }
}

async fn migrate(connection: &DatabaseConnection) -> Result<(), DbErr> {
    let txn = connection
        .begin_with_options(TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        })
        .await?;
    if txn.get_database_backend() == DbBackend::Postgres {
        // Read committed: a snapshot from before the wait would not show what the other server has done.
        txn.execute_unprepared("SET TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
        // A migration takes the time it takes, and so does the wait for it.
        txn.execute_unprepared("SET LOCAL statement_timeout = 0").await?;
        txn.execute_raw(Statement::from_sql_and_values(
            DbBackend::Postgres,
            "SELECT pg_advisory_xact_lock($1)",
            [MIGRATION_LOCK.into()],
        ))
        .await?;
    }
    migration::Migrator::up(&txn, None).await?;
    txn.commit().await
}
