//! A replica, as those know it who ask it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

use super::pool::Pool;

const NOT_LOOKED_AT: &str = "it has not been looked at yet";

/// A replica: a hot standby of PostgreSQL that answers queries, unless it lags.
#[derive(Debug)]
pub struct Replica {
    /// From 1, in the order of the settings.
    pub number: u32,
    pub pool: Arc<Pool>,
    /// Why it is not asked, if it is not.
    state: watch::Sender<Option<&'static str>>,
    /// All transactions before this one have ended there.
    horizon: AtomicU64,
    /// Its lag when it was looked at last, in nanoseconds; the greatest number when it is not known.
    lag: AtomicU64,
}

impl Replica {
    /// A replica that has not been looked at yet.
    pub fn new(number: u32, pool: Arc<Pool>) -> Self {
        let state = watch::Sender::new(Some(NOT_LOOKED_AT));
        Self { number, pool, state, horizon: AtomicU64::new(0), lag: AtomicU64::new(u64::MAX) }
    }

    pub fn is_up(&self) -> bool {
        self.state.borrow().is_none()
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

    /// Whether it is known to have a transaction, and all before it.
    pub fn has(&self, xid: u64) -> bool {
        xid < self.horizon.load(Relaxed)
    }

    /// Its lag when it was looked at last; none when that is not known.
    pub fn lag(&self) -> Option<Duration> {
        Some(self.lag.load(Relaxed)).filter(|lag| *lag != u64::MAX).map(Duration::from_nanos)
    }

    /// Notes that all transactions before one have ended there, and its lag.
    pub fn note(&self, horizon: u64, lag: Option<Duration>) {
        self.note_horizon(horizon);
        let lag = lag.and_then(|lag| u64::try_from(lag.as_nanos()).ok());
        self.lag.store(lag.unwrap_or(u64::MAX), Relaxed);
    }

    /// Notes that all transactions before this one have ended there.
    pub fn note_horizon(&self, horizon: u64) {
        self.horizon.fetch_max(horizon, Relaxed);
    }

    /// Forgets what it was seen to have. It may have something else when it is seen again.
    pub fn forget(&self) {
        self.horizon.store(0, Relaxed);
        self.lag.store(u64::MAX, Relaxed);
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
