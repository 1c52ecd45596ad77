//! Answers as Server-Sent Events (GraphQL over Server-Sent Events Protocol, distinct connections mode).
//!
//! The other mode of the protocol keeps what a client has subscribed to in one server, which the next request of the
//! client may not come to. It is left out.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    http::{HeaderName, HeaderValue, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tokio_util::sync::CancellationToken;

use super::session::Session;
use crate::{
    graphql::{Answer, Delivery, Subscription},
    telemetry::Counted,
};

/// How often something is sent at least, so that nobody on the way takes the connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(12);

/// An answer, and the end.
pub fn answered(answer: &Answer) -> Response {
    respond(stream::iter([next(&answer.to_json()), complete()]).boxed())
}

/// The events of a subscription, until it ends, the credential of its client does, or the server.
pub fn subscribed(
    subscription: Subscription,
    session: Session,
    stopping: CancellationToken,
    counted: Option<Counted>,
) -> Response {
    let events = stream::unfold(Some((subscription, session, stopping, counted)), |state| async {
        let (mut subscription, mut session, stopping, counted) = state?;
        let next = tokio::select! {
            next = subscription.next() => next,
            refused = session.ended() => Err(refused),
            () = stopping.cancelled() => Ok(None),
        };
        match next {
            Ok(Some(delivery)) => Some((event(&delivery), Some((subscription, session, stopping, counted)))),
            Ok(None) => None,
            Err(answer) => Some((self::next(&answer.to_json()), None)),
        }
    });
    respond(events.chain(stream::iter([complete()])).boxed())
}

fn event(delivery: &Arc<Delivery>) -> Event {
    next(&delivery.json).id(&delivery.cursor)
}

fn next(json: &[u8]) -> Event {
    // The answer is UTF-8, and has no end of line outside of its texts, where it is escaped.
    Event::default().event("next").data(String::from_utf8_lossy(json))
}

fn complete() -> Event {
    // A browser passes over an event without data, and would connect again. An empty text makes no line of it.
    Event::default().event("complete").data("\n")
}

fn respond(events: BoxStream<'static, Event>) -> Response {
    // Something comes at once, so that the client knows that it is heard.
    let first = stream::iter([Event::default().comment("")]);
    let stream = Sse::new(first.chain(events).map(Ok::<_, Infallible>))
        .keep_alive(KeepAlive::new().interval(HEARTBEAT).text(""));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // Proxies such as nginx hold an answer back unless they are told not to.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, stream).into_response()
}
