//! The rules of GraphQL over WebSocket (the subprotocol `graphql-transport-ws`), without sockets and clocks.
//!
//! async-graphql-axum knows the messages, and not all of the rules. So what a client sends is checked here first, and
//! what the library sends is put right here before it goes out. The library knows an operation by a number of the
//! server's own, so that what it still says of one that the client has ended is not taken for that of another one.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use crate::{graphql::Params, http::params};

/// Why a socket is closed: the code and the reason, which has at most 123 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    pub code: u16,
    pub reason: String,
}

/// What comes of a message of the client.
#[derive(Debug)]
pub enum Received {
    /// The credential in it is to be looked at. Then [`Protocol::initialized`] is called.
    Init(Map<String, Value>),
    /// An operation begins, which has this number. The library gets the text.
    Subscribe(u64, Box<Params>, String),
    /// The library gets this.
    Forward(String),
    /// The client gets this at once.
    Reply(String),
    /// Nothing more.
    Nothing,
    /// The socket is closed.
    Close(Close),
}

/// What comes of a message of the library.
#[derive(Debug, PartialEq, Eq)]
pub enum Sent {
    /// The client gets this.
    Text(String),
    /// The client gets an answer to an operation, each by its number.
    Answer { operation: u64, answer: u64 },
    /// Nothing: it is of an operation that has ended.
    Nothing,
}

/// What an operation answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was executed: `next`.
    Next,
    /// It was not: `error`, after which nothing comes.
    Error,
}

/// Where a connection is in the protocol.
#[derive(Debug)]
pub struct Protocol {
    state: State,
    /// The operations that run: their numbers, by the ids of the client.
    running: HashMap<String, u64>,
    /// The same the other way round.
    ids: HashMap<u64, String>,
    next_number: u64,
    max_running: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The client has not said who it is.
    New,
    /// What it has said is being looked at.
    Initializing,
    Acknowledged,
}

/// A message of the client.
#[derive(Deserialize)]
struct ClientMessage<'a> {
    #[serde(rename = "type")]
    ty: String,
    id: Option<String>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

/// A message of the library.
#[derive(Deserialize)]
struct LibraryMessage {
    #[serde(rename = "type")]
    ty: String,
    id: Option<String>,
    payload: Option<LibraryPayload>,
}

#[derive(Deserialize)]
struct LibraryPayload {
    data: Option<u64>,
}

impl Protocol {
    /// A new connection, with at most this number of operations at once.
    #[must_use]
    pub fn new(max_running: usize) -> Self {
        Self { state: State::New, running: HashMap::new(), ids: HashMap::new(), next_number: 0, max_running }
    }

