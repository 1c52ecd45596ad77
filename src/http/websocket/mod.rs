//! GraphQL over WebSocket: one connection, from its upgrade to its end.
//!
//! Between the client and async-graphql-axum, which keeps the operations of a connection, stand the rules of the
//! protocol (`protocol.rs`), and around them what needs a clock: how long a client may take to say who it is, whether it
//! is still there, and whether its credential is still accepted.

mod operations;
mod protocol;

use std::{
    future::{pending, ready},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use async_graphql_axum::{GraphQLProtocol, GraphQLWebSocket};
use axum::{
    extract::{
        FromRequestParts as _, Request, State, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket},
    },
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{HOST, ORIGIN, SEC_WEBSOCKET_PROTOCOL, UPGRADE},
        uri::Authority,
    },
    response::Response,
};
use futures_util::{
    StreamExt as _,
    future::{BoxFuture, FutureExt as _},
    sink, stream,
};
use serde_json::{Map, Value};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use tungstenite::{Error as WsError, error::CapacityError};

use self::{
    operations::Operations,
    protocol::{Close, Protocol, Received, Sent},
};
use super::{
    credential::{authenticate, bearer_token, credential},
    endpoint::Endpoint,
    refusal::refusal,
    session::{OwnedCredential, Session},
};
use crate::{
    access::{Credential, Principal, Unauthenticated},
    graphql::{Code, Params},
    server::{Connection, OpenSocket},
    telemetry::Counted,
};

/// The only subprotocol that is spoken.
const SUBPROTOCOL: &str = "graphql-transport-ws";
/// How long a client has to answer a ping.
const PONG_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client has to close its side.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Messages that wait for the library, and messages of the library that wait to be sent.
const QUEUE: usize = 16;
/// Bytes that are read at once. A socket that waits keeps them.
const READ_BUFFER: usize = 2 * 1024;

/// Whether a request asks to go on as a WebSocket.
#[must_use]
pub fn is_wanted(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(UPGRADE).iter().filter_map(|value| value.to_str().ok());
    values.any(|value| value.split(',').any(|name| name.trim().eq_ignore_ascii_case("websocket")))
}

/// Begins a WebSocket: `GET` with `Upgrade` on HTTP/1.1, `CONNECT` on HTTP/2 (RFC 8441).
///
/// # Errors
///
/// The answer to a request that is no WebSocket's, comes from a page of a foreign site, or has a credential that is not
/// accepted.
pub async fn open(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Result<Response, Response> {
    let (mut parts, _) = request.into_parts();
    if is_foreign(&parts.headers, parts.uri.authority().map(Authority::as_str), &endpoint) {
        let message = "pages of this origin may not use the API; --cors-origin lists those that may";
        return Err(refusal(StatusCode::FORBIDDEN, Code::Forbidden, message));
    }
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await.map_err(|rejection| {
        refusal(rejection.status(), Code::BadUserInput, &format!("this is no WebSocket: {}", rejection.body_text()))
    })?;
    let credential = credential(&endpoint.access, &parts.headers)?;
    let principal = authenticate(&endpoint.access, credential, endpoint.request_timeout).await?;
    let credential = credential.map(OwnedCredential::from);
    let protocol = subprotocol(&mut parts).await;
    let client = endpoint.client_name(&parts.headers);
    let bytes = endpoint.body.bytes;
    let mut upgrade = upgrade
        .protocols([SUBPROTOCOL])
        .max_message_size(bytes)
        .max_frame_size(bytes)
        .read_buffer_size(READ_BUFFER)
        // Each message is sent as a whole.
        .write_buffer_size(0);
    let offered = upgrade.requested_protocols().next().cloned();
    if let (None, Some(offered)) = (protocol, offered) {
        // Without one that it has offered, a client would close before it is told why.
        upgrade.set_selected_protocol(offered);
    }
    let permit = Arc::clone(&endpoint.sockets).try_acquire_owned().ok();
    let open = endpoint.lifetime.socket(parts.extensions.get::<Connection>());
    let measured = endpoint.measured(&[], &principal);
    let mut response = upgrade.on_upgrade(async move |socket| {
        let has_room = permit.is_some();
        let counted = endpoint.telemetry.metrics().map(|metrics| metrics.socket("websocket"));
        let mut socket = Socket { frames: socket, endpoint, client, _permit: permit, _open: open, _counted: counted };
        if !has_room {
            socket.endpoint.note_refused(Some("max_sockets"));
        }
        let close = match protocol {
            _ if !has_room => Some(Close::new(1013, "as many WebSockets are open as may be")),
            None => Some(Close::new(4406, "Subprotocol not acceptable")),
            Some(protocol) => socket.serve(protocol, credential, principal).await,
        };
        socket.close(close).await;
    });
    response.extensions_mut().insert(measured);
    Ok(response)
}

/// Whether a request comes from a page of another site that may not use the API. Browsers do not ask first whether a
/// page may open a WebSocket.
fn is_foreign(headers: &HeaderMap, authority: Option<&str>, endpoint: &Endpoint) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let host = authority.or_else(|| headers.get(HOST)?.to_str().ok());
    let of_origin = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    let is_own = host.is_some() && host == of_origin;
    !is_own && !endpoint.origins.iter().any(|listed| listed.header() == origin)
}

