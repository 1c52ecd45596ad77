//! What a pool knows of its connections, and who waits for one.

use std::{collections::VecDeque, io, sync::Arc};

use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, sqlx};
use tokio::{sync::oneshot, time::Instant};

use crate::db::{
    claim::{Claim, LongStatements, TextHash},
    connection::Connection,
};

/// Which connections there are, and who waits for one.
#[derive(Debug, Default)]
pub struct State {
    /// The one that was used last comes last, and is used next: its caches are warm.
    pub idle: Vec<Connection>,
    /// Connections that are idle, in use or about to be open.
    pub open: usize,
    /// Those of them that are about to be open.
    pub opening: usize,
    /// Those of them that are in use for [`Claim::Further`].
    pub further: usize,
    /// Who waits for a connection, in the order in which they came.
    pub waiting: VecDeque<Waiter>,
    pub waiting_further: VecDeque<Waiter>,
    /// How many have waited so far.
    pub waited: u64,
    /// Connections of an earlier generation are given up.
    pub generation: u64,
    /// Why no connection can be opened, since one could be.
    pub failure: Option<DbErr>,
    /// The next connection that comes back makes room for one of the sibling's.
    pub makes_room: bool,
    /// The sibling has none, so no connection is opened before it has one.
    pub holds_back: bool,
    /// When the request must have come to its end that took a connection last.
    pub due: Option<Instant>,
    pub is_closed: bool,
}

/// What somebody who waits is given: a connection and what it counts as, or why there is none.
pub type Given = Result<(Claim, Connection), DbErr>;

/// Somebody who waits for a connection.
#[derive(Debug)]
pub struct Waiter {
    pub number: u64,
    pub statement: Option<TextHash>,
    pub due: Option<Instant>,
    pub sender: oneshot::Sender<Given>,
}

impl State {
    pub fn in_use(&self) -> usize {
        self.open - self.opening - self.idle.len()
    }

    pub fn took(&mut self, claim: Claim, due: Option<Instant>) {
        self.due = due;
        self.further += usize::from(claim == Claim::Further);
    }

    pub fn release(&mut self, claim: Claim) {
        self.further -= usize::from(claim == Claim::Further);
    }

    /// Makes a connection idle, or gives it back because it is of no use any more.
    pub fn put_back(&mut self, connection: Connection) -> Option<Connection> {
        let makes_room = std::mem::take(&mut self.makes_room) && self.open - self.opening > 1;
        if connection.generation() == self.generation && !makes_room {
            self.idle.push(connection);
            None
        } else {
            self.open -= 1;
            Some(connection)
        }
    }

    pub fn wait(
        &mut self,
        claim: Claim,
        statement: Option<TextHash>,
        due: Option<Instant>,
        sender: oneshot::Sender<Given>,
    ) {
        self.waited += 1;
        let waiter = Waiter { number: self.waited, statement, due, sender };
        match claim {
            Claim::First => self.waiting.push_back(waiter),
            Claim::Further => self.waiting_further.push_back(waiter),
        }
    }

    /// Whose turn it is.
    pub fn next(&mut self, max_further: usize, long: &LongStatements) -> Option<(Claim, Waiter)> {
        // What a statement is known for may have become known while it waited.
        let is_long = |waiter: &mut Waiter| waiter.statement.is_some_and(|statement| long.has_hash(statement));
        while let Some(waiter) = self.waiting.pop_front_if(is_long) {
            let place = self.waiting_further.partition_point(|other| other.number < waiter.number);
            self.waiting_further.insert(place, waiter);
        }
        let number = |waiter: &Waiter| waiter.number;
        let first = self.waiting.front().map_or(u64::MAX, number);
        let further = self.waiting_further.front().filter(|_| self.further < max_further).map_or(u64::MAX, number);
        if further < first {
            self.waiting_further.pop_front().map(|waiter| (Claim::Further, waiter))
        } else {
            self.waiting.pop_front().map(|waiter| (Claim::First, waiter))
        }
    }

    /// How many of those who wait may have a connection.
    pub fn wanted(&self, max_further: usize) -> usize {
        self.waiting.len() + self.waiting_further.len().min(max_further - self.further)
    }

    pub fn forget_who_has_gone(&mut self) {
        for waiting in [&mut self.waiting, &mut self.waiting_further] {
            waiting.retain(|waiter| !waiter.sender.is_closed());
        }
    }

    /// Tells all who wait that they wait in vain.
    pub fn fail(&mut self, error: &DbErr) {
        for waiter in self.waiting.drain(..).chain(self.waiting_further.drain(..)) {
            // One that has gone needs no answer.
            let _ = waiter.sender.send(Err(error.clone()));
        }
    }

    pub fn why_there_is_none(&self) -> DbErr {
        match &self.failure {
            Some(failure) => failure.clone(),
            None if self.open == self.opening => connection_error(no_answer()),
            None => DbErr::ConnectionAcquire(ConnAcquireErr::Timeout),
        }
    }
}

/// What a failed connection is to SeaORM.
pub fn connection_error(error: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error)))
}

/// A connection that was not opened, or does not answer, in time.
pub fn no_answer() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the database does not answer"))
}

/// The pool is closed.
pub fn closed() -> DbErr {
    DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed)
}
