//! Subscriptions: the events that a client waits for, as answers to its operation.
//!
//! Subscriptions of the same document, operation, variables and scopes are one feed. For each batch of events a feed is
//! executed once, by the first subscription that comes to it, and all others take the same answers. The scopes are a
//! part of what tells one feed from another: what one client may read, another may not.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use async_graphql::{Name, ServerError, parser::types::OperationType};
use parking_lot::Mutex;
use tokio::{
    sync::OnceCell,
    time::{Instant, sleep, sleep_until},
};

use super::{
    checked_request::{CheckedRequest, Execution},
    document::type_name,
    error::{ApiError, Code, code},
    executor::{Executor, finished},
    loaders::count,
    observe::attributes,
    request::{Answer, Outcome},
    types::ArgumentPath,
    watch::{Occasion, Occurrence, Watch, decode_cursor, encode_cursor},
};
use crate::{
    events::{Batch, Events, Interrupted, Listener},
    schema::Scopes,
    store::event::Cursor,
    telemetry::{Counted, Parent, Span, SpanContext, SpanKind},
};

/// The greatest number of bytes of answers that a feed keeps for subscriptions that come to them later, and the
/// greatest number of batches.
const MAX_BYTES: usize = 1024 * 1024;
const MAX_BATCHES: usize = 64;
/// How long to wait before a batch is executed again when the database does not answer.
const BACKOFF: Duration = Duration::from_millis(500);
/// Attempts at a batch that takes too long before it is divided.
const MAX_ATTEMPTS: u32 = 2;

/// What is sent for an event.
#[derive(Debug)]
pub struct Delivery {
    event: Cursor,
    /// The cursor of the event, as clients have it.
    pub cursor: String,
    /// The answer, as JSON.
    pub json: Vec<u8>,
}

/// What is sent for the events of a batch, in their order.
type Deliveries = Arc<[Arc<Delivery>]>;

/// The subscription of a client.
#[derive(Debug)]
pub struct Subscription {
    feed: Arc<Feed>,
    listener: Listener,
    /// The batch that is being delivered, its answers, and how many of them have been.
    current: Option<(Arc<Batch>, Deliveries, usize)>,
    end: Option<Instant>,
    _counted: Option<Counted>,
}

/// The feeds that somebody has subscribed to.
#[derive(Clone, Default)]
pub struct Feeds(Arc<Mutex<HashMap<Key, Weak<Feed>>>>);

/// What tells a feed from others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    document: Arc<str>,
    operation: Option<Name>,
    variables: String,
    scopes: Scopes,
}

pub struct Feed {
    key: Key,
    feeds: Feeds,
    executor: Executor,
    request: Box<CheckedRequest>,
    watch: Watch,
    /// How long the execution for a batch may take.
    time: Duration,
    /// The span of the subscription that came first, to which those of the batches are linked.
    origin: Option<SpanContext>,
    answered: Mutex<VecDeque<Answered>>,
}

/// A batch, and what the feed answers to it.
struct Answered {
    batch: Arc<Batch>,
    answers: Arc<OnceCell<Deliveries>>,
}

impl Feeds {
    /// Begins to listen for a request, which goes on after the event that `last_event_id` is the cursor of, or that the
    /// argument `after` says. `time` is how long that may take, and later each execution.
    ///
    /// # Errors
    ///
    /// The answer to a request that is wrong, or cannot be answered at the moment.
    pub async fn open(
        &self,
        executor: &Executor,
        events: &Events,
        request: Box<CheckedRequest>,
        last_event_id: Option<&str>,
        time: Duration,
    ) -> Result<(Arc<Feed>, Listener), Answer> {
        let opened = Arc::default();
        let deadline = Instant::now() + time;
        let db = executor.db.for_request(deadline);
        let occasion = Occasion::Opening(Arc::clone(&opened));
        let responses =
            executor.responses(request.prepared.execution.clone(), &db, occasion, executor.bounds(deadline)).await;
        let opened = opened.lock().take();
        let Some((watch, after)) = opened else {
            let errors = responses.into_iter().flat_map(|response| response.errors).collect::<Vec<_>>();
            if errors.is_empty() {
                return Err(ApiError::new(Code::BadUserInput, "the subscription selects nothing").into());
            }
            // Nothing has been executed.
            let errors = finished(errors, 0, &request.document).into_iter();
            let errors = errors.map(|error| ServerError { path: Vec::new(), ..error });
            return Err(Answer::not_executed(errors.collect()));
        };
        // A client that connects again sends the cursor of the last event that it has.
        let path = ArgumentPath::argument("Last-Event-ID");
        let after = last_event_id.map(|id| decode_cursor(id, path)).transpose()?.or(after);
        let listener = events.listen(after, time).await.map_err(ApiError::from)?;
        Ok((self.feed(executor, request, watch, time), listener))
    }