/// The subprotocol that is spoken, as the library has it. None when the client does not offer it.
async fn subprotocol(parts: &mut axum::http::request::Parts) -> Option<GraphQLProtocol> {
    let offered = parts.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let is_offered = offered.flat_map(|value| value.split(',')).any(|name| name.trim() == SUBPROTOCOL);
    if !is_offered {
        return None;
    }
    // The library would take another one that it knows.
    parts.headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    GraphQLProtocol::from_request_parts(parts, &()).await.ok()
}

/// The WebSocket of a client.
struct Socket {
    frames: WebSocket,
    endpoint: Arc<Endpoint>,
    /// The name that the client gave itself when it opened the socket, where the log has it.
    client: Option<String>,
    _permit: Option<OwnedSemaphorePermit>,
    _open: OpenSocket,
    _counted: Option<Counted>,
}

/// Whom the credential of an initialisation names.
type Authenticating = BoxFuture<'static, Result<Session, Unauthenticated>>;

impl Socket {
    /// Answers the operations of a client until it has gone. Gives why the socket is to be closed, if the client has
    /// not closed it.
    async fn serve(
        &mut self,
        protocol: GraphQLProtocol,
        credential: Option<OwnedCredential>,
        principal: Principal,
    ) -> Option<Close> {
        let endpoint = Arc::clone(&self.endpoint);
        let settings = &endpoint.events;
        let operations = Operations::new(Arc::clone(&endpoint), principal);
        let (to_library, mut library_input) = mpsc::channel::<Message>(QUEUE);
        let (library_output, mut from_library) = mpsc::channel::<Message>(QUEUE);
        let input = stream::poll_fn(move |cx| library_input.poll_recv(cx)).map(Ok);
        let output =
            Box::pin(sink::unfold(library_output, async |output, message| output.send(message).await.map(|()| output)));
        let library = GraphQLWebSocket::new_with_pair(output, input, operations.clone(), protocol)
            .on_ping(|_, payload| ready(Ok(payload)));
        let mut library = pin!(library.serve());

        let mut rules = Protocol::new(settings.max_subscriptions_per_connection);
        let mut session: Option<Session> = None;
        let mut authenticating: Option<Authenticating> = None;
        let init_end = Instant::now() + settings.ws_init_timeout;
        let mut ping_at = Instant::now() + settings.ping_interval;
        let mut pong_end: Option<Instant> = None;
        let mut stopping = endpoint.lifetime.stopping();
        let mut is_stopping = false;
        loop {
            if is_stopping && !operations.are_executed() && from_library.is_empty() {
                return Some(Close::new(1001, "the server is stopping"));
            }
            tokio::select! {
                // Each frame, and the end of the initialisation, has room in the input of the library.
                frame = self.frames.recv(), if to_library.capacity() > 1 => match frame {
                    Some(Err(error)) => return close_for(&*error.into_inner(), endpoint.body.bytes),
                    Some(Ok(Message::Text(text))) => match rules.receive(&text) {
                        Received::Init(payload) => {
                            authenticating = Some(initialize(&endpoint, payload, credential.clone()));
                        }
                        // What is new when the server stops is for another one.
                        Received::Subscribe(..) if is_stopping => {}
                        Received::Subscribe(number, params, text) => {
                            operations.add(number, Params { client: self.client.clone(), ..*params });
                            let _ = to_library.try_send(Message::Text(text.into()));
                        }
                        Received::Forward(text) => drop(to_library.try_send(Message::Text(text.into()))),
                        Received::Reply(text) => self.send(Message::Text(text.into())).await?,
                        Received::Nothing => {}
                        Received::Close(close) => return Some(close),
                    },
                    Some(Ok(Message::Binary(_))) => return Some(Close::new(4400, "a message must be text")),
                    Some(Ok(Message::Pong(_))) => pong_end = None,
                    Some(Ok(Message::Ping(_))) => {}
                    Some(Ok(Message::Close(_))) | None => return None,
                },
                Some(message) = from_library.recv() => {
                    if let Some(message) = outgoing(&mut rules, &operations, message) {
                        self.send(message).await?;
                    }
                }
                // It ends when one of the channels does, and they do not.
                () = &mut library => return Some(Close::new(1011, "the server failed to do this")),
                authenticated = authentication_of(&mut authenticating) => {
                    authenticating = None;
                    match authenticated {
                        Ok(accepted) => {
                            operations.set_principal(accepted.principal.clone());
                            session = Some(accepted);
                            let _ = to_library.try_send(Message::Text(rules.initialized().into()));
                        }
                        Err(refused) => return Some(forbidden(&refused)),
                    }
                }
                refused = ended(&mut session) => return Some(forbidden(&refused)),
                () = sleep_until(init_end), if rules.is_new() => {
                    return Some(Close::new(4408, "Connection initialisation timeout"));
                }
                () = sleep_until(ping_at) => {
                    self.send(Message::Ping("".into())).await?;
                    ping_at = Instant::now() + settings.ping_interval;
                    pong_end.get_or_insert_with(|| Instant::now() + PONG_TIMEOUT);
                }
                // The client has gone, and cannot be told.
                () = until(pong_end) => return None,
                () = stop(&mut stopping), if !is_stopping => is_stopping = true,
            }
        }
    }
}

