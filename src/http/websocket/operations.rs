//! The operations of a WebSocket, as async-graphql-axum executes them.
//!
//! A response of the library would be a tree that is printed for each client. So it gets the number of an answer
//! instead, and the answer goes out as the bytes that all clients of a feed share.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Instant,
};

use async_graphql::{Data, Executor, Request, Response, Value};
use futures_util::{
    Stream, StreamExt as _,
    stream::{self, BoxStream},
};
use parking_lot::Mutex;

use super::protocol::Kind;
use crate::{
    access::Principal,
    graphql::{Answer, Code, Delivery, Outcome, Params, Subscription},
    http::{
        endpoint::{Endpoint, TOO_MANY},
        log::log_operation,
    },
};

/// What the operations of a socket have in common. A clone is the same.
#[derive(Clone)]
pub struct Operations(Arc<Shared>);

struct Shared {
    endpoint: Arc<Endpoint>,
    principal: Mutex<Principal>,
    /// What the operations ask for that the library has not begun.
    params: Mutex<HashMap<u64, Params>>,
    answers: Mutex<HashMap<u64, Outgoing>>,
    next: AtomicU64,
    turns: Mutex<Turns>,
    /// How many queries and mutations are executed.
    executed: AtomicUsize,
}

/// Whose turn it is to send.
#[derive(Default)]
struct Turns {
    /// Operations that have something, each once.
    waiting: VecDeque<u64>,
    /// How often something was sent.
    sent: u64,
}

/// An answer on its way to the client.
#[derive(Debug)]
pub struct Outgoing {
    pub kind: Kind,
    pub json: Json,
}

/// The bytes of an answer, its own or those of a feed.
#[derive(Debug)]
pub enum Json {
    Own(Vec<u8>),
    Shared(Arc<Delivery>),
}

impl Json {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Own(json) => json,
            Self::Shared(delivery) => &delivery.json,
        }
    }
}

impl Operations {
    /// The operations of a new socket.
    #[must_use]
    pub fn new(endpoint: Arc<Endpoint>, principal: Principal) -> Self {
        Self(Arc::new(Shared {
            endpoint,
            principal: Mutex::new(principal),
            params: Mutex::default(),
            answers: Mutex::default(),
            next: AtomicU64::new(0),
            turns: Mutex::default(),
            executed: AtomicUsize::new(0),
        }))
    }

    /// Says whom the operations that are still to come are for.
    pub fn set_principal(&self, principal: Principal) {
        *self.0.principal.lock() = principal;
    }

    /// Adds an operation, which the library is about to begin.
    pub fn add(&self, number: u64, params: Params) {
        self.0.params.lock().insert(number, params);
    }

    /// Takes an answer by its number.
    #[must_use]
    pub fn take(&self, number: u64) -> Option<Outgoing> {
        self.0.answers.lock().remove(&number)
    }

    /// Whether queries or mutations are being executed.
    #[must_use]
    pub fn are_executed(&self) -> bool {
        self.0.executed.load(SeqCst) > 0
    }

    /// A response that stands for an answer.
    fn response(&self, kind: Kind, json: Json) -> Response {
        let number = self.0.next.fetch_add(1, SeqCst);
        self.0.answers.lock().insert(number, Outgoing { kind, json });
        Response::new(Value::from(number))
    }

    fn answered(&self, answer: &Answer) -> Response {
        if matches!(answer.outcome, Outcome::Executed(_)) {
            self.response(Kind::Next, Json::Own(answer.to_json()))
        } else {
            let errors = serde_json::to_vec(&answer.errors).unwrap_or_default();
            self.response(Kind::Error, Json::Own(errors))
        }
    }

    /// Begins an operation: gives its first response, and what comes after that.
    async fn begin(&self, params: Params) -> Begun {
        let Shared { endpoint, principal, .. } = &*self.0;
        let executing = Executing::new(self);
        let principal = principal.lock().clone();
        let request = match endpoint.schema.check(params, &principal, false) {
            Ok(mut request) => {
                request.begins_trace = true;
                request
            }
            Err(answer) => return Begun::Answered(self.answered(&answer), executing),
        };
        if request.is_subscription() {
            drop(executing);
            let (time, max_time) = (endpoint.request_timeout, endpoint.events.max_subscription_time);
            return match endpoint.schema.subscribe(request, None, time, max_time, "websocket").await {
                Ok(subscription) => Begun::Subscribed(subscription),
                Err(answer) => Begun::Refused(self.answered(&answer)),
            };
        }
        let start = Instant::now();
        let answer = if let Ok(_permit) = endpoint.permits.try_acquire() {
            endpoint.schema.run(request, endpoint.deadline()).await
        } else {
            endpoint.note_refused(Some("max_requests"));
            Answer::from_error(Code::Unavailable, TOO_MANY)
        };
        log_operation(&endpoint.measured(std::slice::from_ref(&answer), &principal), start.elapsed());
        Begun::Answered(self.answered(&answer), executing)
    }