    /// Whether the client has not said who it is.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.state == State::New
    }

    /// Takes a text message of the client.
    pub fn receive(&mut self, text: &str) -> Received {
        let invalid = |reason: &str| Received::Close(Close::new(4400, reason));
        let Ok(message) = serde_json::from_str::<ClientMessage<'_>>(text) else {
            return invalid("a message must be a JSON object with a type, and its id must be a string");
        };
        let payload = message.payload.filter(|payload| payload.get() != "null");
        match &*message.ty {
            "connection_init" => {
                let payload = payload.map_or(Ok(Map::new()), |payload| serde_json::from_str(payload.get()));
                match payload {
                    Ok(_) if self.state != State::New => {
                        Received::Close(Close::new(4429, "Too many initialisation requests"))
                    }
                    Ok(payload) => {
                        self.state = State::Initializing;
                        Received::Init(payload)
                    }
                    Err(_) => invalid("the payload of connection_init must be an object, or be left out"),
                }
            }
            "ping" | "pong" => match payload.map(|payload| serde_json::from_str::<Map<String, Value>>(payload.get())) {
                Some(Err(_)) => invalid("the payload of a ping or pong must be an object, or be left out"),
                _ if message.ty == "pong" => Received::Nothing,
                payload => {
                    let payload = payload.and_then(Result::ok);
                    let ping =
                        payload.map_or_else(|| json!({"type": "ping"}), |it| json!({"type": "ping", "payload": it}));
                    Received::Forward(ping.to_string())
                }
            },
            "subscribe" => self.subscribe(message.id, payload),
            "complete" => match message.id.filter(|id| !id.is_empty()) {
                None => invalid("a complete must have an id, which is not empty"),
                // The server may have completed it in the same moment.
                Some(id) => match self.running.remove(&id) {
                    None => Received::Nothing,
                    Some(number) => {
                        self.ids.remove(&number);
                        Received::Forward(json!({"type": "complete", "id": number.to_string()}).to_string())
                    }
                },
            },
            _ => invalid("the type of the message is not known"),
        }
    }

    fn subscribe(&mut self, id: Option<String>, payload: Option<&RawValue>) -> Received {
        let invalid = |reason: &str| Received::Close(Close::new(4400, reason));
        let (Some(id), Some(payload)) = (id.filter(|id| !id.is_empty()), payload) else {
            return invalid("a subscribe must have an id, which is not empty, and a payload");
        };
        let Ok(params) = params::of_object(payload.get().as_bytes()) else {
            return invalid("the payload of a subscribe must be an object with a query, as in an HTTP request");
        };
        if self.state != State::Acknowledged {
            return Received::Close(Close::new(4401, "Unauthorized"));
        }
        if self.running.contains_key(&id) {
            return Received::Close(Close::new(4409, &format!("Subscriber for {id} already exists")));
        }
        if self.running.len() >= self.max_running {
            let message = format!("a WebSocket has at most {} operations at once", self.max_running);
            let errors = json!([{"message": message, "extensions": {"code": "UNAVAILABLE"}}]);
            return Received::Reply(json!({"type": "error", "id": id, "payload": errors}).to_string());
        }
        let number = self.next_number;
        self.next_number += 1;
        self.running.insert(id.clone(), number);
        self.ids.insert(number, id);
        let number_text = number.to_string();
        let text = json!({"type": "subscribe", "id": number_text, "payload": {"query": number_text}}).to_string();
        Received::Subscribe(number, Box::new(params), text)
    }

    /// The credential is accepted. Gives what the library gets.
    pub fn initialized(&mut self) -> String {
        self.state = State::Acknowledged;
        json!({"type": "connection_init"}).to_string()
    }

    /// Takes a message of the library, which is for the client.
    pub fn send(&mut self, text: String) -> Sent {
        let Ok(message) = serde_json::from_str::<LibraryMessage>(&text) else {
            // A pong has a payload of any kind.
            return Sent::Text(text);
        };
        let number = message.id.as_deref().and_then(|id| id.parse::<u64>().ok());
        match (&*message.ty, number) {
            ("next", Some(operation)) => {
                let answer = message.payload.and_then(|payload| payload.data);
                answer.map_or(Sent::Nothing, |answer| Sent::Answer { operation, answer })
            }
            ("complete", Some(number)) => match self.end(number) {
                Some(id) => Sent::Text(json!({"type": "complete", "id": id}).to_string()),
                None => Sent::Nothing,
            },
            _ => Sent::Text(text),
        }
    }

    /// The message with an answer to an operation, unless this has ended. The answer is JSON: what a `next` carries, or
    /// the errors.
    pub fn answer(&mut self, number: u64, kind: Kind, json: &[u8]) -> Option<String> {
        let (ty, id) = match kind {
            Kind::Next => ("next", self.ids.get(&number)?.clone()),
            Kind::Error => ("error", self.end(number)?),
        };
        let (id, json) = (Value::String(id), String::from_utf8_lossy(json));
        Some(format!(r#"{{"type":"{ty}","id":{id},"payload":{json}}}"#))
    }

    /// Forgets an operation, and gives the id that the client knows it by.
    fn end(&mut self, number: u64) -> Option<String> {
        let id = self.ids.remove(&number)?;
        self.running.remove(&id);
        Some(id)
    }
}

impl Close {
    /// The greatest number of bytes of a reason (RFC 6455, 5.5.1).
    const MAX_REASON: usize = 123;

    /// A code with a reason, which is cut when it is too long.
    #[must_use]
    pub fn new(code: u16, reason: &str) -> Self {
        Self { code, reason: reason[..reason.floor_char_boundary(Self::MAX_REASON)].to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Protocol, Received, Sent};

    /// A connection that has been initialised.
    fn ready() -> Protocol {
        let mut protocol = Protocol::new(2);
        assert!(matches!(protocol.receive(r#"{"type": "connection_init"}"#), Received::Init(_)));
        protocol.initialized();
        protocol
    }

    fn subscribe(protocol: &mut Protocol, id: &str) -> Received {
        protocol.receive(&format!(r#"{{"type": "subscribe", "id": "{id}", "payload": {{"query": "{{ a }}"}}}}"#))
    }

    fn begin(protocol: &mut Protocol, id: &str) -> u64 {
        match subscribe(protocol, id) {
            Received::Subscribe(number, ..) => number,
            other => panic!("{other:?}"),
        }
    }

    fn code(received: &Received) -> Option<u16> {
        if let Received::Close(close) = received { Some(close.code) } else { None }
    }

    #[test]
    fn what_is_left_of_an_operation_is_not_taken_for_another_one() {
        let mut protocol = ready();
        let first = begin(&mut protocol, "a");
        assert!(matches!(protocol.receive(r#"{"type": "complete", "id": "a"}"#), Received::Forward(_)));
        let second = begin(&mut protocol, "a");
        assert_ne!(first, second);
        // The library says once more what it has of the first one.
        assert_eq!(protocol.answer(first, Kind::Next, b"{}"), None);
        assert_eq!(protocol.send(format!(r#"{{"type": "complete", "id": "{first}"}}"#)), Sent::Nothing);
        let answer = protocol.answer(second, Kind::Next, br#"{"data":1}"#);
        assert_eq!(answer.as_deref(), Some(r#"{"type":"next","id":"a","payload":{"data":1}}"#));
        let complete = Sent::Text(r#"{"id":"a","type":"complete"}"#.to_owned());
        assert_eq!(protocol.send(format!(r#"{{"type": "complete", "id": "{second}"}}"#)), complete);
        assert_eq!(protocol.answer(second, Kind::Next, b"{}"), None);
    }

    #[test]
    fn nothing_comes_after_an_error() {
        let mut protocol = ready();
        let number = begin(&mut protocol, "a\\\"");
        let next = format!(r#"{{"type": "next", "id": "{number}", "payload": {{"data": 7}}}}"#);
        assert_eq!(protocol.send(next), Sent::Answer { operation: number, answer: 7 });
        let error = protocol.answer(number, Kind::Error, b"[1]");
        assert_eq!(error.as_deref(), Some(r#"{"type":"error","id":"a\"","payload":[1]}"#));
        assert_eq!(protocol.send(format!(r#"{{"type": "complete", "id": "{number}"}}"#)), Sent::Nothing);
        // Its id is free.
        begin(&mut protocol, "a\\\"");
    }

    #[test]
    fn who_says_what_when() {
        let mut protocol = Protocol::new(2);
        assert!(protocol.is_new());
        assert_eq!(code(&subscribe(&mut protocol, "a")), Some(4401));
        assert!(matches!(protocol.receive(r#"{"type": "connection_init", "payload": null}"#), Received::Init(_)));
        assert!(!protocol.is_new());
        // Until the credential has been looked at, nothing can be asked for.
        assert_eq!(code(&subscribe(&mut protocol, "a")), Some(4401));
        assert_eq!(code(&protocol.receive(r#"{"type": "connection_init"}"#)), Some(4429));
        protocol.initialized();
        begin(&mut protocol, "a");
        assert_eq!(code(&subscribe(&mut protocol, "a")), Some(4409));
        begin(&mut protocol, "b");
        assert!(matches!(subscribe(&mut protocol, "c"), Received::Reply(_)));
    }
}
