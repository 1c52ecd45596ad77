//! How PostgreSQL is told to end what runs in a connection: over another one.

use std::time::Duration;

use sea_orm::sqlx::{self, Connection, PgConnection};
use tokio::{sync::Mutex, time::timeout};

use super::connector::{Connector, Process};

/// Cancels what runs in other connections to PostgreSQL.
#[derive(Debug, Default)]
pub struct Canceller(Mutex<Option<(usize, PgConnection)>>);

/// After this time a statement that was cancelled is cancelled again: the first time it may not yet have begun.
const CANCEL_AGAIN: Duration = Duration::from_millis(100);

impl Canceller {
    /// Cancels what runs in a connection, and waits until it has ended. When this is dropped before its end, a signal
    /// may still be on its way, so the connection must not be used again.
    pub async fn cancel(
        &self,
        connector: &Connector,
        process: Process,
        connection: &mut PgConnection,
    ) -> Result<(), sqlx::Error> {
        loop {
            // It is waited for, so that the signal has arrived before anything else is sent over the connection.
            if let Err(error) = self.signal(connector, process).await {
                tracing::debug!(%error, "a statement cannot be cancelled");
            }
            if let Ok(idle) = timeout(CANCEL_AGAIN, answered(connection)).await {
                return idle;
            }
        }
    }

    /// Cancels what runs in a connection, once.
    pub async fn signal(&self, connector: &Connector, process: Process) -> Result<(), sqlx::Error> {
        let Connector::Postgres(postgres) = connector else { return Ok(()) };
        // One connection is enough, however many statements are cancelled at once: each takes less than a millisecond.
        let mut kept = self.0.lock().await;
        let mut connection = match kept.take() {
            Some((host, connection)) if host == process.host => connection,
            _ => postgres.connect(process.host).await?,
        };
        sqlx::query("SELECT pg_cancel_backend($1)").bind(process.pid).execute(&mut connection).await?;
        *kept = Some((process.host, connection));
        Ok(())
    }
}

/// Waits until PostgreSQL has answered everything. An error on the way is that of the statement which was cancelled.
async fn answered(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    loop {
        match connection.ping().await {
            Err(sqlx::Error::Database(_)) => {}
            result => return result,
        }
    }
}
