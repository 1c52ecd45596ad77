//! The events of all servers on one database, for those who listen at this one. It knows no GraphQL.
//!
//! While somebody listens, one task reads what was committed, in its order, and keeps the latest events. Those who
//! listen follow them at their own pace; who is too slow is left to the table of the events.

mod recent;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

pub use self::recent::Batch;
use self::recent::{MAX_EVENTS, Next, Recent};
use crate::{
    config::EventSettings,
    db::{Channel, DatabaseUrl, Db, StoreError},
    store::event::{self, Committed, Position},
};

/// The greatest number of events that are read at once.
const MAX_READ: u32 = 1_000;
/// The greatest number of events in a batch that is read for one subscription.
const MAX_BATCH: u32 = 100;
/// The pause between two reads, so that a busy database is not asked for each event.
const PAUSE: Duration = Duration::from_millis(2);
/// When to look again for events that wait for an earlier transaction to end: at first, and at the longest.
const HELD: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(100)];
/// How often other servers are told of events, at most.
const NOTIFY_INTERVAL: Duration = Duration::from_millis(10);
/// How often events are deleted that are too old.
const PURGE_INTERVAL: Duration = Duration::from_mins(1);
/// How long a read of events may take.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client has to take an event, however many come meanwhile.
const SLOW_AFTER: Duration = Duration::from_secs(1);
/// How long to wait when the database does not answer.
const BACKOFF: Duration = Duration::from_millis(500);

/// The events of one database.
#[derive(Clone, Debug)]
pub struct Events(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    db: Db,
    channel: Option<Channel>,
    poll: Duration,
    retention: Duration,
    permits: Arc<Semaphore>,
    state: Mutex<State>,
    /// How many have asked what is committed.
    asked: AtomicU64,
    wanted: Notify,
    /// What was committed when so many had asked, or a moment later.
    committed: watch::Sender<(u64, Arc<Committed>)>,
    /// How many events have been read in all.
    events: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    recent: Recent,
    listeners: usize,
    /// Whether a task reads.
    is_read: bool,
}

/// Where somebody is in the events.
#[derive(Debug)]
pub struct Listener {
    shared: Arc<Shared>,
    position: Position,
    /// What was committed before it began, which is not for it.
    skipped: Option<Arc<Committed>>,
    /// Whether it has come to the latest events.
    is_live: bool,
    /// When its client was given an event that it has not taken yet, and how many events had been read in all.
    given: Option<(Instant, u64)>,
    /// Whether its client took none while more events came than are kept.
    is_slow: bool,
    events: watch::Receiver<u64>,
    _permit: OwnedSemaphorePermit,
}

/// Why there is nothing more to listen to.
#[derive(Debug)]
pub enum Interrupted {
    /// The events after its position are not kept any more.
    Gone,
    /// So many events have come while its client took none.
    TooSlow,
    /// As many listen as may.
    TooMany,
    /// The database does not answer.
    Store(StoreError),
}

