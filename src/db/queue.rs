//! Writes on SQLite, one after another.
//!
//! SQLite has one writer. A thread that goes from one write straight to the next spares each of them the way of the
//! writer from hand to hand: a third of the time of a write, when many wait.

use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{runtime::Handle, task::spawn_blocking};

/// A write, which may wait on the thread that it is run on.
pub type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The writes that wait for their turn.
#[derive(Default)]
pub struct Queue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// Whether a thread is at work on them.
    has_thread: bool,
}

impl Queue {
    /// Has a job run when those before it have been.
    pub fn push(self: &Arc<Self>, job: Job) {
        let mut waiting = self.waiting();
        waiting.jobs.push_back(job);
        if !waiting.has_thread {
            waiting.has_thread = true;
            let (queue, runtime) = (Arc::clone(self), Handle::current());
            spawn_blocking(move || {
                while let Some(job) = queue.next() {
                    // The log has a panic already, and whoever waits for the result of the job sees that there is none.
                    let _ = catch_unwind(AssertUnwindSafe(|| runtime.block_on(job)));
                }
            });
        }
    }

    fn next(&self) -> Option<Job> {
        let mut waiting = self.waiting();
        let job = waiting.jobs.pop_front();
        waiting.has_thread = job.is_some();
        job
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Queue").field("waiting", &self.waiting().jobs.len()).finish_non_exhaustive()
    }
}
