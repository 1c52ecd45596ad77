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
    http::{Request, Response, Version},
    routing::future::RouteFuture,
};
use hyper::{
    body::{Frame, Incoming, SizeHint},
    rt::Executor,
};
use hyper_util::{rt::TokioIo, server::conn::auto::Builder};
use pin_project_lite::pin_project;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tower::Service;

use super::{
    activity::{Activity, Clock, Phase, Running, Timeouts},
    listener::{Peer, Socket},
    stream::Stream,
    unclear_host::UnclearHost,
};

/// Bytes of the largest DATA frame of HTTP/2.
///
/// hyper buffers a whole frame as soon as the flow-control window opens at all, which would look like progress. Small
/// frames let the deadline of the stream notice a client that has stopped reading.
const MAX_FRAME: usize = 64 * 1024;

/// Answers the requests of a connection until it ends, or its time does, or the server is stopped and they are
/// answered.
pub async fn serve(
    socket: Socket,
    router: Router,
    protocol: Arc<Builder<Streams>>,
    timeouts: Timeouts,
    mut stop: watch::Receiver<bool>,
) {
    let activity = Arc::new(Activity::default());
    let peer = Peer::of(&socket);
    let mut clock = Clock::new(Arc::clone(&activity), timeouts);
    let stream = TokioIo::new(Stream::new(socket, timeouts.write, Arc::clone(&activity)));
    let requests = Requests { router, peer, activity: Arc::clone(&activity) };
    let mut connection = pin!(protocol.serve_connection(stream, requests));
    // When the server itself has gone, its tasks go as well.
    let mut stopped = pin!(async move { stop.wait_for(|stop| *stop).await.is_ok() });
    let mut timer = pin!(tokio::time::sleep(timeouts.header));
    let mut closes = false;

    poll_fn(|cx| {
        loop {
            // The connection comes first: what has come before the server was stopped is taken.
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                if let Err(error) = result {
                    tracing::debug!(error, "a connection broke off");
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
        Poll::Ready(Ok(response.map(|body| Answer { body, rest: Bytes::new(), is_http2, _running: running })))
    }
}

/// The body of an answer, whose request is running until it has been handed out.
struct Answer {
    body: Body,
    /// What has not been handed out of the last frame.
    rest: Bytes,
    is_http2: bool,
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
                frame => return Poll::Ready(frame),
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
/// A client stops an answer by not asking for more of it, and no timeout of the socket sees that.
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
        tokio::spawn(timeout(self.time, stream));
    }
}
