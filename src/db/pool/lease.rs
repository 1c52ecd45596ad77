//! A connection of a pool while somebody uses it.

use std::{sync::Arc, time::Duration};

use sea_orm::DbErr;
use tokio::{runtime::Handle, time::timeout};

use super::{acquire::Pool, state::closed};
use crate::db::{
    claim::Claim,
    connection::Connection,
    connector::{Process, Target},
};

/// How long a connection has to end what was left in it, before it is given up.
pub const MAX_RESET: Duration = Duration::from_secs(5);

/// A connection for one user at a time.
///
/// When it is dropped the connection goes back. A statement that still runs in it is interrupted first, and a
/// transaction that is open is rolled back. Until then the connection is in nobody's hands.
#[derive(Debug)]
pub struct PooledConnection {
    pub(super) pool: Arc<Pool>,
    pub(super) claim: Claim,
    /// It exists until it is dropped.
    pub(super) connection: Option<Connection>,
}

/// What interrupts the statement that runs in a connection to PostgreSQL.
#[derive(Debug)]
pub struct Interrupt {
    pool: Arc<Pool>,
    process: Process,
}

impl PooledConnection {
    /// The connection.
    ///
    /// # Errors
    ///
    /// Never: the connection is taken out when this is dropped.
    pub fn connection(&mut self) -> Result<&mut Connection, DbErr> {
        self.connection.as_mut().ok_or_else(closed)
    }

    /// Whether the connection is of no use any more, and the next one may be.
    pub fn is_outdated(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::is_outdated)
    }

    /// How long a commit is waited for past the deadline of its request.
    pub fn commit_timeout(&self) -> Duration {
        self.pool.commit_timeout()
    }

    /// The database, as those who watch know it.
    pub fn target(&self) -> &Arc<Target> {
        self.pool.target()
    }

    /// What interrupts a statement in the connection; none on SQLite.
    pub fn interrupt(&self) -> Option<Interrupt> {
        let process = self.connection.as_ref()?.process()?;
        Some(Interrupt { pool: Arc::clone(&self.pool), process })
    }

    /// Gives up the connection, in which something runs that has no end. The next one may take its place at once.
    pub fn abandon(mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        tracing::warn!("a commit has no answer; its connection is given up");
        self.pool.remove(self.claim);
        let pool = Arc::clone(&self.pool);
        tokio::spawn(async move {
            // What still runs there would keep one of the connections that PostgreSQL has.
            let _ = timeout(MAX_RESET, connection.cancel(&pool.connector, &pool.canceller)).await;
            close(connection);
        });
    }

    /// Gives up the connection.
    pub(super) fn discard(mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.remove(self.claim);
            close(connection);
        }
    }

    /// Gives up the connection and those like it.
    pub(super) fn outdate(mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.outdate(connection, self.claim);
        }
    }
}

impl Interrupt {
    /// How long the answer of what is interrupted is waited for.
    pub fn commit_timeout(&self) -> Duration {
        self.pool.commit_timeout()
    }

    /// Interrupts what runs. Whether it was interrupted says its answer.
    pub async fn send(&self) {
        if let Err(error) = self.pool.canceller.signal(&self.pool.connector, self.process).await {
            tracing::debug!(%error, "a statement cannot be cancelled");
        }
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if connection.is_outdated() {
            self.pool.outdate(connection, self.claim);
        } else if connection.is_reset() {
            self.pool.put_back(connection, self.claim);
        } else if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(Arc::clone(&self.pool).reset(connection, self.claim));
        }
        // Without a runtime the program ends, and the connection with it.
    }
}

/// Closes a connection, and ignores errors.
pub fn close(connection: Connection) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(timeout(MAX_RESET, connection.close()));
    }
}
