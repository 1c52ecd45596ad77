//! What is going on on one connection, and how long it may.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For the headers of a request.
    pub header: Duration,
    /// Until its next request.
    pub idle: Duration,
    /// To take anything of an answer.
    pub write: Duration,
}

/// How long a client that has just connected has to say something when the server is stopping.
const FIRST_WORDS: Duration = Duration::from_secs(1);

/// What the stream, the requests and the clock of one connection tell each other.
///
/// These are independent counters and flags that guard no other data, so `Relaxed` is enough.
#[derive(Debug, Default)]
pub struct Activity {
    requests: AtomicU64,
    running: AtomicUsize,
    is_http2: AtomicBool,
    is_upgraded: AtomicBool,
    /// Whether bytes have come since the last request ended.
    has_read: AtomicBool,
}

/// A request of a connection, from its head to the end of its answer.
#[derive(Debug)]
pub struct Running(Arc<Activity>);

impl Activity {
    /// Bytes have come.
    pub fn bytes_read(&self) {
        self.has_read.store(true, Relaxed);
    }

    /// The head of a request has come.
    #[must_use]
    pub fn request(self: &Arc<Self>, is_http2: bool) -> Running {
        self.requests.fetch_add(1, Relaxed);
        self.running.fetch_add(1, Relaxed);
        self.is_http2.store(is_http2, Relaxed);
        Running(Arc::clone(self))
    }

    /// Whether the last request came by HTTP/2.
    #[must_use]
    pub fn is_http2(&self) -> bool {
        self.is_http2.load(Relaxed)
    }

    /// It goes on as a WebSocket.
    pub fn upgrade(&self) {
        self.is_upgraded.store(true, Relaxed);
    }

    /// Whether it goes on as a WebSocket.
    #[must_use]
    pub fn is_upgraded(&self) -> bool {
        self.is_upgraded.load(Relaxed)
    }

    /// Whether a request has ever come.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.requests.load(Relaxed) > 0
    }

    fn phase(&self) -> Phase {
        if self.running.load(Relaxed) > 0 {
            Phase::Busy
        } else if self.has_read.load(Relaxed) && !self.is_http2.load(Relaxed) {
            Phase::Head
        } else if self.has_begun() {
            // HTTP/2 reads other things than heads. A head that stays incomplete has as long as the next request.
            Phase::Idle
        } else {
            Phase::Silent
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.has_read.store(false, Relaxed);
        self.0.running.fetch_sub(1, Relaxed);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing has come.
    Silent,
    /// A head is coming.
    Head,
    /// Requests are running. How long they may is their own affair.
    Busy,
    /// The next request is waited for.
    Idle,
}

/// Tells until when a connection may stay in its phase.
#[derive(Debug)]
pub struct Clock {
    activity: Arc<Activity>,
    timeouts: Timeouts,
    phase: Phase,
    /// The requests that there had been when the phase was first seen: it may be another of its kind by now.
    requests: u64,
    since: Instant,
    is_stopping: bool,
}

impl Clock {
    /// The clock of a connection that was accepted now.
    #[must_use]
    pub fn new(activity: Arc<Activity>, timeouts: Timeouts) -> Self {
        let since = Instant::now();
        Self { activity, timeouts, phase: Phase::Silent, requests: 0, since, is_stopping: false }
    }

    /// Whether nothing more is waited for.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    /// Waits for nothing more than the end.
    pub fn stop(&mut self) {
        self.is_stopping = true;
        // A client that has been told has time to take it in. One that has never said anything need not be told.
        if self.phase != Phase::Silent {
            self.since = Instant::now();
        }
    }

    /// The phase, and its end, if it has one.
    pub fn read(&mut self) -> (Phase, Option<Instant>) {
        let (phase, requests) = (self.activity.phase(), self.activity.requests.load(Relaxed));
        if (phase, requests) != (self.phase, self.requests) {
            // The first head has the time that was there for it since the client connected.
            if requests > 0 || phase == Phase::Busy {
                self.since = Instant::now();
            }
            (self.phase, self.requests) = (phase, requests);
        }
        let time = match phase {
            Phase::Busy => return (phase, None),
            Phase::Silent if self.is_stopping => FIRST_WORDS.min(self.timeouts.header),
            Phase::Silent | Phase::Head => self.timeouts.header,
            Phase::Idle if self.is_stopping => self.timeouts.header,
            Phase::Idle => self.timeouts.idle,
        };
        (phase, Some(self.since + time))
    }
}