impl Events {
    /// The events of a database. `url` is where to listen for other servers, unless there is a pooler.
    #[must_use]
    pub fn new(db: &Db, url: &DatabaseUrl, settings: &EventSettings) -> Self {
        Self(Arc::new(Shared {
            db: db.uncounted(),
            channel: settings.events_url.as_ref().or(db.keeps_sessions().then_some(url)).and_then(Channel::new),
            poll: settings.events_poll,
            retention: settings.event_retention,
            permits: Arc::new(Semaphore::new(settings.max_subscriptions.min(Semaphore::MAX_PERMITS))),
            state: Mutex::default(),
            asked: AtomicU64::new(0),
            wanted: Notify::new(),
            committed: watch::Sender::default(),
            events: watch::Sender::default(),
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
        self.0.state().listeners
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
        let shared = Arc::clone(&self.0);
        let permit = Arc::clone(&shared.permits).try_acquire_owned().map_err(|_| {
            if let Some(metrics) = shared.db.telemetry().metrics() {
                metrics.note_refused("max_subscriptions");
            }
            Interrupted::TooMany
        })?;
        let events = shared.events.subscribe();
        Shared::begin(&shared);
        let mut listener = Listener {
            shared,
            position: Position::default(),
            skipped: None,
            is_live: after.is_none(),
            given: None,
            is_slow: false,
            events,
            _permit: permit,
        };
        let opened = timeout(time, listener.open(after)).await;
        opened.unwrap_or(Err(Interrupted::Store(StoreError::Timeout)))?;
        Ok(listener)
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

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one who listens, and sees to it that events are read.
    fn begin(shared: &Arc<Self>) {
        let mut state = shared.state();
        state.listeners += 1;
        if !state.is_read {
            state.is_read = true;
            tokio::spawn(Arc::clone(shared).read_while_wanted());
        }
    }

    /// Reads events until nobody listens.
    async fn read_while_wanted(self: Arc<Self>) {
        let heard = Arc::new(Notify::new());
        let mut tasks = JoinSet::new();
        if let Some(channel) = self.channel.clone() {
            let heard = Arc::clone(&heard);
            tasks.spawn(async move { channel.listen(heard).await });
        }
        let mut commits = self.db.commits();
        let mut has_begun = false;
        let mut held_for = HELD[0];
        let mut is_read = true;
        loop {
            if self.has_nobody() {
                return;
            }
            commits.mark_unchanged();
            let wait = match self.read_once(&mut has_begun).await {
                // There is more.
                Ok(Some(true)) => continue,
                Ok(Some(false)) => {
                    held_for = HELD[1].min(held_for * 2);
                    held_for
                }
                Ok(None) => {
                    is_read = true;
                    held_for = HELD[0];
                    self.poll
                }
                Err(error) => {
                    // Once, until they can be read again.
                    if std::mem::take(&mut is_read) {
                        tracing::warn!(%error, "events cannot be read at the moment");
                    }
                    BACKOFF
                }
            };
            sleep(PAUSE).await;
            tokio::select! {
                () = sleep(wait) => {}
                Ok(()) = commits.changed() => {}
                () = heard.notified() => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    /// Whether nobody listens. Then nobody reads either.
    fn has_nobody(&self) -> bool {
        let mut state = self.state();
        if state.listeners == 0 {
            state.is_read = false;
            if let Some(metrics) = self.db.telemetry().metrics() {
                metrics.event_backlog.set(0);
            }
            state.recent = Recent::default();
        }
        state.listeners == 0
    }

    /// Reads what comes after the latest event. Gives whether there is more, or none when nothing waits.
    async fn read_once(&self, has_begun: &mut bool) -> Result<Option<bool>, StoreError> {
        let number = self.asked.load(SeqCst);
        let db = self.db.for_request(Instant::now() + READ_TIMEOUT);
        if !*has_begun || number > self.committed.borrow().0 {
            let committed = event::committed(&db).await?;
            if !*has_begun {
                self.state().recent = Recent::new(committed.end);
                *has_begun = true;
            }
            self.committed.send_replace((number, committed.into()));
        }
        let last = self.state().recent.end();
        let events = event::after(&db, last, MAX_READ).await?;
        let is_cut = events.is_cut;
        self.tell(&events);
        let is_held = events.held > 0;
        let count = events.ready.len() as u64;
        self.state().recent.extend(events.ready);
        if count > 0 {
            self.events.send_modify(|events| *events += count);
        }
        Ok(if is_cut && count > 0 { Some(true) } else { is_held.then_some(false) })
    }
}

impl Shared {
    /// Tells those who watch of events that were read.
    fn tell(&self, events: &event::Events) {
        let Some(metrics) = self.db.telemetry().metrics() else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        for event in &events.ready {
            let age = now.saturating_sub(u64::try_from(event.at).unwrap_or_default());
            metrics.note_event(&event.table, u32::try_from(age).unwrap_or(u32::MAX));
        }
        metrics.event_backlog.set(i64::try_from(events.held).unwrap_or(i64::MAX));
    }
}

impl Listener {
    async fn open(&mut self, after: Option<(Position, i64)>) -> Result<(), Interrupted> {
        let number = self.shared.asked.fetch_add(1, SeqCst) + 1;
        self.shared.wanted.notify_one();
        let mut answers = self.shared.committed.subscribe();
        let answer = answers.wait_for(|(answered, _)| *answered >= number).await;
        // The sender is a part of what this has.
        let committed = answer.map(|answer| Arc::clone(&answer.1)).unwrap_or_default();
        match after {
            None => {
                self.position = committed.end;
                self.skipped = Some(committed);
            }
            Some((position, at)) => {
                let db = self.db();
                let is_kept = event::is_kept(&db, position, at, self.shared.retention).await;
                if !is_kept.map_err(Interrupted::Store)? {
                    return Err(Interrupted::Gone);
                }
                self.position = position;
            }
        }
        Ok(())
    }

    fn db(&self) -> Db {
        self.shared.db.for_request(Instant::now() + READ_TIMEOUT)
    }

    /// Whether an event is for it.
    #[must_use]
    pub fn waits_for(&self, position: Position) -> bool {
        position > self.position && !self.skipped.as_ref().is_some_and(|skipped| skipped.has(position))
    }

    /// Notes that its client is given an event.
    pub fn gives(&mut self) {
        self.given = Some((Instant::now(), *self.events.borrow()));
    }

    /// Notes that its client has taken what it was given.
    pub fn has_given(&mut self) {
        let Some((time, number)) = self.given.take() else { return };
        let has_been_passed = *self.events.borrow() - number > MAX_EVENTS;
        self.is_slow = has_been_passed && time.elapsed() >= SLOW_AFTER;
    }

    /// Notes that it has all events of a batch.
    pub fn has_taken(&mut self, batch: &Batch) {
        self.position = self.position.max(batch.end);
    }

    /// The next events after its position. The batch may begin before it. It can be asked again when it was dropped.
    ///
    /// # Errors
    ///
    /// When it is too slow, or the events after its position are not kept any more.
    pub async fn next(&mut self) -> Result<Arc<Batch>, Interrupted> {
        loop {
            self.events.mark_unchanged();
            let next = self.shared.state().recent.after(self.position);
            match next {
                Next::Batch(batch) => {
                    self.is_live = true;
                    return Ok(batch);
                }
                Next::Nothing => {
                    self.is_live = true;
                    if self.events.changed().await.is_err() {
                        return Err(Interrupted::Gone);
                    }
                }
                Next::Older if self.is_live && self.is_slow => return Err(Interrupted::TooSlow),
                // Those that come at once, in a large transaction or after one that held them back, are read from the
                // table at the pace of the client.
                Next::Older => match event::after(&self.db(), self.position, MAX_BATCH).await {
                    Ok(events) if events.ready.is_empty() => return Err(Interrupted::Gone),
                    Ok(events) => {
                        self.is_live = false;
                        return Ok(Arc::new(Batch::alone(events.ready)));
                    }
                    Err(error) => {
                        tracing::debug!(?error, "events cannot be read at the moment");
                        sleep(BACKOFF).await;
                    }
                },
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shared.state().listeners -= 1;
        self.shared.wanted.notify_one();
    }
}
