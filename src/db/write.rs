//! Transactions: what is written together or not at all, and whose turn it is.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sea_orm::{ConnAcquireErr, ConnectionTrait as _, DbBackend, DbErr};
use tokio::{
    sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, oneshot},
    time::{timeout, timeout_at},
};
use tracing::Instrument as _;

use super::{Db, StoreError, Transaction, connector::Isolation, error::unanswered_commit, queue::Queue, sqlite::RunOn};
use crate::telemetry::{KeyValue, carried};

/// Statements that are written together or not at all: what [`Db::write`] runs in a transaction.
pub trait UnitOfWork: Send + Sync + 'static {
    type Output: Send;

    /// Whether the writes depend on reads. Pure inserts can neither suffer nor cause a serialization failure, so they
    /// run READ COMMITTED.
    fn reads(&self) -> bool {
        true
    }

    /// Whether the n-th attempt is one statement that depends on no read, so that it needs no BEGIN and no COMMIT on
    /// PostgreSQL.
    fn is_one_statement(&self, _attempt: u32) -> bool {
        false
    }

    /// Runs the statements, in the n-th attempt at it. The attempts before were rolled back.
    fn run(&self, txn: &Transaction, attempt: u32) -> impl Future<Output = Result<Self::Output, StoreError>> + Send;
}

/// The turn of an attempt at a transaction: side by side with others, or alone.
#[derive(Debug)]
pub enum WriterTurn {
    Shared(OwnedRwLockReadGuard<()>),
    Exclusive(OwnedRwLockWriteGuard<()>),
}

/// Attempts at one transaction side by side with others.
const SHARED_ATTEMPTS: u32 = 4;
/// Attempts at one transaction before a conflict with others is reported.
const MAX_ATTEMPTS: u32 = 24;
/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_millis(200);

impl Db {
    /// Runs `work` as one transaction: all of it, or nothing.
    ///
    /// On PostgreSQL the transaction is SERIALIZABLE, unless what it writes depends on nothing that it reads. When the
    /// database gives it up for another one (SQLSTATE 40001 and 40P01), a row to be linked does not exist (23503), or
    /// its tables are not any more what its statements were planned for (26000), `work` runs again from the start, with
    /// a growing, random pause, at most `MAX_ATTEMPTS` times in all. A transaction that keeps losing gets the writers
    /// of this server to itself: the larger it is, the likelier it loses to small ones.
    ///
    /// Once begun it runs to its end, also when the client that asked for it has gone. It ends at the deadline of the
    /// request, unless it has come to its commit, which is waited for some seconds more.
    ///
    /// # Errors
    ///
    /// What `work` returns, [`StoreError::Conflict`] when all attempts were given up or there is no time for another
    /// one, [`StoreError::Timeout`] when the deadline comes within an attempt, or what the database says. Nothing is
    /// written then, unless it is [`StoreError::Unanswered`].
    pub async fn write<W: UnitOfWork>(&self, work: W) -> Result<W::Output, StoreError> {
        if let Some(queue) = &self.shared.queue {
            return self.write_in_turn(queue, work).await;
        }
        let db = self.clone();
        let attempts = async move { db.note_writability(db.attempts(&work, RunOn::BlockingPool).await) };
        tokio::spawn(self.carried(attempts.in_current_span())).await?
    }

