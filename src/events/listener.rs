//! One who listens, at their own pace.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, sleep},
};

use super::{
    reader::{BACKOFF, Reader},
    recent::{Batch, MAX_EVENTS, Next},
};
use crate::{
    db::StoreError,
    store::event::{self, Committed, Cursor},
};

/// The greatest number of events in a batch that is read for one subscription.
const MAX_BATCH: u32 = 100;
/// How long a client has to take an event, however many come meanwhile.
const SLOW_AFTER: Duration = Duration::from_secs(1);

/// Where somebody is in the events.
#[derive(Debug)]
pub struct Listener {
    reader: Arc<Reader>,
    cursor: Cursor,
    /// The history of events in which the cursor is known to be.
    history: u64,
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

impl Listener {
    /// Listens to what is committed from now on, or to what comes after the event of a cursor.
    ///
    /// # Errors
    ///
    /// When the event is not kept any more, or the database does not answer.
    pub async fn open(
        reader: &Arc<Reader>,
        after: Option<Cursor>,
        retention: Duration,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, Interrupted> {
        reader.begin();
        let mut listener = Self {
            reader: Arc::clone(reader),
            cursor: Cursor::default(),
            history: 0,
            skipped: None,
            is_live: after.is_none(),
            given: None,
            is_slow: false,
            events: reader.events(),
            _permit: permit,
        };
        let (history, committed) = reader.committed().await;
        listener.history = history;
        if let Some(cursor) = after {
            let is_kept = event::is_kept(&reader.db(), cursor, retention).await;
            if !is_kept.map_err(Interrupted::Store)? {
                return Err(Interrupted::Gone);
            }
            listener.cursor = cursor;
        } else {
            listener.cursor = committed.end;
            listener.skipped = Some(committed);
        }
        Ok(listener)
    }

    /// Whether an event is for it.
    #[must_use]
    pub fn waits_for(&self, event: Cursor) -> bool {
        event.position > self.cursor.position && !self.skipped.as_ref().is_some_and(|skipped| skipped.has(event))
    }

    /// Notes that its client is given an event.
    pub fn note_given(&mut self) {
        self.given = Some((Instant::now(), *self.events.borrow()));
    }

    /// Notes that its client has taken what it was given.
    pub fn note_taken(&mut self) {
        let Some((time, number)) = self.given.take() else { return };
        let has_been_passed = *self.events.borrow() - number > MAX_EVENTS;
        self.is_slow = has_been_passed && time.elapsed() >= SLOW_AFTER;
    }

    /// Notes that it has all events of a batch.
    pub fn note_batch(&mut self, batch: &Batch) {
        if batch.end.position > self.cursor.position {
            self.cursor = batch.end;
        }
    }

    /// The next events after its position. The batch may begin before it. It can be asked again when it was dropped.
    ///
    /// # Errors
    ///
    /// When it is too slow, or the events after its position are not kept any more.
    pub async fn next(&mut self) -> Result<Arc<Batch>, Interrupted> {
        loop {
            self.events.mark_unchanged();
            let (history, next) = self.reader.after(self.cursor.position);
            match next {
                Next::Batch(batch) if history == self.history => {
                    self.is_live = true;
                    return Ok(batch);
                }
                Next::Nothing if history == self.history => {
                    self.is_live = true;
                    if self.events.changed().await.is_err() {
                        return Err(Interrupted::Gone);
                    }
                }
                Next::Older if self.is_live && self.is_slow => return Err(Interrupted::TooSlow),
                // Those that come at once, in a large transaction or after one that held them back, are read from the
                // table at the pace of the client. So are those of another history, if the cursor is a part of it.
                _ => match event::after(&self.reader.db(), self.cursor, MAX_BATCH).await {
                    Ok(None) => return Err(Interrupted::Gone),
                    Ok(Some(events)) => {
                        self.history = history;
                        if !events.ready.is_empty() {
                            self.is_live = false;
                            return Ok(Arc::new(Batch::alone(events.ready)));
                        }
                        if events.end == self.cursor && matches!(next, Next::Older) {
                            return Err(Interrupted::Gone);
                        }
                        // All of them are of a newer version.
                        self.cursor = events.end;
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
        self.reader.end();
    }
}
