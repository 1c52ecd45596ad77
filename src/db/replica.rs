//! A replica, as those know it who ask it.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{pool::Pool, primary::Look};

const NOT_LOOKED_AT: &str = "it has not been looked at yet";
pub const IS_AHEAD: &str = "it has what the primary does not have";

/// A replica: a hot standby of PostgreSQL that answers queries, unless it lags.
#[derive(Debug)]
pub struct Replica {
    /// From 1, in the order of the settings.
    pub number: u32,
    pub pool: Arc<Pool>,
    /// Why it is not asked, if it is not.
    state: watch::Sender<Option<&'static str>>,
    seen: Mutex<Seen>,
}

/// What was seen of a replica.
#[derive(Debug, Default)]
struct Seen {
    /// All transactions before this one have ended there.
    horizon: u64,
    /// The generation of its connections by then. One that was lost may mean that the replica was started again, and is
    /// not yet where it was.
    generation: u64,
    /// Its lag; none when that is not known.
    lag: Option<Duration>,
    /// The last two looks, and when they ended.
    looks: [Option<(Instant, Look)>; 2],
    /// What it had come to when it had transactions that the primary does not have.
    ahead: Option<Look>,
    /// The process that received what is streamed at the last look.
    receiver: Option<u64>,
    /// Whether it was seen to stream from another server. Not every replica does.
    streams: bool,
    /// Whether it has to be seen so again before it is asked.
    must_stream: bool,
}

impl Replica {
    /// A replica that has not been looked at yet.
    pub fn new(number: u32, pool: Arc<Pool>) -> Self {
        let state = watch::Sender::new(Some(NOT_LOOKED_AT));
        Self { number, pool, state, seen: Mutex::default() }
    }

    pub fn is_up(&self) -> bool {
        self.state.borrow().is_none()
    }

    /// Whether it was up when it was looked at last, or has not been looked at yet.
    pub fn was_up(&self) -> bool {
        self.state.borrow().is_none_or(|reason| reason == NOT_LOOKED_AT)
    }

    /// Opens a connection for queries, and gives whether that went well in time.
    pub async fn opens(&self, time: Duration) -> bool {
        timeout(time, self.pool.open()).await.is_ok_and(|opened| opened.is_ok())
    }

    /// Waits until it is not up.
    pub async fn until_down(&self) {
        // The sender is a part of what this has.
        let _ = self.state.subscribe().wait_for(Option::is_some).await;
    }

    /// Waits until it has been looked at, for a time at the most.
    pub async fn until_looked_at(&self, time: Duration) {
        let mut state = self.state.subscribe();
        let _ = timeout(time, state.wait_for(|state| *state != Some(NOT_LOOKED_AT))).await;
    }

    /// Whether it is known to have a transaction, and all before it, in connections of this generation.
    pub fn has(&self, xid: u64, generation: u64) -> bool {
        let seen = self.seen.lock();
        xid < seen.horizon && generation == seen.generation
    }

    /// Its lag when it was looked at last; none when that is not known.
    pub fn lag(&self) -> Option<Duration> {
        self.seen.lock().lag
    }

    /// Notes a look, and its lag. The generation is that of its connections before the look.
    pub fn note(&self, look: Look, lag: Option<Duration>, generation: u64) {
        self.note_horizon(look.xmin, generation);
        let mut seen = self.seen.lock();
        seen.lag = lag;
        // One that is refused waits, tries again, and streams for no longer than that takes.
        if look.receiver.is_some() && seen.receiver == look.receiver {
            (seen.streams, seen.must_stream) = (true, false);
        }
        seen.receiver = look.receiver;
        seen.looks = [seen.looks[1], Some((Instant::now(), look))];
    }

    /// Notes that all transactions before this one have ended there.
    pub fn note_horizon(&self, horizon: u64, generation: u64) {
        let mut seen = self.seen.lock();
        seen.horizon = if generation == seen.generation { seen.horizon.max(horizon) } else { horizon };
        seen.generation = generation;
    }

    /// Compares what it had come to with a later look at another primary. One that was ahead never gets what that
    /// primary writes, so it is not asked.
    pub fn compare(&self, primary: Look, begun: Instant) {
        let ahead = {
            let mut seen = self.seen.lock();
            let mut latest_first = seen.looks.iter().rev().flatten();
            let ahead = latest_first.find(|(ended, look)| *ended < begun && look.xmax > primary.xmax);
            seen.ahead = ahead.map(|(_, look)| *look).or(seen.ahead);
            seen.ahead.is_some()
        };
        if ahead {
            self.set_state(Some(IS_AHEAD));
        }
    }

    /// Whether it has transactions that the primary does not have. One that was started again, or gets further, does
    /// not.
    pub fn is_ahead(&self, look: Look) -> bool {
        let mut seen = self.seen.lock();
        seen.ahead = seen.ahead.filter(|ahead| ahead.started == look.started && look.xmax <= ahead.xmax);
        seen.ahead.is_some()
    }

    /// Whether it may be asked, as far as it has to stream for that.
    pub fn follows(&self) -> bool {
        !self.seen.lock().must_stream
    }

    /// Notes that another server is the primary. Its transactions may have the numbers of others, so a replica that
    /// streams has to stream from it: what it has yet to replay may be what is lost.
    pub fn change_primary(&self) {
        self.forget();
        let mut seen = self.seen.lock();
        (seen.receiver, seen.must_stream) = (None, seen.streams);
    }

    /// Forgets what it was seen to have. It may have something else when it is seen again.
    pub fn forget(&self) {
        let mut seen = self.seen.lock();
        (seen.horizon, seen.lag) = (0, None);
    }

    /// Notes why it is not asked, or that it is.
    pub fn set_state(&self, state: Option<&'static str>) {
        self.state.send_if_modified(|old| {
            let has_changed = *old != state;
            match state {
                _ if !has_changed => {}
                Some(reason) => tracing::warn!(replica = self.number, reason, "a replica is not asked"),
                None => tracing::info!(replica = self.number, "a replica answers queries"),
            }
            *old = state;
            has_changed
        });
    }
}
