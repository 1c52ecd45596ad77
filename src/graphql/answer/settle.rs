//! Polls a future again for as long as it wakes itself, and returns to Tokio only when it waits for the database or has
//! yielded.
//!
//! A loader yields once to let its siblings ask too, and then loads what all of them have asked for. That works only
//! when every sibling has had its turn by then. But joined futures pause now and then to be fair to other tasks, and a
//! lock that many of them wait for is handed on one poll at a time: the longer a list, the more batches it would be
//! split into. [`settle`] goes on polling through all of that. It gives way only when what is left waits for the
//! database or has yielded, which Tokio resumes after the poll has ended, so a yield means: when nobody has anything
//! left to ask.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::task::AtomicWaker;
use tokio::task;

/// Polls the future until it really waits.
pub async fn settle<F: Future>(future: F) -> F::Output {
    let settle = Settle { future: Box::pin(future), signal: Arc::default() };
    // Tokio makes a task pause after 128 operations on its locks. Polling again would not end that pause.
    task::unconstrained(settle).await
}

struct Settle<F> {
    future: Pin<Box<F>>,
    signal: Arc<Signal>,
}

#[derive(Default)]
struct Signal {
    state: AtomicU8,
    task: AtomicWaker,
}

const WAITING: u8 = 0;
const POLLING: u8 = 1;
const WOKEN: u8 = 2;

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        if self.state.swap(WOKEN, SeqCst) == WAITING {
            self.task.wake();
        }
    }
}

impl<F: Future> Future for Settle<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.signal.task.register(context.waker());
        let waker = Waker::from(Arc::clone(&self.signal));
        loop {
            // A swap, so that what was written before an earlier wake is seen by this poll.
            self.signal.state.swap(POLLING, SeqCst);
            let poll = self.future.as_mut().poll(&mut Context::from_waker(&waker));
            let waits = self.signal.state.compare_exchange(POLLING, WAITING, SeqCst, SeqCst).is_ok();
            if poll.is_ready() || waits {
                return poll;
            }
        }
    }
}
