//! Answers as Server-Sent Events (GraphQL over Server-Sent Events Protocol, distinct connections mode).
//!
//! The other mode of the protocol keeps what a client has subscribed to in one server, which the next request of the
//! client may not come to. It is left out.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderName, HeaderValue, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{
    StreamExt as _,
    future::ready,
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

/// The last event. A browser passes over an event without a line of data, and would connect again. axum writes none for
/// an empty text.
const COMPLETE: &[u8] = b"event: complete\ndata:\n\n";

/// An answer, and the end.
pub fn answered(answer: &Answer) -> Response {
    respond(stream::iter([next(&answer.to_json())]).boxed())
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
    respond(events.boxed())
}

fn event(delivery: &Arc<Delivery>) -> Event {
    next(&delivery.json).id(&delivery.cursor)
}

fn next(json: &[u8]) -> Event {
    // The answer is UTF-8, and has no end of line outside of its texts, where it is escaped.
    Event::default().event("next").data(String::from_utf8_lossy(json))
}

/// Answers with these events, and the end.
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
    let (parts, body) = (headers, stream).into_response().into_parts();
    let end = stream::once(ready(Ok(Bytes::from_static(COMPLETE))));
    Response::from_parts(parts, Body::from_stream(body.into_data_stream().chain(end)))
}
