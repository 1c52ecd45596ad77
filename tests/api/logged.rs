//! What the servers log while they are tested.
//!
//! `tracing` asks once for each place that logs whether anybody listens, and keeps the answer. A subscriber of one
//! thread misses what another thread has reached before, so there is one for all threads, and it is there before any
//! server.

use std::{
    io::{self, Write},
    sync::{Mutex, MutexGuard, Once, PoisonError},
};

use serde_json::Value;
use tokio::runtime::{Handle, Id};
use tracing_subscriber::fmt::TestWriter;

/// Each test has a runtime of its own, which tells what is logged for it from what is logged for others at the same
/// time.
static KEPT: Mutex<Vec<(Id, Vec<u8>)>> = Mutex::new(Vec::new());

/// Begins to listen, before the first server is there.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::fmt().json().with_writer(|| Sorter).finish();
        tracing::subscriber::set_global_default(subscriber).expect("there is one subscriber");
    });
}

/// Writes each line to the log of the test that it belongs to.
struct Sorter;

impl Write for Sorter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Ok(runtime) = Handle::try_current()
            && let Some((_, log)) = kept().iter_mut().find(|(id, _)| *id == runtime.id())
        {
            log.extend_from_slice(line);
        }
        // The test runner shows it when the test fails.
        TestWriter::new().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn kept() -> MutexGuard<'static, Vec<(Id, Vec<u8>)>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is logged for one test.
pub struct Log(Id);

impl Log {
    /// From now on what is logged for this test is kept.
    pub fn of_this_test() -> Self {
        listen();
        let id = Handle::current().id();
        kept().push((id, Vec::new()));
        Self(id)
    }

    /// The lines since this was asked last.
    pub fn lines(&self) -> Vec<Value> {
        let text = kept().iter_mut().find(|(id, _)| *id == self.0).map(|(_, log)| std::mem::take(log));
        let text = String::from_utf8(text.unwrap_or_default()).expect("it is text");
        text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        kept().retain(|(id, _)| *id != self.0);
    }
}
