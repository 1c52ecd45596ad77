//! The latest events, in batches.

use std::{collections::VecDeque, sync::Arc};

use crate::store::event::{Cursor, Event, Position};

/// The greatest number of events that are kept.
pub const MAX_EVENTS: u64 = 10_000;
/// The greatest number of events in a batch: what is read for all of them is in memory at once.
const MAX_BATCH: usize = 100;

/// Events that are delivered together, in their order.
#[derive(Debug)]
pub struct Batch {
    /// Whether it is one for all who listen, and not for one alone.
    pub is_shared: bool,
    pub events: Vec<Event>,
    /// The cursor of its last event.
    pub end: Cursor,
}

/// The latest events.
#[derive(Debug, Default)]
pub struct Recent {
    batches: VecDeque<Arc<Batch>>,
    /// All events after this position are here.
    start: Position,
    /// How far was read.
    end: Cursor,
    events: usize,
}

/// What comes after a position.
#[derive(Debug)]
pub enum Next {
    Batch(Arc<Batch>),
    /// It is the latest.
    Nothing,
    /// Events that are not here any more.
    Older,
}

impl Batch {
    /// Events that are for one who listens alone.
    #[must_use]
    pub fn alone(events: Vec<Event>) -> Self {
        Self { is_shared: false, end: events.last().map(Event::cursor).unwrap_or_default(), events }
    }
}

impl Recent {
    /// None yet, after a cursor.
    #[must_use]
    pub fn new(end: Cursor) -> Self {
        Self { start: end.position, end, ..Self::default() }
    }

    /// How far was read.
    #[must_use]
    pub fn end(&self) -> Cursor {
        self.end
    }

    /// Adds events, which follow on the latest one, up to a cursor.
    pub fn extend(&mut self, events: Vec<Event>, end: Cursor) {
        self.end = end;
        self.events += events.len();
        let mut events = events.into_iter().peekable();
        while events.peek().is_some() {
            let events: Vec<Event> = events.by_ref().take(MAX_BATCH).collect();
            self.batches.push_back(Arc::new(Batch { is_shared: true, ..Batch::alone(events) }));
        }
        while let Some(oldest) = self.batches.front()
            && (self.events - oldest.events.len()) as u64 >= MAX_EVENTS
        {
            self.events -= oldest.events.len();
            self.start = oldest.end.position;
            self.batches.pop_front();
        }
    }

    /// The first batch with events after a position.
    #[must_use]
    pub fn after(&self, position: Position) -> Next {
        if position < self.start {
            return Next::Older;
        }
        let index = self.batches.partition_point(|batch| batch.end.position <= position);
        self.batches.get(index).map_or(Next::Nothing, |batch| Next::Batch(Arc::clone(batch)))
    }
}
