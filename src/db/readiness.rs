//! Whether the database can be used at the moment.

use std::{sync::atomic::Ordering, time::Duration};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use tokio::time::{Instant, timeout};

use super::{Db, StoreError, Transaction};

/// How long each of the two probes may take.
const MAX_PROBE: Duration = Duration::from_secs(2);

impl Db {
    /// Asks whether the database can be read.
    ///
    /// # Errors
    ///
    /// When it does not answer within two seconds, or four when all connections are in use.
    pub async fn check_read(&self) -> Result<(), StoreError> {
        let Self { read, .. } = self.probe();
        // It reads from the file of SQLite, which a constant would not.
        let is_sqlite = read.get_database_backend() == DbBackend::Sqlite;
        let sql = if is_sqlite { "SELECT 1 FROM sqlite_schema LIMIT 1" } else { "SELECT 1" };
        let answer = read.query_one_raw(Statement::from_string(read.get_database_backend(), sql)).await;
        match answer.map_err(StoreError::from) {
            // Either all connections are in use, or the one that was free has got no answer.
            Err(StoreError::Busy(_) | StoreError::Timeout) => Ok(read.probe(MAX_PROBE).await?),
            answer => answer.map(drop),
        }
    }

    /// Asks whether the database can be written. A writer that is busy is not one that cannot write, so it is waited
    /// for no longer than two seconds, and then taken to be well, unless it was to come back by now.
    ///
    /// As long as all is well nothing is written. After a write that failed for a reason that is not its own, such as a
    /// full disk, only a write can tell that the next one will not: then one is made that changes nothing.
    ///
    /// # Errors
    ///
    /// When it cannot.
    pub async fn check_write(&self) -> Result<(), StoreError> {
        let is_writable = self.shared.is_writable.load(Ordering::Relaxed);
        let probe = self.probe();
        // Its commit has no more time.
        let checked = timeout(MAX_PROBE, probe.try_to_write(is_writable)).await.unwrap_or(Err(StoreError::Timeout));
        match self.note_writability(checked) {
            Err(StoreError::Timeout | StoreError::Busy(_)) if is_writable => {
                if self.write.is_overdue() {
                    return Err(unavailable("all that write should have come to their end by now"));
                }
                if !self.write.has_connections() {
                    return Err(unavailable("there is no connection that writes, and no room for one"));
                }
                Ok(())
            }
            result => result,
        }
    }

    /// Whether the file of SQLite may only be read. PostgreSQL is not asked.
    pub(crate) fn is_read_only(&self) -> bool {
        self.write.is_read_only()
    }

    fn probe(&self) -> Self {
        self.for_request(Instant::now() + MAX_PROBE)
    }

    async fn try_to_write(&self, is_writable: bool) -> Result<(), StoreError> {
        let _turn = self.precedence(1).await?;
        let txn = self.write.begin().await?;
        if txn.get_database_backend() == DbBackend::Postgres {
            if is_read_only(&txn).await? {
                txn.outdate().await?;
                return Err(unavailable("PostgreSQL may only be read: it is a standby, or was told so"));
            }
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
}

fn unavailable(cause: &str) -> StoreError {
    StoreError::Unavailable(DbErr::Custom(cause.to_owned()))
}

/// Whether PostgreSQL only lets itself be read: it is a standby, or was told so.
pub async fn is_read_only(db: &impl ConnectionTrait) -> Result<bool, DbErr> {
    let setting = Statement::from_string(DbBackend::Postgres, "SELECT current_setting('transaction_read_only') = 'on'");
    db.query_one_raw(setting).await?.map_or(Ok(false), |row| row.try_get_by_index(0))
}

/// Writes a number that this program has no use for, and that stays as it is.
async fn keep_user_version(txn: &Transaction) -> Result<(), StoreError> {
    let version = Statement::from_string(DbBackend::Sqlite, "PRAGMA user_version");
    let version: i64 = txn.query_one_raw(version).await?.map_or(Ok(0), |row| row.try_get_by_index(0))?;
    txn.execute_unprepared(&format!("PRAGMA user_version = {version}")).await?;
    Ok(())
}