impl Socket {
    /// Sends a message. None when the client takes nothing, or has gone.
    async fn send(&mut self, message: Message) -> Option<()> {
        timeout(self.endpoint.write_timeout, self.frames.send(message)).await.ok()?.ok()
    }

    /// Tells the client why the socket is closed, if there is a reason, and waits a moment until both sides are closed.
    async fn close(mut self, close: Option<Close>) {
        if let Some(metrics) = self.endpoint.telemetry.metrics() {
            metrics.note_socket_close(close.as_ref().map(|close| close.code));
        }
        if let Some(Close { code, reason }) = close
            && self.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await.is_none()
        {
            return;
        }
        let closed = async { while let Some(Ok(_)) = self.frames.recv().await {} };
        let _ = timeout(CLOSE_TIMEOUT, closed).await;
    }
}

/// What a message of the library is for the client.
fn outgoing(rules: &mut Protocol, operations: &Operations, message: Message) -> Option<Message> {
    let Message::Text(text) = message else { return Some(message) };
    let text = match rules.send(text.to_string()) {
        Sent::Text(text) => text,
        Sent::Answer { operation, answer } => {
            let answer = operations.take(answer)?;
            rules.answer(operation, answer.kind, answer.json.bytes())?
        }
        Sent::Nothing => return None,
    };
    Some(Message::Text(text.into()))
}

