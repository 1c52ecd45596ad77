//! Writes on SQLite, one after another.
//!
//! SQLite has one writer. A thread that goes from one write straight to the next saves the handover between tasks: a
//! third of the time of a write, when many wait.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    thread,
};

use tokio::{runtime::Handle, sync::mpsc};

/// A write, which may wait on the thread that it is run on.
pub type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The writes that wait for their turn.
pub type Queue = mpsc::UnboundedSender<Job>;

/// Starts a thread that runs one job after another, until nobody is left who could send it a further one.
///
/// # Errors
///
/// When the system has no thread to give.
pub fn start() -> io::Result<Queue> {
    let (queue, mut jobs) = mpsc::unbounded_channel::<Job>();
    let runtime = Handle::current();
    thread::Builder::new().name("sqlite-writer".to_owned()).spawn(move || {
        while let Some(job) = jobs.blocking_recv() {
            // The log has a panic already, and whoever waits for the result of the job sees that there is none.
            let _ = catch_unwind(AssertUnwindSafe(|| runtime.block_on(job)));
        }
    })?;
    Ok(queue)
}
