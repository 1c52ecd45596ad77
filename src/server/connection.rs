//! One connection: the requests on it, from the first to the last.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    http::{Request, Response, Version, header::CONTENT_TYPE},
    routing::future::RouteFuture,
};
use hyper::{
    body::{Frame, Incoming, SizeHint},
    rt::Executor,
};
use hyper_util::{rt::TokioIo, server::conn::auto::Builder};
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{
    activity::{Activity, Clock, Phase, Running, Timeouts},
    lifetime::Connection,
    listener::{Peer, Socket},
    stream::Stream,
    unclear_host::UnclearHost,
};

use crate::telemetry::{Counted, Telemetry};

/// Bytes of the largest DATA frame of HTTP/2.
///
/// hyper buffers a whole frame as soon as the flow-control window opens at all, which would look like progress. Small
/// frames let the deadline of the stream notice a client that has stopped reading.
const MAX_FRAME: usize = 64 * 1024;

/// How long a stream of events has from one to the next at least: more than twice as long as its heartbeat takes.
const MIN_EVENT_TIME: Duration = Duration::from_secs(30);

/// The media type of a stream of events.
const EVENT_STREAM: &[u8] = b"text/event-stream";

/// Answers the requests of a connection until it ends, or its time does, or the server is stopped and they are
/// answered.
pub async fn serve(
    socket: Socket,
    router: Router,
    protocol: Arc<Builder<Streams>>,
    timeouts: Timeouts,
    stop: CancellationToken,
    telemetry: Telemetry,
) {
    let metrics = telemetry.metrics();
    let _counted = metrics.map(|metrics| Counted::new(metrics.connections.clone()));
    let activity = Arc::new(Activity::default());
    let peer = Peer::from_socket(&socket);
    let mut clock = Clock::new(Arc::clone(&activity), timeouts);
    let stream = TokioIo::new(Stream::new(socket, timeouts.write, Arc::clone(&activity)));
    let requests = Requests { router, peer, activity: Arc::clone(&activity) };
    let mut connection = pin!(protocol.serve_connection_with_upgrades(stream, requests));
    let mut stopped = pin!(stop.cancelled());
    let mut timer = pin!(tokio::time::sleep(timeouts.header));
    let mut closes = false;

    poll_fn(|cx| {
        loop {
            // The connection comes first: what has come before the server was stopped is taken.
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                if let Err(error) = result {
                    tracing::debug!(?error, "a connection broke off");
                }
                return Poll::Ready(());
            }
            if !clock.is_stopping() && stopped.as_mut().poll(cx).is_ready() {
                clock.stop();
            }
            // A client that has just connected is still heard. Before its first request, hyper would not.
            if clock.is_stopping() && !closes && activity.has_begun() {
                closes = true;
                connection.as_mut().graceful_shutdown();
                continue;
            }
            let (phase, Some(end)) = clock.read() else { return Poll::Pending };
            if Instant::now() >= end {
                if phase == Phase::Idle && !closes {
                    // An HTTP/2 client is told that no more requests are taken.
                    clock.stop();
                    continue;
                }
                tracing::debug!(?phase, "a connection was given up");
                if let Some(metrics) = metrics.filter(|_| phase == Phase::Head) {
                    metrics.note_refused("timeout_header");
                }
                return Poll::Ready(());
            }
            // A timer that is early is left as it is, so that a busy connection costs none.
            if end < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(end);
            }
            ready!(timer.as_mut().poll(cx));
        }
    })
    .await;
}

/// The requests of one connection.
struct Requests {
    router: Router,
    peer: Option<Peer>,
    activity: Arc<Activity>,
}

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, mut request: Request<Incoming>) -> Answering {
        UnclearHost::mark(&mut request);
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        request.extensions_mut().insert(Connection(Arc::clone(&self.activity)));
        let is_http2 = request.version() == Version::HTTP_2;
        let running = self.activity.request(is_http2);
        // A router is always ready, and its clone is a pointer.
        Answering { answer: self.router.clone().call(request), running: Some(running), is_http2 }
    }
}

pin_project! {
    /// A request that is being answered.
    struct Answering {
        #[pin]
        answer: RouteFuture<Infallible>,
        running: Option<Running>,
        is_http2: bool,
    }
}

impl Future for Answering {
    type Output = Result<Response<Answer>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.answer.poll(cx))?;
        let (running, is_http2) = (this.running.take(), *this.is_http2);
        let content_type = response.headers().get(CONTENT_TYPE);
        let is_endless = content_type.is_some_and(|ty| ty.as_bytes().starts_with(EVENT_STREAM));
        Poll::Ready(Ok(response.map(|body| Answer {
            body,
            rest: Bytes::new(),
            is_http2,
            is_endless,
            _running: running,
        })))
    }
}

/// The body of an answer, whose request is running until it has been handed out.
struct Answer {
    body: Body,
    /// What has not been handed out of the last frame.
    rest: Bytes,
    is_http2: bool,
    /// Whether it is a stream of events, which has no end of its own.
    is_endless: bool,
    _running: Option<Running>,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) if self.is_http2 && frame.data_ref().is_some_and(|data| data.len() > MAX_FRAME) => {
                    self.rest = frame.into_data().unwrap_or_default();
                }
                frame => {
                    if self.is_endless {
                        Limit::extend();
                    }
                    return Poll::Ready(frame);
                }
            }
        }
        let piece = self.rest.len().min(MAX_FRAME);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // It is asked before anything is handed out, and where it is asked again it is no more than a hint.
        self.body.size_hint()
    }
}

/// Runs each request of an HTTP/2 connection in a task of its own, which has an end.
///
/// A client stops an answer by not asking for more of it, and no timeout of the socket sees that. A stream of events
/// has that time from one event to the next. What a request goes on as is a WebSocket, which has timeouts of its own.
#[derive(Clone, Copy, Debug)]
pub struct Streams {
    time: Duration,
}

impl Streams {
    /// Requests that may take this time from the head to the end of the answer.
    #[must_use]
    pub fn new(time: Duration) -> Self {
        Self { time }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        if LIMIT.try_with(|_| ()).is_ok() {
            // The task of a request asks for it.
            tokio::spawn(stream);
            return;
        }
        let limit = Limit { time: self.time, end: Arc::new(Mutex::new(Instant::now() + self.time)) };
        tokio::spawn(LIMIT.scope(limit.clone(), async move { limit.keep(stream).await }));
    }
}

tokio::task_local! {
    static LIMIT: Limit;
}

/// Until when a request of an HTTP/2 connection may take.
#[derive(Clone, Debug)]
struct Limit {
    time: Duration,
    end: Arc<Mutex<Instant>>,
}

impl Limit {
    /// Gives the request whose task this is called in as much time again.
    fn extend() {
        // On HTTP/1 there is none.
        let _ = LIMIT.try_with(|limit| *limit.end.lock() = Instant::now() + limit.time.max(MIN_EVENT_TIME));
    }

    async fn keep(&self, stream: impl Future) {
        let mut stream = pin!(stream);
        loop {
            let end = *self.end.lock();
            if timeout_at(end, &mut stream).await.is_ok() || *self.end.lock() <= end {
                return;
            }
        }
    }
}
