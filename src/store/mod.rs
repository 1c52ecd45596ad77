//! What the database holds: rows in and out, plain functions over a connection. Every query is here.

mod create;
mod delete;
mod error;
mod filter;
pub mod hero;
mod membership;
mod order;
mod read;
mod relate;
mod rows;
pub mod seed;
pub mod team;
mod update;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use migration::MigratorTrait;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, Statement,
    TransactionOptions, TransactionTrait,
    sqlx::{
        Connection,
        sqlite::{SqliteJournalMode, SqliteSynchronous},
    },
};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

pub use self::{
    create::{Create, Creation, NewRow},
    delete::Deletion,
    error::StoreError,
    filter::{Column, Filter, IntTest, Quantifier, TextTest},
    order::{Bound, Key, Order, OrderBy, Position},
    read::{ListQuery, Rows, Slice, by_keys, count, linked_counts, linked_list, list},
    relate::Relate,
    rows::{Model, Row, Table},
    update::{Change, Changes, Update},
};

/// How to reach the database.
#[derive(Clone, Debug)]
pub struct DbSettings {
    /// `sqlite://FILE` or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
    pub url: String,
    /// Connections that read, at most.
    pub read_connections: u32,
    /// Connections that write, at most. SQLite always has one.
    pub write_connections: u32,
    /// How long a request waits for a connection that is free.
    pub acquire_timeout: Duration,
    /// How long a statement may take on PostgreSQL before it is cancelled. Zero for no end.
    pub statement_timeout: Duration,
    /// Whether each statement is logged with its time.
    pub log_sql: bool,
}

/// The database: one pool that reads and one that writes.
///
/// SQLite has a single writer by nature, and waiting for it in a pool is fair and without polling. PostgreSQL has a
/// pool of its own for writes because their isolation level is an option of the connection, which saves each
/// transaction a statement.
#[derive(Clone, Debug)]
pub struct Db {
    pub read: DatabaseConnection,
    pub write: DatabaseConnection,
    /// Writers share it, until one that keeps losing to others takes it for itself.
    precedence: Arc<RwLock<()>>,
}

/// The turn of an attempt at a transaction: side by side with others, or alone.
#[derive(Debug)]
#[expect(dead_code, reason = "the guards are held, not read")]
enum Precedence {
    Shared(OwnedRwLockReadGuard<()>),
    Exclusive(OwnedRwLockWriteGuard<()>),
}

/// Statements that are written together or not at all: what [`Db::write`] runs in a transaction.
pub trait UnitOfWork: Send + Sync + 'static {
    type Output: Send;

    /// Runs the statements. It may be called again after an attempt that was rolled back.
    fn run(&self, txn: &DatabaseTransaction) -> impl Future<Output = Result<Self::Output, StoreError>> + Send;
}

/// Attempts at one transaction side by side with others.
const SHARED_ATTEMPTS: u32 = 4;
/// Attempts at one transaction before a conflict with others is reported.
const MAX_ATTEMPTS: u32 = 24;
/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_millis(200);
/// How long a connection lives. Pools do not ping before each use, so a connection must not grow old.
const MAX_LIFETIME: Duration = Duration::from_mins(30);
/// After how long without use a connection is asked whether it still stands.
const IDLE_BEFORE_PING: Duration = Duration::from_secs(1);
/// Names the advisory lock under which PostgreSQL migrates: the bytes of "heroteam".
const MIGRATION_LOCK: i64 = i64::from_be_bytes(*b"heroteam");

impl Db {
    /// Opens the pools. A SQLite file that is not there is created.
    ///
    /// # Errors
    ///
    /// When the address is wrong or the database does not answer.
    pub async fn connect(settings: &DbSettings) -> Result<Self, DbErr> {
        if DbBackend::Sqlite.is_prefix_of(&settings.url) {
            // The writer comes first: it creates the file that the readers expect.
            let write = create_sqlite(settings).await?;
            let read = connect_sqlite(settings, settings.read_connections, false).await?;
            Ok(Self { read, write, precedence: Arc::default() })
        } else {
            let read = connect_postgres(settings, settings.read_connections, "read committed").await?;
            let write = connect_postgres(settings, settings.write_connections, "serializable").await?;
            Ok(Self { read, write, precedence: Arc::default() })
        }
    }

    /// Applies the migrations that are pending, all or none.
    ///
    /// Several servers may do so at once: SQLite's write lock and PostgreSQL's advisory lock let one after the other
    /// in, and the later ones find nothing to do.
    ///
    /// # Errors
    ///
    /// When the database has a migration that this program does not know, or a statement fails.
    pub async fn migrate(&self) -> Result<(), DbErr> {
        let txn = begin(&self.write).await?;
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

    /// Names the migrations that are pending, and changes nothing.
    ///
    /// # Errors
    ///
    /// When the database has a migration that this program does not know, or does not answer.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, DbErr> {
        let pending = migration::Migrator::get_pending_migrations_read_only(&self.read).await?;
        Ok(pending.iter().map(|migration| migration.name().to_owned()).collect())
    }

