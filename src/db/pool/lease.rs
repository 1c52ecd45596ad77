//! A connection of a pool while somebody uses it, and how one is got.

use std::{sync::Arc, time::Duration};

use sea_orm::DbErr;
use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, timeout, timeout_at},
};

use super::{
    handle::{MAX_RESET, Pool, close},
    state::{Given, closed},
};
use crate::db::{
    claim::{Claim, TextHash},
    connection::Connection,
    connector::{Process, Target},
};

/// How long a connection has to say that it still stands.
const MAX_PING: Duration = Duration::from_secs(2);

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

impl Pool {
    /// Opens the first connection.
    ///
    /// # Errors
    ///
    /// When the database cannot be reached.
    pub async fn open(self: &Arc<Self>) -> Result<(), DbErr> {
        self.acquire(Claim::First, None, None).await.map(drop)
    }

    /// A connection that is free and was used a moment ago, if there is one. It is to come back when it is due.
    pub fn try_acquire(self: &Arc<Self>, claim: Claim, due: Option<Instant>) -> Option<PooledConnection> {
        let now = Instant::now();
        let mut lease = self.take(claim, due, |connection| connection.is_fresh(now))?;
        lease.connection.as_mut()?.taken = now;
        if let Some(series) = &self.series {
            series.waits.observe(0.0);
        }
        Some(lease)
    }

    /// A connection that stands, for a statement when that is known. It waits until there is one.
    ///
    /// # Errors
    ///
    /// When there is none in time, or the database cannot be reached.
    pub async fn acquire(
        self: &Arc<Self>,
        claim: Claim,
        sql: Option<&str>,
        due: Option<Instant>,
    ) -> Result<PooledConnection, DbErr> {
        let start = Instant::now();
        let deadline = start + self.acquire_timeout;
        let statement = sql.map(|sql| self.long.hash(sql));
        loop {
            let mut lease = match self.take(claim, due, |_| true) {
                Some(lease) => lease,
                None => self.wait(claim, statement, due, deadline).await?,
            };
            let connection = lease.connection()?;
            let now = Instant::now();
            if connection.is_old(now) {
                lease.discard();
                continue;
            }
            if !connection.is_fresh(now) {
                match timeout_at(deadline.min(now + MAX_PING), connection.ping()).await {
                    Ok(Ok(())) => {}
                    // It has not had the time that an answer may take, so it may be well. What has been sent is reset.
                    Err(_) if now.elapsed() < MAX_PING.min(self.acquire_timeout / 2) => return Err(self.timed_out()),
                    _ => {
                        lease.outdate();
                        continue;
                    }
                }
            }
            connection.taken = Instant::now();
            if let Some(series) = &self.series {
                series.waits.observe((connection.taken - start).as_secs_f64());
            }
            return Ok(lease);
        }
    }

    fn take(
        self: &Arc<Self>,
        claim: Claim,
        due: Option<Instant>,
        is_wanted: impl FnOnce(&Connection) -> bool,
    ) -> Option<PooledConnection> {
        let mut state = self.state.lock();
        // While a connection is idle, those who wait have `Claim::Further`, and may not have it.
        if state.is_closed || (claim == Claim::Further && state.further >= self.max_further) {
            return None;
        }
        let connection = state.idle.pop_if(|connection| is_wanted(connection))?;
        state.took(claim, due);
        Some(PooledConnection { pool: Arc::clone(self), claim, connection: Some(connection) })
    }

    async fn wait(
        self: &Arc<Self>,
        claim: Claim,
        statement: Option<TextHash>,
        due: Option<Instant>,
        deadline: Instant,
    ) -> Result<PooledConnection, DbErr> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.state.lock();
            if state.is_closed {
                return Err(closed());
            }
            state.wait(claim, statement, due, sender);
            self.serve(&mut state);
        }
        let mut waiting = Waiting { receiver, pool: Arc::clone(self) };
        let Ok(given) = timeout_at(deadline, &mut waiting.receiver).await else {
            drop(waiting);
            return Err(self.timed_out());
        };
        let (claim, connection) = given.unwrap_or_else(|_| Err(closed()))?;
        Ok(PooledConnection { pool: Arc::clone(self), claim, connection: Some(connection) })
    }
}

/// Somebody who waits for a connection. What comes when nobody waits any more goes back.
struct Waiting {
    receiver: oneshot::Receiver<Given>,
    pool: Arc<Pool>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.receiver.close();
        if let Ok(Ok((claim, connection))) = self.receiver.try_recv() {
            self.pool.put_back(connection, claim);
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