    fn feed(&self, executor: &Executor, request: Box<CheckedRequest>, watch: Watch, time: Duration) -> Arc<Feed> {
        let Execution { variables, scopes, .. } = &request.prepared.execution;
        let mut variables = variables.clone();
        // Where a client goes on makes no difference to the answers.
        if let Some(after) = request.document.variable_of("after") {
            variables.remove(after);
        }
        let key = Key {
            document: request.document.text(),
            operation: request.requested.name.clone(),
            variables: serde_json::to_string(&variables).unwrap_or_default(),
            scopes: *scopes,
        };
        let mut feeds = self.0.lock();
        if let Some(feed) = feeds.get(&key).and_then(Weak::upgrade) {
            return feed;
        }
        let origin = executor.db.telemetry().tracer().and_then(|_| Span::current()?.context());
        let (executor, answered) = (executor.clone(), Mutex::default());
        let feed = Feed { key: key.clone(), feeds: self.clone(), executor, request, watch, time, origin, answered };
        let feed = Arc::new(feed);
        feeds.insert(key, Arc::downgrade(&feed));
        feed
    }
}

impl Subscription {
    /// Delivers what a feed answers to the events that are heard, until a time.
    pub fn new(feed: Arc<Feed>, listener: Listener, end: Option<Instant>, counted: Option<Counted>) -> Self {
        Self { feed, listener, current: None, end, _counted: counted }
    }

    /// The answer to the next event; none when the subscription has ended. It can be asked again when it was dropped.
    ///
    /// # Errors
    ///
    /// The answer that says why it cannot go on.
    pub async fn next(&mut self) -> Result<Option<Arc<Delivery>>, Answer> {
        let end = self.end;
        self.listener.note_taken();
        let next = async {
            loop {
                if let Some(delivery) = self.take() {
                    self.listener.note_given();
                    return Ok(Some(delivery));
                }
                let batch = self.listener.next().await.map_err(ApiError::from)?;
                let is_alone = Arc::strong_count(&self.feed) == 1;
                let answers = self.feed.answers(&batch, is_alone).await;
                self.current = Some((batch, answers, 0));
            }
        };
        match end {
            None => next.await,
            Some(end) => tokio::select! {
                next = next => next,
                () = sleep_until(end) => Ok(None),
            },
        }
    }

    /// The next answer of the batch that is being delivered.
    fn take(&mut self) -> Option<Arc<Delivery>> {
        let (batch, answers, taken) = self.current.as_mut()?;
        while let Some(delivery) = answers.get(*taken) {
            *taken += 1;
            if self.listener.waits_for(delivery.event) {
                return Some(Arc::clone(delivery));
            }
        }
        self.listener.note_batch(batch);
        self.current = None;
        None
    }
}

impl Feed {
    /// What is sent for the events of a batch. It is kept for others, unless there are none.
    async fn answers(&self, batch: &Arc<Batch>, is_alone: bool) -> Deliveries {
        if !batch.is_shared || is_alone {
            return self.execute(batch).await;
        }
        let answers = {
            let mut answered = self.answered.lock();
            if let Some(answered) = answered.iter().find(|answered| Arc::ptr_eq(&answered.batch, batch)) {
                Arc::clone(&answered.answers)
            } else {
                let answers = Arc::default();
                answered.push_back(Answered { batch: Arc::clone(batch), answers: Arc::clone(&answers) });
                answers
            }
        };
        let answers = Arc::clone(answers.get_or_init(|| self.execute(batch)).await);
        self.forget();
        answers
    }

    /// Forgets the oldest answers when there are too many.
    fn forget(&self) {
        let mut answered = self.answered.lock();
        let bytes = |answered: &Answered| {
            answered
                .answers
                .get()
                .map_or(0, |answers| answers.iter().map(|delivery| delivery.json.len()).sum::<usize>())
        };
        let mut sum: usize = answered.iter().map(bytes).sum();
        while answered.len() > MAX_BATCHES || (answered.len() > 1 && sum > MAX_BYTES) {
            let Some(oldest) = answered.pop_front() else { return };
            sum -= bytes(&oldest);
        }
    }