    /// Runs `work` as one transaction: all of it, or nothing.
    ///
    /// On PostgreSQL the transaction is SERIALIZABLE. When the database gives it up for another one (SQLSTATE 40001 and
    /// 40P01), `work` runs again from the start, a bounded number of times with a growing, random pause. A transaction that
    /// keeps losing gets the writers of this server to itself: the larger it is, the likelier it loses to small ones.
    ///
    /// Once begun it runs to its end, also when the client that asked for it has gone.
    ///
    /// # Errors
    ///
    /// What `work` returns, [`StoreError::Conflict`] when all attempts were given up, or what the database says.
    pub async fn write<W: UnitOfWork>(&self, work: W) -> Result<W::Output, StoreError> {
        let db = self.clone();
        // A task of its own: SQLx leaves a connection behind in an unknown state when a BEGIN is dropped half-way.
        let task = tokio::spawn(async move { db.attempts(&work).await });
        task.await?
    }

    async fn attempts<W: UnitOfWork>(&self, work: &W) -> Result<W::Output, StoreError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let precedence = self.precedence(attempt).await;
            let result = self.attempt(work).await;
            drop(precedence);
            match result {
                Err(StoreError::Conflict) if may_try_again(attempt).await => {}
                result => return result,
            }
        }
    }

    /// Waits for the turn of an attempt at a transaction, which lasts as long as what this gives.
    async fn precedence(&self, attempt: u32) -> Precedence {
        let lock = Arc::clone(&self.precedence);
        if attempt > SHARED_ATTEMPTS {
            Precedence::Exclusive(lock.write_owned().await)
        } else {
            Precedence::Shared(lock.read_owned().await)
        }
    }

    async fn attempt<W: UnitOfWork>(&self, work: &W) -> Result<W::Output, StoreError> {
        let txn = begin(&self.write).await?;
        match work.run(&txn).await {
            Ok(output) => {
                txn.commit().await?;
                Ok(output)
            }
            Err(error) => {
                if let Err(rollback) = txn.rollback().await {
                    tracing::warn!(%rollback, "a transaction could not be rolled back; its connection is given up");
                }
                Err(error)
            }
        }
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn ping(&self) -> Result<(), DbErr> {
        self.read.execute_unprepared("SELECT 1").await.map(drop)
    }

    /// Waits for what is running, then closes all connections.
    ///
    /// # Errors
    ///
    /// When a connection cannot be closed.
    pub async fn close(self) -> Result<(), DbErr> {
        self.read.close().await?;
        // The writer goes last: the last connection of a SQLite file folds its write-ahead log into it.
        self.write.close().await
    }
}

/// Whether a transaction that was given up for another one may run again, after the pause that goes with it.
pub async fn may_try_again(attempt: u32) -> bool {
    if attempt >= MAX_ATTEMPTS {
        return false;
    }
    let pause = MAX_PAUSE.min(Duration::from_millis(1 << attempt.min(10)));
    tokio::time::sleep(pause.mul_f64(fastrand::f64())).await;
    true
}

async fn begin(write: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    write
        .begin_with_options(TransactionOptions {
            // The lock is taken at once, so that what a transaction has read cannot change before it writes.
            sqlite_transaction_mode: Some(sea_orm::SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        })
        .await
}

fn pool(settings: &DbSettings, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(settings.url.clone());
    options
        .max_connections(connections)
        .acquire_timeout(settings.acquire_timeout)
        .test_before_acquire_if_idle_for(IDLE_BEFORE_PING)
        .max_lifetime(MAX_LIFETIME)
        .sqlx_logging(settings.log_sql);
    options
}

/// Opens the writer, and creates the file when it is not there.
///
/// Servers that create the same file at once are in each other's way when they make it one with a write-ahead log, for which
/// SQLite does not wait as it does for other locks.
async fn create_sqlite(settings: &DbSettings) -> Result<DatabaseConnection, DbErr> {
    let deadline = Instant::now() + settings.acquire_timeout;
    loop {
        match connect_sqlite(settings, 1, true).await {
            Err(error) if error::is_busy(&error) && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            result => return result,
        }
    }
}

async fn connect_sqlite(settings: &DbSettings, connections: u32, writes: bool) -> Result<DatabaseConnection, DbErr> {
    let mut options = pool(settings, connections);
    if writes {
        // When the disk is full, SQLite ends a transaction by itself, and SQLx, which does not know, would go on inside of
        // it for ever. A connection that comes back with a transaction open is closed. The ping waits for its rollback.
        options.map_sqlx_sqlite_pool_opts(|pool| {
            pool.after_release(|connection, _| {
                Box::pin(async move {
                    connection.ping().await?;
                    Ok(!connection.is_in_transaction())
                })
            })
        });
    }
    options.map_sqlx_sqlite_opts(move |sqlite| {
        sqlite
            .create_if_missing(writes)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(Duration::from_secs(5))
    });
    Database::connect(options).await
}

async fn connect_postgres(
    settings: &DbSettings,
    connections: u32,
    isolation: &'static str,
) -> Result<DatabaseConnection, DbErr> {
    let mut options = pool(settings, connections);
    options.statement_timeout(settings.statement_timeout).map_sqlx_postgres_opts(move |postgres| {
        postgres.application_name("hero-teams").options([("default_transaction_isolation", isolation)])
    });
    Database::connect(options).await
}
