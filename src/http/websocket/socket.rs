//! The life of a WebSocket.

use std::{
    future::{pending, ready},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use async_graphql_axum::{GraphQLProtocol, GraphQLWebSocket};
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::{StreamExt as _, sink, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, sleep_until, timeout},
};
use tungstenite::{
    Error as WsError,
    error::{CapacityError, ProtocolError},
};

use super::{
    initialization::{Authenticating, forbidden, initialize},
    operations::Operations,
    protocol::{Close, Protocol, Received, Sent},
};
use crate::{
    access::Principal,
    graphql::Params,
    http::{
        endpoint::Endpoint,
        session::{OwnedCredential, Session},
    },
    server::OpenSocket,
    telemetry::Counted,
};

/// How long a client has to answer a ping.
const PONG_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client has to close its side.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Messages that wait for the library, and messages of the library that wait to be sent.
const QUEUE: usize = 16;

/// How a client ends a socket.
#[derive(Clone, Copy, Debug)]
enum Gone {
    /// It has closed it.
    Closed,
    /// It takes nothing and says nothing, or its connection has ended.
    Lost,
}

/// The WebSocket of a client.
pub struct Socket {
    frames: WebSocket,
    endpoint: Arc<Endpoint>,
    /// The name that the client gave itself when it opened the socket, where the log has it.
    client: Option<String>,
    permit: Option<OwnedSemaphorePermit>,
    _open: OpenSocket,
    _counted: Option<Counted>,
}

impl Socket {
    /// One that was opened, with room for it if there is any.
    pub fn new(
        frames: WebSocket,
        endpoint: Arc<Endpoint>,
        client: Option<String>,
        permit: Option<OwnedSemaphorePermit>,
        open: OpenSocket,
    ) -> Self {
        let counted = endpoint.telemetry.metrics().map(|metrics| metrics.socket("websocket"));
        Self { frames, endpoint, client, permit, _open: open, _counted: counted }
    }

    /// Answers the operations of a client until one of the two sides ends that, and closes it.
    pub async fn run(
        mut self,
        protocol: Option<GraphQLProtocol>,
        credential: Option<OwnedCredential>,
        principal: Principal,
    ) {
        let end = match protocol {
            _ if self.permit.is_none() => {
                self.endpoint.note_refused(Some("max_sockets"));
                Ok(Close::new(1013, "as many WebSockets are open as may be"))
            }
            None => Ok(Close::new(4406, "Subprotocol not acceptable")),
            Some(protocol) => self.serve(protocol, credential, principal).await,
        };
        self.close(end).await;
    }

    /// Answers the operations of a client, and gives why the socket is to be closed.
    ///
    /// # Errors
    ///
    /// When the client has gone.
    async fn serve(
        &mut self,
        protocol: GraphQLProtocol,
        credential: Option<OwnedCredential>,
        principal: Principal,
    ) -> Result<Close, Gone> {
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
        let stopping = endpoint.lifetime.stopping();
        let mut is_stopping = false;
        loop {
            if is_stopping && !operations.are_executed() && from_library.is_empty() {
                return Ok(Close::new(1001, "the server is stopping"));
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
                        Received::Forward(text) => {
                            let _ = to_library.try_send(Message::Text(text.into()));
                        }
                        Received::Reply(text) => self.send(Message::Text(text.into())).await?,
                        Received::Nothing => {}
                        Received::Close(close) => return Ok(close),
                    },
                    Some(Ok(Message::Binary(_))) => return Ok(Close::new(4400, "a message must be text")),
                    Some(Ok(Message::Pong(_))) => pong_end = None,
                    Some(Ok(Message::Ping(_))) => {}
                    Some(Ok(Message::Close(_))) | None => return Err(Gone::Closed),
                },
                Some(message) = from_library.recv() => {
                    if let Some(message) = outgoing(&mut rules, &operations, message) {
                        self.send(message).await?;
                    }
                }
                // It ends when one of the channels does, and they do not.
                () = &mut library => return Ok(Close::new(1011, "the server failed to do this")),
                authenticated = or_never(authenticating.as_mut()) => {
                    authenticating = None;
                    match authenticated {
                        Ok(accepted) => {
                            operations.set_principal(accepted.principal.clone());
                            session = Some(accepted);
                            let _ = to_library.try_send(Message::Text(rules.initialized().into()));
                        }
                        Err(refused) => return Ok(forbidden(&refused)),
                    }
                }
                refused = or_never(session.as_mut().map(Session::refused)) => return Ok(forbidden(&refused)),
                () = sleep_until(init_end), if rules.is_new() => {
                    return Ok(Close::new(4408, "Connection initialisation timeout"));
                }
                () = sleep_until(ping_at) => {
                    self.send(Message::Ping("".into())).await?;
                    ping_at = Instant::now() + settings.ping_interval;
                    pong_end.get_or_insert_with(|| Instant::now() + PONG_TIMEOUT);
                }
                () = or_never(pong_end.map(sleep_until)) => return Err(Gone::Lost),
                () = stopping.cancelled(), if !is_stopping => is_stopping = true,
            }
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// When the client takes nothing, or has gone.
    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        let sent = timeout(self.endpoint.write_timeout, self.frames.send(message)).await;
        sent.ok().and_then(Result::ok).ok_or(Gone::Lost)
    }

    /// Tells the client why the socket is closed, unless it has gone, and waits a moment until both sides are closed.
    async fn close(mut self, end: Result<Close, Gone>) {
        if let Some(metrics) = self.endpoint.telemetry.metrics() {
            metrics.note_socket_close(match &end {
                Ok(close) => close.code.to_string().into(),
                Err(Gone::Closed) => "client".into(),
                Err(Gone::Lost) => "lost".into(),
            });
        }
        let is_lost = match end {
            Ok(Close { code, reason }) => {
                self.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await.is_err()
            }
            Err(gone) => matches!(gone, Gone::Lost),
        };
        if is_lost {
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

/// Why a socket is to be closed from which nothing more can be read.
///
/// # Errors
///
/// When the client has gone.
fn close_for(error: &(dyn std::error::Error + 'static), max_bytes: usize) -> Result<Close, Gone> {
    match error.downcast_ref::<WsError>() {
        Some(WsError::Capacity(CapacityError::MessageTooLong { .. })) => {
            Ok(Close::new(1009, &format!("a message has at most {max_bytes} bytes")))
        }
        Some(WsError::Utf8(_)) => Ok(Close::new(1007, "a message must be UTF-8")),
        Some(WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => Err(Gone::Lost),
        Some(WsError::Protocol(_)) => Ok(Close::new(1002, "this is not as WebSocket has it")),
        _ => Err(Gone::Lost),
    }
}

/// The output of a future; never, while there is none.
async fn or_never<F: Future>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}