    /// Executes the operation for a batch, in a trace of its own, until the database answers.
    async fn execute(&self, batch: &Batch) -> Deliveries {
        let Some(tracer) = self.executor.db.telemetry().tracer() else { return self.deliveries(batch).await };
        let parent = Parent::None(self.origin.clone());
        let name = || type_name(OperationType::Subscription).into();
        let span = tracer.begin(name, SpanKind::Internal, parent, None);
        if span.is_recorded() {
            span.set_all(attributes(&self.request.requested));
        }
        let deliveries = span.scope(self.deliveries(batch)).await;
        span.set("hero_teams.events", count(deliveries.len()));
        span.end();
        deliveries
    }

    async fn deliveries(&self, batch: &Batch) -> Deliveries {
        let occurrences = loop {
            let db = self.executor.db.for_request(Instant::now() + self.time);
            match self.watch.occurrences(&db, &batch.events).await {
                Ok(occurrences) => break occurrences,
                Err(error) => {
                    tracing::debug!(?error, "the objects of events cannot be read at the moment");
                    sleep(BACKOFF).await;
                }
            }
        };
        let mut deliveries = Vec::with_capacity(occurrences.len());
        // The parts of the batch that are still to be answered, the first one last.
        let mut parts = vec![occurrences];
        let mut attempts = 0;
        while let Some(mut part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            attempts += 1;
            let answers = self.attempt(&part).await;
            let has = |wanted: Code| {
                let mut codes = answers.iter().flat_map(|answer| &answer.errors).filter_map(code);
                codes.any(|code| code == wanted.as_str())
            };
            if has(Code::Unavailable) || (has(Code::Timeout) && attempts < MAX_ATTEMPTS) {
                parts.push(part);
                sleep(BACKOFF).await;
                continue;
            }
            attempts = 0;
            let is_whole = answers.len() == part.len() && answers.iter().all(|answer| answer.errors.is_empty());
            if !is_whole && part.len() > 1 {
                // An error is that of one event, and the others have none of it.
                let rest = part.split_off(part.len() / 2);
                parts.extend([rest, part]);
                continue;
            }
            deliveries.extend(part.iter().zip(&answers).map(|(occurrence, answer)| {
                let event = &occurrence.event;
                let (event, cursor) = (event.cursor(), encode_cursor(event));
                Arc::new(Delivery { event, cursor, json: answer.to_json() })
            }));
        }
        deliveries.into()
    }

    /// One answer for each event, unless something is wrong with one of them.
    async fn attempt(&self, occurrences: &[Occurrence]) -> Vec<Answer> {
        let CheckedRequest { document, prepared, .. } = &*self.request;
        let deadline = Instant::now() + self.time;
        let db = self.executor.db.for_request(deadline);
        let occasion = Occasion::Events(occurrences.to_vec());
        let bounds = self.executor.bounds(deadline);
        let execution = prepared.execution.clone();
        let responses = self.executor.responses(execution, &db, occasion, Arc::clone(&bounds)).await;
        // Those of several events are divided when one of them has errors.
        let more = if responses.len() == 1 { bounds.more_errors() } else { 0 };
        let answer = |response: async_graphql::Response| Answer {
            outcome: Outcome::Executed(response.data),
            errors: finished(response.errors, more, document),
            ..Answer::not_executed(Vec::new())
        };
        responses.into_iter().map(answer).collect()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut feeds = self.feeds.0.lock();
        // Another one may have taken its place.
        if feeds.get(&self.key).is_some_and(|feed| feed.strong_count() == 0) {
            feeds.remove(&self.key);
        }
    }
}

impl From<Interrupted> for ApiError {
    fn from(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::Gone => Self::new(
                Code::EventsGone,
                "the events after this cursor are not kept any more; read the objects again, and subscribe without it",
            ),
            Interrupted::TooSlow => Self::new(
                Code::SlowConsumer,
                "more than 10,000 events came while the client took none; subscribe after the last cursor to go on",
            ),
            Interrupted::TooMany => {
                Self::new(Code::Unavailable, "the server has as many subscriptions as it may have; try again later")
            }
            Interrupted::Store(error) => error.into(),
        }
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Feed").field("key", &self.key).finish_non_exhaustive()
    }
}
