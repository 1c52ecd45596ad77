//! A pool: its connections, and what comes back to it.

use std::{
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use sea_orm::{DbBackend, DbErr, sqlx};
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use super::state::{State, connection_error, no_answer};
use crate::{
    db::{
        DbSettings,
        cancel::Canceller,
        claim::{Claim, LongStatements},
        connection::Connection,
        connector::{Connector, Target},
        error::is_without_room,
    },
    telemetry::{Metrics, PoolSeries},
};

/// How long a connection has to end what was left in it, before it is given up.
pub const MAX_RESET: Duration = Duration::from_secs(5);
/// How often a database is asked for a sign of life that may take its time, and how long it has to give one.
const LOOK_AFTER: Duration = Duration::from_secs(15);

/// Connections that are opened when they are first needed, up to a number.
///
/// Whoever waits takes what comes first, a connection that comes back or one that has been opened, in the order in
/// which they came. What opens connections is not in the hands of those who wait, so it goes on when they have gone.
#[derive(Debug)]
pub struct Pool {
    pub(super) connector: Connector,
    /// The greatest number of connections.
    pub(super) size: usize,
    /// Those of them that [`Claim::Further`] may have.
    pub(super) max_further: usize,
    pub(super) acquire_timeout: Duration,
    commit_timeout: Duration,
    pub(super) state: Mutex<State>,
    /// Whoever closes the pool is told that a connection has come back.
    came_back: Notify,
    pub(super) canceller: Canceller,
    pub(super) long: Arc<LongStatements>,
    name: Box<str>,
    target: Arc<Target>,
    pub(super) series: Option<PoolSeries>,
    /// The other pool with connections to the same database.
    pub(super) sibling: OnceLock<Weak<Pool>>,
}

impl Pool {
    /// A pool without a connection yet. Of all that there may be, some are `reserved` for [`Claim::First`].
    pub fn new(
        name: &str,
        connector: Connector,
        size: u32,
        reserved: u32,
        long: &Arc<LongStatements>,
        settings: &DbSettings,
    ) -> Arc<Self> {
        let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Arc::new(Self {
            target: Arc::new(connector.target()),
            connector,
            size: number(size),
            max_further: number(size.saturating_sub(reserved)),
            acquire_timeout: settings.acquire_timeout,
            commit_timeout: settings.commit_timeout,
            state: Mutex::default(),
            came_back: Notify::new(),
            canceller: Canceller::default(),
            long: Arc::clone(long),
            name: name.into(),
            series: settings.telemetry.metrics().map(|metrics| metrics.pool(name)),
            sibling: OnceLock::new(),
        })
    }

    /// Has two pools share what PostgreSQL lets them have.
    pub fn pair(one: &Arc<Self>, other: &Arc<Self>) {
        // They are paired once.
        let _ = (one.sibling.set(Arc::downgrade(other)), other.sibling.set(Arc::downgrade(one)));
    }

    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    /// The database, as those who watch know it.
    pub fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// How long a connection is waited for.
    pub fn acquire_timeout(&self) -> Duration {
        self.acquire_timeout
    }

    /// How long a commit is waited for past the deadline of its request.
    pub fn commit_timeout(&self) -> Duration {
        self.commit_timeout
    }

    /// Whether all that is in use was to come back by now.
    pub fn is_overdue(&self) -> bool {
        let state = self.state.lock();
        state.in_use() > 0 && state.due.is_some_and(|due| due < Instant::now())
    }

    /// Asks the database for a sign of life, over a connection that is no part of the pool. Where the pool has some,
    /// and there is no room for another one, that is a sign as well.
    ///
    /// # Errors
    ///
    /// When there is none in time.
    pub async fn probe(&self, time: Duration) -> Result<(), DbErr> {
        let probe = async {
            let mut connection = Connection::open(&self.connector, 0).await?;
            connection.ping().await?;
            connection.close().await
        };
        match timeout(time, probe).await.unwrap_or_else(|_| Err(no_answer())) {
            Err(error) if is_without_room(&error) && self.has_connections() => Ok(()),
            probed => probed.map_err(connection_error),
        }
    }

    /// The number of times that its connections were given up because one of them was lost.
    pub fn generation(&self) -> u64 {
        self.state.lock().generation
    }

    /// Whether connections are open.
    pub fn has_connections(&self) -> bool {
        let state = self.state.lock();
        state.open > state.opening
    }

    /// Waits until the database gives no sign of life any more.
    pub async fn until_silent(&self) -> DbErr {
        loop {
            sleep(LOOK_AFTER).await;
            if let Err(error) = self.probe(LOOK_AFTER).await {
                return error;
            }
        }
    }

    /// Brings its metrics up to date.
    pub fn tell_state(&self, metrics: &Metrics) {
        let state = self.state.lock();
        let pending = state.waiting.len() + state.waiting_further.len();
        metrics.set_pool(&self.name, state.in_use(), state.idle.len(), pending);
    }

    /// Waits for what is running, then closes all connections for good.
    ///
    /// # Errors
    ///
    /// When a connection cannot be closed.
    pub async fn close(&self) -> Result<(), DbErr> {
        let idle = loop {
            let mut came_back = std::pin::pin!(self.came_back.notified());
            came_back.as_mut().enable();
            {
                let mut state = self.state.lock();
                state.is_closed = true;
                if state.open == state.idle.len() {
                    state.open = 0;
                    break std::mem::take(&mut state.idle);
                }
            }
            came_back.await;
        };
        for connection in idle {
            match connection.close().await {
                // The other side has closed it already.
                Err(sqlx::Error::Io(_)) => {}
                closed => closed.map_err(connection_error)?,
            }
        }
        Ok(())
    }

    /// Notes that somebody has waited in vain.
    pub(super) fn timed_out(&self) -> DbErr {
        if let Some(series) = &self.series {
            series.timeouts.inc();
        }
        let mut state = self.state.lock();
        state.forget_who_has_gone();
        state.why_there_is_none()
    }

    /// Gives what is idle to those who wait, and opens connections for those who get none.
    pub(super) fn serve(self: &Arc<Self>, state: &mut State) {
        while !state.idle.is_empty()
            && let Some((claim, waiter)) = state.next(self.max_further, &self.long)
            && let Some(connection) = state.idle.pop()
        {
            match waiter.sender.send(Ok((claim, connection))) {
                Ok(()) => state.took(claim, waiter.due),
                // It does not wait any more.
                Err(unsent) => state.idle.extend(unsent.ok().map(|(_, connection)| connection)),
            }
        }
        while state.opening < state.wanted(self.max_further)
            && state.open < self.size
            && !state.holds_back
            && let Ok(runtime) = Handle::try_current()
        {
            state.open += 1;
            state.opening += 1;
            runtime.spawn(Arc::clone(self).grow());
        }
        if state.is_closed {
            self.came_back.notify_waiters();
        }
    }

    /// Puts a connection back that was in use.
    pub(super) fn put_back(self: &Arc<Self>, mut connection: Connection, claim: Claim) {
        connection.used = Instant::now();
        let mut state = self.state.lock();
        state.release(claim);
        let outdated = state.put_back(connection);
        self.serve(&mut state);
        drop(state);
        outdated.into_iter().for_each(close);
    }

    /// Takes a connection out of the pool that was in use.
    pub(super) fn remove(self: &Arc<Self>, claim: Claim) {
        let mut state = self.state.lock();
        state.release(claim);
        state.open -= 1;
        self.serve(&mut state);
    }

    /// Takes a connection out of the pool that was in use, and all that were opened before it, here and in the other
    /// pool. What has happened to one has often happened to all of them, and new ones are cheap.
    pub(super) fn outdate(self: &Arc<Self>, connection: Connection, claim: Claim) {
        let outdated = self.outdate_idle(Some(connection.generation()));
        self.remove(claim);
        let sibling = self.sibling.get().and_then(Weak::upgrade);
        // A file of SQLite is what it was.
        if let Some(sibling) = sibling.filter(|_| outdated.is_some() && self.connector.backend() == DbBackend::Postgres)
        {
            sibling.outdate_idle(None).into_iter().flatten().for_each(close);
        }
        outdated.into_iter().flatten().chain([connection]).for_each(close);
    }

    /// Takes the idle connections out of the pool, and has the others go when they come back, unless that has been done
    /// since a generation.
    fn outdate_idle(&self, since: Option<u64>) -> Option<Vec<Connection>> {
        let mut state = self.state.lock();
        if since.is_some_and(|since| since != state.generation) {
            return None;
        }
        state.generation += 1;
        let outdated = std::mem::take(&mut state.idle);
        state.open -= outdated.len();
        Some(outdated)
    }

    /// Makes a connection as it was before it was used, and puts it back. One that cannot be is given up.
    pub(super) async fn reset(self: Arc<Self>, mut connection: Connection, claim: Claim) {
        if connection.is_stuck() {
            self.remove(claim);
            return close(connection);
        }
        match timeout(MAX_RESET, connection.reset(&self.connector, &self.canceller)).await {
            Ok(Ok(())) => self.put_back(connection, claim),
            Ok(Err(error)) => {
                // The program ends, and its threads before this; or one has panicked, which the log has.
                if matches!(error, sqlx::Error::WorkerCrashed) {
                    tracing::debug!(%error, "a connection is given up");
                } else {
                    tracing::warn!(%error, "a connection is given up");
                }
                self.outdate(connection, claim);
            }
            Err(_) => {
                tracing::warn!("a statement cannot be interrupted; its connection is given up");
                self.remove(claim);
                close(connection);
            }
        }
    }
}

/// Closes a connection, and ignores errors.
pub fn close(connection: Connection) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(timeout(MAX_RESET, connection.close()));
    }
}
