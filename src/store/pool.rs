//! The connections that are open, and whose turn it is to use them.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, sqlx};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{cancel::Canceller, connection::Connection, connector::Connector, error::is_busy};

/// Connections that are opened when they are first needed, up to a number.
#[derive(Debug)]
pub struct Pool {
    connector: Connector,
    /// The one that was used last comes last, and is used next: its caches are warm.
    idle: Mutex<Vec<Connection>>,
    /// As many as there may be connections. They are given out in the order in which they were asked for.
    permits: Arc<Semaphore>,
    size: u32,
    acquire_timeout: Duration,
    canceller: Canceller,
}

/// A connection for one user at a time.
///
/// When it is dropped the connection goes back. A statement that still runs in it is interrupted first, and a transaction
/// that is open is rolled back. Until then the connection is in nobody's hands.
#[derive(Debug)]
pub struct Lease {
    pool: Arc<Pool>,
    /// Both are there until it is dropped.
    connection: Option<Connection>,
    permit: Option<OwnedSemaphorePermit>,
}

/// How long a connection lives.
const MAX_LIFETIME: Duration = Duration::from_mins(30);
/// How long after its last use a connection is asked whether it still stands.
const IDLE_BEFORE_PING: Duration = Duration::from_secs(1);
/// The pause before another try to reach a database that is just starting.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a connection has to end what was left in it, before it is given up.
const MAX_SETTLE: Duration = Duration::from_secs(10);

impl Pool {
    /// Opens the first connection.
    ///
    /// # Errors
    ///
    /// When the database cannot be reached.
    pub async fn open(connector: Connector, size: u32, acquire_timeout: Duration) -> Result<Arc<Self>, DbErr> {
        let permits = Arc::new(Semaphore::new(usize::try_from(size).unwrap_or(Semaphore::MAX_PERMITS)));
        let (idle, canceller) = Default::default();
        let pool = Arc::new(Self { connector, idle, permits, size, acquire_timeout, canceller });
        drop(pool.acquire().await?);
        Ok(pool)
    }

    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    /// How long a connection is waited for.
    pub fn acquire_timeout(&self) -> Duration {
        self.acquire_timeout
    }

    /// A connection that is free and was used a moment ago, if there is one.
    pub fn try_acquire(self: &Arc<Self>) -> Option<Lease> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        let now = Instant::now();
        let mut idle = self.idle();
        let mut connection =
            idle.pop_if(|connection| now - connection.taken < IDLE_BEFORE_PING && connection.age(now) < MAX_LIFETIME)?;
        connection.taken = now;
        Some(self.lease(connection, permit))
    }

    /// A connection that stands. It waits until one is free.
    ///
    /// # Errors
    ///
    /// When none gets free in time, or the database cannot be reached.
    pub async fn acquire(self: &Arc<Self>) -> Result<Lease, DbErr> {
        let deadline = Instant::now() + self.acquire_timeout;
        let permit = timeout_at(deadline, Arc::clone(&self.permits).acquire_owned()).await;
        let permit = permit.map_err(|_| DbErr::ConnectionAcquire(ConnAcquireErr::Timeout))?;
        let permit = permit.map_err(|_| DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed))?;
        while let Some(mut connection) = self.pop() {
            let now = Instant::now();
            if connection.age(now) >= MAX_LIFETIME {
                // It goes, whether it does so in peace or not.
                let _ = timeout_at(deadline, connection.close()).await;
            } else if now - connection.taken < IDLE_BEFORE_PING
                || matches!(timeout_at(deadline, connection.ping()).await, Ok(Ok(())))
            {
                connection.taken = Instant::now();
                return Ok(self.lease(connection, permit));
            }
        }
        Ok(self.lease(self.connect(deadline).await?, permit))
    }

    /// Waits for what is running, then closes all connections for good.
    ///
    /// # Errors
    ///
    /// When a connection cannot be closed.
    pub async fn close(&self) -> Result<(), DbErr> {
        if let Ok(all) = self.permits.acquire_many(self.size).await {
            all.forget();
            self.permits.close();
        }
        while let Some(connection) = self.pop() {
            match connection.close().await {
                // The other side has closed it already.
                Err(sqlx::Error::Io(_)) => {}
                closed => closed.map_err(connection_error)?,
            }
        }
        Ok(())
    }

    fn lease(self: &Arc<Self>, connection: Connection, permit: OwnedSemaphorePermit) -> Lease {
        Lease { pool: Arc::clone(self), connection: Some(connection), permit: Some(permit) }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pop(&self) -> Option<Connection> {
        self.idle().pop()
    }

    async fn connect(&self, deadline: Instant) -> Result<Connection, DbErr> {
        loop {
            let Ok(opened) = timeout_at(deadline, Connection::open(&self.connector)).await else {
                return Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout));
            };
            match opened {
                Err(error) if is_transient(&error) && Instant::now() + PAUSE < deadline => sleep(PAUSE).await,
                opened => return opened.map_err(connection_error),
            }
        }
    }

    /// Makes a connection as it was before it was used, and puts it back. One that cannot be is given up.
    async fn settle(&self, mut connection: Connection) {
        match timeout(MAX_SETTLE, connection.settle(&self.connector, &self.canceller)).await {
            Ok(Ok(())) => self.idle().push(connection),
            Ok(Err(error)) => {
                tracing::warn!(%error, "a connection is given up");
                // What has happened to one has often happened to all of them. New ones are cheap.
                self.idle().clear();
            }
            Err(_) => tracing::warn!("a statement cannot be interrupted; its connection is given up"),
        }
    }
}

impl Lease {
    /// The connection.
    ///
    /// # Errors
    ///
    /// None while the lease is there.
    pub fn connection(&mut self) -> Result<&mut Connection, DbErr> {
        self.connection.as_mut().ok_or(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if connection.is_settled() {
            self.pool.idle().push(connection);
        } else if let Ok(runtime) = Handle::try_current() {
            let (pool, permit) = (Arc::clone(&self.pool), self.permit.take());
            runtime.spawn(async move {
                pool.settle(connection).await;
                drop(permit);
            });
        }
        // Without a runtime the program ends, and the connection with it.
    }
}

/// Whether it is worth another try to open a connection.
fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        // Servers that create the same SQLite file at once are in each other's way when they make it one with a write-ahead
        // log, for which SQLite does not wait as it does for other locks.
        error if is_busy(error) => true,
        sqlx::Error::Database(error) => error.is_transient_in_connect_phase(),
        _ => false,
    }
}

fn connection_error(error: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error)))
}