/// Looks at the credential in the payload of a `connection_init`, or without one at that of the upgrade.
fn initialize(
    endpoint: &Arc<Endpoint>,
    payload: Map<String, Value>,
    of_upgrade: Option<OwnedCredential>,
) -> Authenticating {
    let endpoint = Arc::clone(endpoint);
    async move {
        let access = &endpoint.access;
        if !access.is_set() {
            return Ok(Session::new(access, None, access.authenticate(None).await?));
        }
        let credential = of_payload(&payload)?.or(of_upgrade);
        let authenticated = access.authenticate(credential.as_ref().map(OwnedCredential::as_ref));
        let authenticated = timeout(endpoint.request_timeout, authenticated).await;
        let principal = authenticated.unwrap_or(Err(Unauthenticated::Unavailable))?;
        if principal.is_anonymous && principal.scopes.is_empty() {
            return Err(Unauthenticated::Invalid(REQUIRED));
        }
        Ok(Session::new(access, credential, principal))
    }
    .boxed()
}

const REQUIRED: &str = "authentication required";

/// The credential in the payload of a `connection_init`: `Authorization`, `X-API-Key` or `apiKey`, in any case of
/// letters, in the payload itself or in its `headers`.
fn of_payload(payload: &Map<String, Value>) -> Result<Option<OwnedCredential>, Unauthenticated> {
    let headers = payload.get("headers").and_then(Value::as_object);
    let mut found = None;
    for (name, value) in payload.iter().chain(headers.into_iter().flatten()) {
        let is_bearer = name.eq_ignore_ascii_case("authorization");
        let is_key = ["x-api-key", "apikey"].iter().any(|key| name.eq_ignore_ascii_case(key));
        if value.is_null() || !(is_bearer || is_key) {
            continue;
        }
        let text = value.as_str().ok_or(Unauthenticated::Invalid("a credential must be a string"))?;
        let credential = if is_bearer { bearer_token(text)? } else { Credential::ApiKey(text.trim()) };
        if found.replace(OwnedCredential::from(credential)).is_some() {
            return Err(Unauthenticated::Invalid("there must be one credential"));
        }
    }
    Ok(found)
}

/// The end of a socket whose credential is not accepted. Clients try again after it, perhaps with a fresh token.
fn forbidden(refused: &Unauthenticated) -> Close {
    match refused {
        Unauthenticated::Invalid(REQUIRED) => Close::new(4403, REQUIRED),
        Unauthenticated::Invalid(_) | Unauthenticated::Expired => Close::new(4403, "invalid token"),
        Unauthenticated::Unavailable => Close::new(1013, "the credential cannot be verified at the moment"),
    }
}

/// The end of a socket from which nothing more can be read.
fn close_for(error: &(dyn std::error::Error + 'static), max_bytes: usize) -> Option<Close> {
    match error.downcast_ref::<WsError>()? {
        WsError::Capacity(CapacityError::MessageTooLong { .. }) => {
            Some(Close::new(1009, &format!("a message has at most {max_bytes} bytes")))
        }
        WsError::Utf8(_) => Some(Close::new(1007, "a message must be UTF-8")),
        WsError::Protocol(_) => Some(Close::new(1002, "this is not as WebSocket has it")),
        _ => None,
    }
}

/// What comes of looking at a credential; never, while none is looked at.
async fn authentication_of(authenticating: &mut Option<Authenticating>) -> Result<Session, Unauthenticated> {
    match authenticating {
        Some(authenticating) => authenticating.await,
        None => pending().await,
    }
}

/// Waits until the credential of a client is not accepted any more; for ever, while there is none.
async fn ended(session: &mut Option<Session>) -> Unauthenticated {
    match session {
        Some(session) => session.refused().await,
        None => pending().await,
    }
}

/// Waits until the server is to stop.
async fn stop(stopping: &mut watch::Receiver<bool>) {
    // Without the server it is to stop as well.
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => pending().await,
    }
}