    fn responses(&self, params: Params) -> BoxStream<'static, Response> {
        let operations = self.clone();
        let step = move |step: Step| {
            let operations = operations.clone();
            async move {
                let mut subscription = match step {
                    Step::Begin(params) => match operations.begin(params).await {
                        Begun::Answered(response, executing) => return Some((response, Step::End(Some(executing)))),
                        Begun::Refused(response) => return Some((response, Step::End(None))),
                        Begun::Subscribed(subscription) => subscription,
                    },
                    Step::Subscribed(subscription) => subscription,
                    Step::End(executing) => {
                        drop(executing);
                        return None;
                    }
                };
                match subscription.next().await {
                    Ok(Some(delivery)) => {
                        let response = operations.response(Kind::Next, Json::Shared(delivery));
                        Some((response, Step::Subscribed(subscription)))
                    }
                    Ok(None) => None,
                    Err(answer) => Some((operations.answered(&answer), Step::End(None))),
                }
            }
        };
        stream::unfold(Step::Begin(params), step).boxed()
    }
}

/// Where an operation is.
enum Step {
    Begin(Params),
    Subscribed(Subscription),
    /// It has answered.
    End(Option<Executing>),
}

enum Begun {
    Answered(Response, Executing),
    Refused(Response),
    Subscribed(Subscription),
}

/// A query or a mutation that is executed, until its answer has been taken.
struct Executing(Operations);

impl Executing {
    fn new(operations: &Operations) -> Self {
        operations.0.executed.fetch_add(1, SeqCst);
        Self(operations.clone())
    }
}

impl Drop for Executing {
    fn drop(&mut self) {
        self.0.0.executed.fetch_sub(1, SeqCst);
    }
}

impl Executor for Operations {
    /// The WebSocket of the library asks for streams alone.
    async fn execute(&self, request: Request) -> Response {
        self.execute_stream(request, None).next().await.unwrap_or_default()
    }

    /// The document that the library has is the number of the operation.
    fn execute_stream(&self, request: Request, _data: Option<Arc<Data>>) -> BoxStream<'static, Response> {
        let operation = request.query.parse().ok();
        let Some((operation, params)) =
            operation.and_then(|number| Some((number, self.0.params.lock().remove(&number)?)))
        else {
            return stream::empty().boxed();
        };
        InTurn {
            operations: self.clone(),
            operation,
            responses: self.responses(params),
            next: Next::NotAsked,
            asked_after: None,
        }
        .boxed()
    }
}

/// The responses of an operation, each when it is its turn.
///
/// The library asks its streams in the order of a hash map, always from the first one, so one that always has something
/// would be the only one to be heard. Here all are asked before one sends, and it is the one that has waited longest.
struct InTurn {
    operations: Operations,
    operation: u64,
    responses: BoxStream<'static, Response>,
    next: Next,
    /// How often something had been sent when it was asked last.
    asked_after: Option<u64>,
}

/// What an operation has to send.
enum Next {
    NotAsked,
    Response(Box<Response>),
    End,
}

impl Stream for InTurn {
    type Item = Response;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Response>> {
        let this = &mut *self;
        let has_been_asked = this.asked_after == Some(this.operations.0.turns.lock().sent);
        if matches!(this.next, Next::NotAsked) {
            let Poll::Ready(next) = this.responses.poll_next_unpin(cx) else { return Poll::Pending };
            this.next = next.map_or(Next::End, |response| Next::Response(Box::new(response)));
            this.operations.0.turns.lock().waiting.push_back(this.operation);
        }
        let mut turns = this.operations.0.turns.lock();
        this.asked_after = Some(turns.sent);
        if !has_been_asked {
            // The others are asked first whether they have something as well.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if turns.waiting.front() != Some(&this.operation) {
            // The one whose turn it is is asked in the same round.
            return Poll::Pending;
        }
        turns.waiting.pop_front();
        turns.sent += 1;
        drop(turns);
        Poll::Ready(match std::mem::replace(&mut this.next, Next::NotAsked) {
            Next::Response(response) => Some(*response),
            Next::End | Next::NotAsked => None,
        })
    }
}

impl Drop for InTurn {
    fn drop(&mut self) {
        self.operations.0.turns.lock().waiting.retain(|operation| *operation != self.operation);
    }
}
