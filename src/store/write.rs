//! Transactions: what is written together or not at all, and whose turn it is.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr};
use tokio::{
    runtime::Handle,
    sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard},
    task::spawn_blocking,
};
use tracing::Instrument as _;

use super::{Db, StoreError, Transaction, pool::Lease, sqlite::Place};

/// Statements that are written together or not at all: what [`Db::write`] runs in a transaction.
pub trait UnitOfWork: Send + Sync + 'static {
    type Output: Send;

    /// Runs the statements, in the n-th attempt at it. The attempts before were rolled back.
    fn run(&self, txn: &Transaction, attempt: u32) -> impl Future<Output = Result<Self::Output, StoreError>> + Send;
}

/// The turn of an attempt at a transaction: side by side with others, or alone.
#[derive(Debug)]
#[expect(dead_code, reason = "the guards are held, not read")]
pub enum Precedence {
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
    /// On PostgreSQL the transaction is SERIALIZABLE. When the database gives it up for another one (SQLSTATE 40001 and
    /// 40P01), `work` runs again from the start, a bounded number of times with a growing, random pause. A transaction that
    /// keeps losing gets the writers of this server to itself: the larger it is, the likelier it loses to small ones.
    ///
    /// Once begun it runs to its end, also when the client that asked for it has gone. It ends at the deadline of the
    /// request, unless it has come to its commit.
    ///
    /// # Errors
    ///
    /// What `work` returns, [`StoreError::Conflict`] when all attempts were given up or there is no time for another one,
    /// [`StoreError::Timeout`] when the deadline comes within an attempt, or what the database says. Nothing is written
    /// then, unless a connection broke in a commit.
    pub async fn write<W: UnitOfWork>(&self, work: W) -> Result<W::Output, StoreError> {
        let db = self.clone();
        let task = if self.write.get_database_backend() == DbBackend::Sqlite {
            // The writer is waited for here, so that one thread at a time is taken up.
            let lease = self.write.lease().await?;
            let place = Place::ThisThread(self.request().deadline());
            let attempts = async move { db.written(db.attempts(&work, lease, place).await) }.in_current_span();
            let runtime = Handle::current();
            spawn_blocking(move || runtime.block_on(attempts))
        } else {
            let attempts = async move {
                let lease = db.write.lease().await?;
                db.written(db.attempts(&work, lease, Place::Thread).await)
            };
            tokio::spawn(attempts.in_current_span())
        };
        task.await?
    }

    async fn attempts<W: UnitOfWork>(&self, work: &W, mut lease: Lease, place: Place) -> Result<W::Output, StoreError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let precedence = self.precedence(attempt).await?;
            let result = self.attempt(work, attempt, lease, place).await;
            drop(precedence);
            match result {
                Err(StoreError::Conflict) if self.may_try_again(attempt).await => lease = self.write.lease().await?,
                result => return result,
            }
        }
    }

    async fn attempt<W: UnitOfWork>(
        &self,
        work: &W,
        attempt: u32,
        lease: Lease,
        place: Place,
    ) -> Result<W::Output, StoreError> {
        let txn = self.write.begin_in(lease, place).await?;
        let output = work.run(&txn, attempt).await?;
        txn.commit().await?;
        Ok(output)
    }

    /// Waits for the turn of an attempt at a transaction, which lasts as long as what this gives.
    pub(super) async fn precedence(&self, attempt: u32) -> Result<Precedence, StoreError> {
        let lock = Arc::clone(&self.shared.precedence);
        let turn = async move {
            if attempt > SHARED_ATTEMPTS {
                Precedence::Exclusive(lock.write_owned().await)
            } else {
                Precedence::Shared(lock.read_owned().await)
            }
        };
        Ok(self.request().in_time(turn).await?)
    }

    /// Whether a transaction that was given up for another one may run again, after the pause that goes with it. There must
    /// be time for it.
    pub async fn may_try_again(&self, attempt: u32) -> bool {
        if attempt >= MAX_ATTEMPTS {
            return false;
        }
        let pause = MAX_PAUSE.min(Duration::from_millis(1 << attempt.min(10)));
        self.request().in_time(tokio::time::sleep(pause.mul_f64(fastrand::f64()))).await.is_ok()
    }

    /// Remembers what a write says about whether the database can be written.
    pub(super) fn written<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        let is_writable = match &result {
            Ok(_) => true,
            // That no connection was free says nothing.
            Err(StoreError::Unavailable(cause)) if !matches!(cause, DbErr::ConnectionAcquire(_)) => false,
            Err(_) => return result,
        };
        if self.shared.is_writable.load(Ordering::Relaxed) != is_writable {
            self.shared.is_writable.store(is_writable, Ordering::Relaxed);
        }
        result
    }
}
