//! Reads what was committed, in its order, while somebody listens.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, sleep},
};

use super::recent::{Next, Recent};
use crate::{
    db::{Channel, Db, StoreError},
    store::event::{self, Committed, Position},
};

/// The greatest number of events that are read at once.
const MAX_READ: u32 = 1_000;
/// The pause between two reads, so that a busy database is not asked for each event.
const PAUSE: Duration = Duration::from_millis(2);
/// When to look again for events that wait for an earlier transaction to end: at first, and at the longest.
const HELD: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(100)];
/// How long a read of events may take.
pub const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait when the database does not answer.
pub const BACKOFF: Duration = Duration::from_millis(500);

/// What reads the events of one database.
#[derive(Debug)]
pub struct Reader {
    db: Db,
    /// Where other servers tell of events.
    channel: Option<Channel>,
    poll: Duration,
    state: Mutex<State>,
    /// How many have asked what is committed.
    asked: AtomicU64,
    wanted: Notify,
    /// What was committed when so many had asked, or a moment later.
    committed: watch::Sender<Answer>,
    /// How many events have been read in all.
    events: watch::Sender<u64>,
}

/// What is committed, for those who have asked.
#[derive(Clone, Debug, Default)]
struct Answer {
    /// How many had asked.
    number: u64,
    /// The number of the history that it is of.
    history: u64,
    committed: Arc<Committed>,
}

/// What has come of a read.
enum Read {
    /// Events, and there are more.
    More,
    /// Some events wait for an earlier transaction to end.
    Held,
    /// All that there are.
    All,
    /// The event that was read last does not exist any more.
    Lost,
}

#[derive(Debug, Default)]
struct State {
    recent: Recent,
    /// How often the events that were read have turned out to be none of the database any more.
    history: u64,
    listeners: usize,
    /// Whether a task reads.
    is_read: bool,
}

impl Reader {
    /// One that does not read yet. It looks for events of other servers when it is told of them in the channel, and
    /// after a time.
    pub fn new(db: &Db, channel: Option<Channel>, poll: Duration) -> Self {
        Self {
            db: db.uncounted(),
            channel,
            poll,
            state: Mutex::default(),
            asked: AtomicU64::new(0),
            wanted: Notify::new(),
            committed: watch::Sender::default(),
            events: watch::Sender::default(),
        }
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        self.state.lock().listeners
    }

    /// The database, for one read.
    pub fn db(&self) -> Db {
        self.db.for_request(Instant::now() + READ_TIMEOUT)
    }

    /// How many events have been read in all, as it grows.
    pub fn events(&self) -> watch::Receiver<u64> {
        self.events.subscribe()
    }

    /// The events that are kept after a position, and the number of the history that they are of.
    pub fn after(&self, position: Position) -> (u64, Next) {
        let state = self.state.lock();
        (state.history, state.recent.after(position))
    }

    /// What is committed now, and the number of the history that it is of.
    pub async fn committed(&self) -> (u64, Arc<Committed>) {
        let number = self.asked.fetch_add(1, SeqCst) + 1;
        self.wanted.notify_one();
        let mut answers = self.committed.subscribe();
        let answer = answers.wait_for(|answer| answer.number >= number).await;
        // The sender is a part of this.
        let Answer { history, committed, .. } = answer.map(|answer| answer.clone()).unwrap_or_default();
        (history, committed)
    }

    /// Counts one who listens, and sees to it that events are read.
    pub fn begin(self: &Arc<Self>) {
        let mut state = self.state.lock();
        state.listeners += 1;
        if !state.is_read {
            state.is_read = true;
            tokio::spawn(Arc::clone(self).read_while_wanted());
        }
    }

    /// Counts one less who listens.
    pub fn end(&self) {
        self.state.lock().listeners -= 1;
        self.wanted.notify_one();
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
        let (mut is_read, mut is_continued) = (true, true);
        loop {
            if self.stops_unless_wanted() {
                return;
            }
            commits.mark_unchanged();
            let wait = match self.read_once(&mut has_begun).await {
                Ok(Read::More) => continue,
                Ok(Read::Lost) => {
                    // Once, until there is nothing more to read.
                    if std::mem::take(&mut is_continued) {
                        tracing::warn!(
                            "the database does not have the latest event any more, as after a failover to a standby \
                             that was behind; subscriptions that have had events which are lost end with EVENTS_GONE"
                        );
                    }
                    HELD[1]
                }
                Ok(Read::Held) => {
                    held_for = HELD[1].min(held_for * 2);
                    held_for
                }
                Ok(Read::All) => {
                    (is_read, is_continued) = (true, true);
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

    /// Forgets what was read if nobody listens. Gives whether that is so: then nobody reads either.
    fn stops_unless_wanted(&self) -> bool {
        let mut state = self.state.lock();
        if state.listeners == 0 {
            state.is_read = false;
            if let Some(metrics) = self.db.telemetry().metrics() {
                metrics.event_backlog.set(0);
            }
            state.recent = Recent::default();
        }
        state.listeners == 0
    }

    /// Reads what comes after the latest event.
    async fn read_once(&self, has_begun: &mut bool) -> Result<Read, StoreError> {
        let number = self.asked.load(SeqCst);
        let db = self.db();
        let is_asked = !*has_begun || number > self.committed.borrow().number;
        let committed = if is_asked { Some(event::committed(&db).await?) } else { None };
        if let Some(committed) = committed.as_ref().filter(|_| !*has_begun) {
            self.state.lock().recent = Recent::new(committed.end);
            *has_begun = true;
        }
        let last = self.state.lock().recent.end();
        let Some(events) = event::after(&db, last, MAX_READ).await? else {
            self.begin_again(&db).await?;
            return Ok(Read::Lost);
        };
        self.note_read(&events);
        let event::Events { ready, end, held, is_cut } = events;
        let count = ready.len() as u64;
        let has_more = is_cut && end != last;
        let history = {
            let mut state = self.state.lock();
            state.recent.extend(ready, end);
            state.history
        };
        // Whoever has asked goes on in the events that have just been read.
        if let Some(committed) = committed {
            self.committed.send_replace(Answer { number, history, committed: committed.into() });
        }
        if count > 0 {
            self.events.send_modify(|events| *events += count);
        }
        Ok(match held {
            _ if has_more => Read::More,
            0 => Read::All,
            _ => Read::Held,
        })
    }

    /// Begins with the latest event of the database, because the one that was read last does not exist any more.
    async fn begin_again(&self, db: &Db) -> Result<(), StoreError> {
        let committed = event::committed(db).await?;
        {
            let mut state = self.state.lock();
            state.recent = Recent::new(committed.end);
            state.history += 1;
        }
        // Those who listen look where they are.
        self.events.send_modify(|_| ());
        Ok(())
    }

    /// Tells those who watch of events that were read.
    fn note_read(&self, events: &event::Events) {
        let Some(metrics) = self.db.telemetry().metrics() else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        for event in &events.ready {
            let age = now.saturating_sub(u64::try_from(event.at).unwrap_or_default());
            metrics.note_event(&event.table, u32::try_from(age).unwrap_or(u32::MAX));
        }
        metrics.event_backlog.set(i64::try_from(events.held).unwrap_or(i64::MAX));
    }
}
