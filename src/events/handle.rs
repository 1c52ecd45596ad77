//! The events of one database: told to other servers, deleted when they are old, and listened to.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    listener::{Interrupted, Listener},
    reader::{READ_TIMEOUT, Reader},
};
use crate::{
    config::{DatabaseUrl, EventSettings},
    db::{Channel, Db, StoreError},
    store::event::{self, Cursor},
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
        let url = match url {
            DatabaseUrl::Postgres(url) if db.keeps_sessions() => Some(url),
            _ => None,
        };
        let channel = settings.events_url.as_ref().or(url).map(Channel::new);
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
        // Each goes on while the other waits.
        tokio::join!(tell_servers(db, channel.as_ref()), purge_all(db, *retention));
    }

    /// Listens to what is committed from now on, or to what comes after the event of a cursor.
    ///
    /// # Errors
    ///
    /// When so many listen already, the event is not kept any more, or the database does not answer.
    pub async fn listen(&self, after: Option<Cursor>, time: Duration) -> Result<Listener, Interrupted> {
        let Shared { db, retention, permits, reader, .. } = &*self.0;
        let permit = Arc::clone(permits).try_acquire_owned().map_err(|_| {
            if let Some(metrics) = db.telemetry().metrics() {
                metrics.note_refused("max_subscriptions");
            }
            Interrupted::TooMany
        })?;
        let opened = timeout(time, Listener::open(reader, after, *retention, permit)).await;
        opened.unwrap_or(Err(Interrupted::Store(StoreError::Timeout)))
    }
}

async fn tell_servers(db: &Db, channel: Option<&Channel>) {
    let Some(channel) = channel else { return };
    let mut commits = db.commits();
    // The database outlives its events.
    while commits.changed().await.is_ok() {
        if !channel.notify().await {
            commits.mark_changed();
        }
        sleep(NOTIFY_INTERVAL).await;
    }
}

async fn purge_all(db: &Db, retention: Duration) {
    let mut purges = interval(PURGE_INTERVAL);
    purges.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        purges.tick().await;
        purge(db, retention).await;
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
