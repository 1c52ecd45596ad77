//! Whether the database can be used at the moment.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, RuntimeErr, Statement, sqlx};
use tokio::time::Instant;

use super::{Db, Session, StoreError, Transaction};

/// How long each of the two probes may take.
const MAX_PROBE: Duration = Duration::from_secs(2);

impl Db {
    /// Asks whether the database can be read.
    ///
    /// # Errors
    ///
    /// When it does not answer within two seconds.
    pub async fn check_read(&self) -> Result<(), StoreError> {
        let Self { read, .. } = self.probe();
        // It reads from the file of SQLite, which a constant would not.
        let is_sqlite = read.get_database_backend() == DbBackend::Sqlite;
        let sql = if is_sqlite { "SELECT 1 FROM sqlite_schema LIMIT 1" } else { "SELECT 1" };
        read.query_one_raw(Statement::from_string(read.get_database_backend(), sql)).await?;
        Ok(())
    }

    /// Asks whether the database can be written. A writer that is busy is not one that cannot write, so it is waited for no
    /// longer than two seconds, and then taken to be well.
    ///
    /// As long as all is well nothing is written. After a write that failed for a reason that is not its own, such as a full
    /// disk, only a write can tell that the next one will not: then one is made that changes nothing.
    ///
    /// # Errors
    ///
    /// When it cannot.
    pub async fn check_write(&self) -> Result<(), StoreError> {
        let is_writable = self.shared.is_writable.load(Ordering::Relaxed);
        match self.written(check_write(&self.probe().write, is_writable).await) {
            Err(StoreError::Timeout | StoreError::Unavailable(DbErr::ConnectionAcquire(_))) if is_writable => Ok(()),
            result => result,
        }
    }

    fn probe(&self) -> Self {
        self.for_request(Instant::now() + MAX_PROBE)
    }
}

async fn check_write(write: &Session, is_writable: bool) -> Result<(), StoreError> {
    let txn = write.begin().await?;
    if txn.get_database_backend() == DbBackend::Postgres {
        refuse_read_only(&txn).await?;
        if !is_writable {
            // It takes room on the disk.
            let table = "CREATE TEMPORARY TABLE probe ON COMMIT DROP AS SELECT repeat('x', 10000) AS filler";
            txn.execute_unprepared(table).await?;
        }
    } else {
        // SQLite refuses this when the file is read-only, and writes it with the commit.
        keep_user_version(&txn).await?;
    }
    if is_writable { Ok(()) } else { Ok(txn.commit().await?) }
}

/// PostgreSQL is read-only when it is a replica, and when it was told to be.
async fn refuse_read_only(txn: &Transaction) -> Result<(), StoreError> {
    let setting = Statement::from_string(DbBackend::Postgres, "SELECT current_setting('transaction_read_only') = 'on'");
    let row = txn.query_one_raw(setting).await?;
    if row.map_or(Ok(false), |row| row.try_get_by_index(0))? {
        let error = sqlx::Error::Io(std::io::ErrorKind::ReadOnlyFilesystem.into());
        return Err(StoreError::Unavailable(DbErr::Query(RuntimeErr::SqlxError(Arc::new(error)))));
    }
    Ok(())
}

/// Writes a number that this program has no use for, and that stays as it is.
async fn keep_user_version(txn: &Transaction) -> Result<(), StoreError> {
    let version = Statement::from_string(DbBackend::Sqlite, "PRAGMA user_version");
    let version: i64 = txn.query_one_raw(version).await?.map_or(Ok(0), |row| row.try_get_by_index(0))?;
    txn.execute_unprepared(&format!("PRAGMA user_version = {version}")).await?;
    Ok(())
}