    /// Runs `work` when those that were here before it have come to their end.
    async fn write_in_turn<W: UnitOfWork>(&self, queue: &Queue, work: W) -> Result<W::Output, StoreError> {
        // Taken by the job when it begins, or by this when it waits no longer.
        let turn = Arc::new(AtomicBool::new(true));
        let (sender, mut result) = oneshot::channel();
        let (db, jobs_turn) = (self.clone(), Arc::clone(&turn));
        let job = async move {
            // A job whose client has gone does not begin.
            if !sender.is_closed() && jobs_turn.swap(false, Ordering::Relaxed) {
                let run_on = RunOn::CurrentThread(db.meter().deadline());
                let _ = sender.send(db.note_writability(db.attempts(&work, run_on).await));
            }
        };
        // If the thread should have gone, the job goes with its sender, which the wait for the result tells.
        let _ = queue.send(self.carried(job.in_current_span()));
        let waited = timeout(self.write.acquire_timeout(), self.meter().until_deadline(&mut result)).await;
        let result = match waited.map_err(|_| DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)).flatten() {
            Ok(result) => result,
            Err(error) if turn.swap(false, Ordering::Relaxed) => return Err(error.into()),
            // Its own deadline is the same, and its commit is waited for. A disk may hang as well.
            Err(_) => match timeout_at(self.meter().deadline_and(self.write.commit_timeout()), result).await {
                Ok(result) => result,
                Err(_) => return self.note_writability(Err(unanswered_commit("it took too long").into())),
            },
        };
        result.unwrap_or_else(|_| Err(StoreError::Database(DbErr::Custom("the write gave no result".to_owned()))))
    }

    /// The same work with the span that runs, wherever it runs.
    fn carried<T: Send>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Pin<Box<dyn Future<Output = T> + Send>> {
        if self.telemetry().tracer().is_some() { Box::pin(carried(work)) } else { Box::pin(work) }
    }

    async fn attempts<W: UnitOfWork>(&self, work: &W, run_on: RunOn) -> Result<W::Output, StoreError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let precedence = self.precedence(attempt).await?;
            let result = self.attempt(work, attempt, run_on).await;
            drop(precedence);
            match result {
                Err(StoreError::Conflict(sqlstate)) if self.may_try_again(attempt, sqlstate).await => {}
                result => return result,
            }
        }
    }

    async fn attempt<W: UnitOfWork>(&self, work: &W, attempt: u32, run_on: RunOn) -> Result<W::Output, StoreError> {
        let isolation = if work.is_one_statement(attempt) && self.has_implicit_transactions() {
            None
        } else if work.reads() {
            Some(Isolation::Serializable)
        } else {
            Some(Isolation::ReadCommitted)
        };
        let txn = self.write.begin_in(run_on, isolation).await?.told(self.has_replicas());
        let output = work.run(&txn, attempt).await?;
        txn.commit().await?;
        Ok(output)
    }

    /// Waits for the turn of an attempt at a transaction, which lasts as long as what this gives.
    ///
    /// # Errors
    ///
    /// Returns an error if the request has no time left.
    pub async fn precedence(&self, attempt: u32) -> Result<WriterTurn, StoreError> {
        let lock = Arc::clone(&self.shared.precedence);
        let is_exclusive = attempt > SHARED_ATTEMPTS;
        if let Some(metrics) = self.telemetry().metrics().filter(|_| is_exclusive) {
            metrics.exclusive.inc();
        }
        let turn = async move {
            if is_exclusive {
                WriterTurn::Exclusive(lock.write_owned().await)
            } else {
                WriterTurn::Shared(lock.read_owned().await)
            }
        };
        Ok(self.meter().until_deadline(turn).await?)
    }

    /// Whether a transaction that was given up for another one, with an SQLSTATE, may run again. On PostgreSQL that is
    /// after the pause that goes with it, for which there must be time.
    pub async fn may_try_again(&self, attempt: u32, sqlstate: &'static str) -> bool {
        let may = attempt < MAX_ATTEMPTS && self.pause_after(attempt).await;
        if let Some(metrics) = self.telemetry().metrics() {
            if may {
                metrics.note_retry(sqlstate);
            } else {
                metrics.conflicts.inc();
            }
        }
        if let Some((_, span)) = self.telemetry().recorded().filter(|_| may) {
            span.event("retry", vec![KeyValue::new("db.response.status_code", sqlstate)]);
        }
        may
    }

    async fn pause_after(&self, attempt: u32) -> bool {
        if self.write.get_database_backend() == DbBackend::Sqlite {
            // Transactions on SQLite run one after another, so no pause helps. The attempt has failed because a row to
            // be linked does not exist, and the next attempt finds out which one.
            return true;
        }
        let pause = MAX_PAUSE.min(Duration::from_millis(1 << attempt.min(10)));
        self.meter().until_deadline(tokio::time::sleep(pause.mul_f64(fastrand::f64()))).await.is_ok()
    }

    /// Remembers what a write says about whether the database can be written, and what may have been written.
    ///
    /// # Errors
    ///
    /// Returns the error that the write had.
    pub fn note_writability<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        let is_writable = match &result {
            Ok(_) => {
                self.note_commit();
                true
            }
            Err(StoreError::Unavailable(_)) => false,
            Err(StoreError::Unanswered(_)) => {
                self.note_commit();
                self.note_perhaps_written();
                false
            }
            // That no connection was free says nothing, for example.
            Err(_) => return result,
        };
        if self.shared.is_writable.load(Ordering::Relaxed) != is_writable {
            self.shared.is_writable.store(is_writable, Ordering::Relaxed);
        }
        result
    }
}
