//! The events of one database: told to other servers, deleted when they are old, and listened to.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{
    listener::{After, Interrupted, Listener},
    reader::{READ_TIMEOUT, Reader},
};
use crate::{
    config::EventSettings,
    db::{Channel, DatabaseUrl, Db},
    store::event::{self, Position},
};

/// How often other servers are told of events, at most.
const NOTIFY_INTERVAL: Duration = Duration::from_millis(10);
/// How often events are deleted that are too old.
const PURGE_INTERVAL: Duration = Duration::from_mins(1);

/// The events of one database.
#[derive(Clone, Debug)]
pub struct Events(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    db: Db,
    channel: Option<Channel>,
    retention: Duration,
    permits: Arc<Semaphore>,
    reader: Arc<Reader>,
}

impl Events {
    /// The events of a database. `url` is where to listen for other servers, unless there is a pooler.
    #[must_use]
    pub fn new(db: &Db, url: &DatabaseUrl, settings: &EventSettings) -> Self {
        let channel = settings.events_url.as_ref().or(db.keeps_sessions().then_some(url)).and_then(Channel::new);
        Self(Arc::new(Shared {
            db: db.uncounted(),
            reader: Arc::new(Reader::new(db, channel.clone(), settings.events_poll)),
            channel,
            retention: settings.event_retention,
            permits: Arc::new(Semaphore::new(settings.max_subscriptions.min(Semaphore::MAX_PERMITS))),
        }))
    }

    /// Whether events are written.
    #[must_use]
    pub fn are_written(&self) -> bool {
        self.0.db.writes_events()
    }

    /// How many listen.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.0.reader.listeners()
    }

    /// Tells other servers of what is committed here, and deletes what is too old. It never ends.
    pub async fn tell(&self) {
        let Shared { db, channel, retention, .. } = &*self.0;
        let mut commits = db.commits();
        let mut purges = interval(PURGE_INTERVAL);
        purges.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = purges.tick() => purge(db, *retention).await,
                // The database outlives its events.
                Ok(()) = commits.changed(), if channel.is_some() => {
                    if let Some(channel) = channel {
                        channel.notify().await;
                        sleep(NOTIFY_INTERVAL).await;
                    }
                }
            }
        }
    }

    /// Listens to what is committed from now on, or to what comes after the event at a position that was written at a
    /// time.
    ///
    /// # Errors
    ///
    /// When so many listen already, the event is not kept any more, or the database does not answer.
    pub async fn listen(&self, after: Option<(Position, i64)>, time: Duration) -> Result<Listener, Interrupted> {
        let Shared { db, retention, permits, reader, .. } = &*self.0;
        let permit = Arc::clone(permits).try_acquire_owned().map_err(|_| {
            if let Some(metrics) = db.telemetry().metrics() {
                metrics.note_refused("max_subscriptions");
            }
            Interrupted::TooMany
        })?;
        let after = after.map(|(position, at)| After { position, at, retention: *retention });
        Listener::open(reader, after, permit, time).await
    }
}

/// Deletes the events that are too old.
async fn purge(db: &Db, retention: Duration) {
    loop {
        match event::purge(&db.for_request(Instant::now() + READ_TIMEOUT), retention).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::debug!(?error, "old events could not be deleted");
                return;
            }
        }
    }
}
