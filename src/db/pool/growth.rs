//! How a pool gets more connections, and what it does when it gets none.

use std::{
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use sea_orm::sqlx;
use tokio::time::{sleep, timeout};

use super::{
    handle::{Pool, close},
    state::{connection_error, no_answer},
};
use crate::db::{
    connection::Connection,
    error::{is_busy, is_without_room},
};

/// The first and the longest pause before another try to open a connection that was refused.
const MIN_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_millis(500);
/// How long a try may take.
const MAX_OPEN: Duration = Duration::from_secs(10);

impl Pool {
    /// Opens a connection. As long as it is refused and somebody waits, it is tried again after a growing pause.
    pub(super) async fn grow(self: Arc<Self>) {
        let mut pause = MIN_PAUSE;
        loop {
            let (generation, holds_back) = {
                let state = self.state.lock();
                (state.generation, state.holds_back)
            };
            if holds_back {
                sleep(MIN_PAUSE).await;
                continue;
            }
            let opened =
                timeout(self.acquire_timeout.min(MAX_OPEN), Connection::open(&self.connector, generation)).await;
            match opened.unwrap_or_else(|_| Err(no_answer())) {
                Ok(connection) => return self.opened(connection),
                Err(error) => {
                    if !self.goes_on_after(error) {
                        return;
                    }
                }
            }
            // Whoever waits has time for several.
            sleep(pause.min(self.acquire_timeout / 8)).await;
            pause = MAX_PAUSE.min(pause * 2);
        }
    }

    fn opened(self: &Arc<Self>, connection: Connection) {
        let mut state = self.state.lock();
        state.opening -= 1;
        state.failure = None;
        let outdated = state.put_back(connection);
        self.serve(&mut state);
        drop(state);
        outdated.into_iter().for_each(close);
        self.ask_for_room(false);
    }

    /// Has the sibling give up a connection, and hold back, until this pool has one.
    fn ask_for_room(&self, asks: bool) {
        if let Some(sibling) = self.sibling.get().and_then(Weak::upgrade) {
            if asks {
                sibling.make_room();
            }
            // Meanwhile another try may have opened one.
            if !asks || self.has_connections() {
                sibling.go_on();
            }
        }
    }

    /// Whether another try to open a connection is worth it.
    fn goes_on_after(self: &Arc<Self>, error: sqlx::Error) -> bool {
        let (is_transient, is_without_room) = (is_transient(&error), is_without_room(&error));
        let error = connection_error(error);
        let mut state = self.state.lock();
        // What is in use comes back, and serves those who wait.
        if !is_transient && state.in_use() == 0 {
            state.fail(&error);
        }
        state.forget_who_has_gone();
        let goes_on = state.opening <= state.wanted(self.max_further);
        if !goes_on {
            state.opening -= 1;
            state.open -= 1;
        } else if state.failure.is_none() {
            tracing::info!(%error, "a connection to the database is refused; it is tried again");
        }
        let has_none = state.open == state.opening;
        state.failure = Some(error);
        self.serve(&mut state);
        drop(state);
        if has_none {
            self.ask_for_room(goes_on && is_without_room);
        }
        goes_on
    }

    /// Gives up a connection for one of the sibling, which has none, unless it is the only one.
    fn make_room(&self) {
        let mut state = self.state.lock();
        if state.open == state.opening {
            // It has none either. If both held back, neither would ever have one again.
            return;
        }
        state.holds_back = true;
        if state.open - state.opening < 2 {
            return;
        }
        if state.idle.is_empty() {
            state.makes_room = true;
            return;
        }
        state.open -= 1;
        let coldest = state.idle.remove(0);
        drop(state);
        close(coldest);
    }

    /// The sibling has a connection.
    fn go_on(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.holds_back) {
            state.makes_room = false;
            self.serve(&mut state);
        }
    }
}

/// Whether it is worth another try to open a connection.
fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused
                // There is no socket file before PostgreSQL has started.
                | io::ErrorKind::NotFound
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::TimedOut
        ),
        // Servers that create the same SQLite file at once are in each other's way when they make it one with a
        // write-ahead log, for which SQLite does not wait as it does for other locks.
        error if is_busy(error) => true,
        sqlx::Error::Database(error) => error.is_transient_in_connect_phase(),
        _ => false,
    }
}
