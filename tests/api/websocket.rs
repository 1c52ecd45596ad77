//! GraphQL over WebSocket, by frames and by a client.

use std::time::Duration;

use axum::http::{
    HeaderValue, Method, Request,
    header::{ORIGIN, SEC_WEBSOCKET_PROTOCOL},
};
use futures_util::{SinkExt as _, StreamExt as _};
use graphql_ws_client::{Client, Connection, graphql::GraphqlOperation};
use hero_teams::{access::ApiKeys, schema::Scope};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Bytes, client::conn::http2, ext::Protocol};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _, protocol::Role},
};
use tower::ServiceExt as _;

use crate::{
    access::{app_with, key},
    databases::TestDatabase,
    events::Stream,
    sockets::Served,
    support::{Settings, TestApp, settings, until},
};

const SUBPROTOCOL: &str = "graphql-transport-ws";

/// A server that is spoken to over sockets.
pub struct Server {
    app: TestApp,
    served: Served,
}

impl Server {
    async fn start(change: impl FnOnce(&mut Settings)) -> Self {
        Self::of(TestApp::with(TestDatabase::sqlite(), change).await).await
    }

    pub async fn of(app: TestApp) -> Self {
        let served = Served::start_with(app.router.clone(), &[], app.lifetime.clone()).await;
        Self { app, served }
    }

    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.served.url.trim_start_matches("http://")).await.expect("the server accepts")
    }

    /// A socket that offers subprotocols, and has headers.
    pub async fn open(
        &self,
        offered: &'static str,
        headers: &[(&'static str, &str)],
    ) -> Result<Socket<TcpStream>, Error> {
        let mut request = self.served.url.replace("http", "ws") + "/graphql";
        request.retain(|character| !character.is_whitespace());
        let mut request = request.into_client_request().expect("it is a request");
        if !offered.is_empty() {
            request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(offered));
        }
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("it is a header"));
        }
        Ok(Socket(client_async(request, self.tcp().await).await?.0))
    }

    /// A socket of the protocol.
    async fn socket(&self) -> Socket<TcpStream> {
        self.open(SUBPROTOCOL, &[]).await.expect("it is upgraded")
    }

    /// A socket that has been initialised.
    async fn ready(&self) -> Socket<TcpStream> {
        self.ready_with(json!({})).await
    }

    async fn ready_with(&self, payload: Value) -> Socket<TcpStream> {
        let mut socket = self.socket().await;
        socket.init(payload).await;
        socket
    }

    pub async fn stop(self) {
        self.served.stop().await;
        self.app.close().await;
    }
}

pub struct Socket<S>(WebSocketStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    async fn send(&mut self, message: Value) {
        self.text(&message.to_string()).await;
    }

    async fn text(&mut self, text: &str) {
        self.0.send(Message::Text(text.into())).await.expect("the server reads");
    }

    pub async fn init(&mut self, payload: Value) {
        self.send(json!({"type": "connection_init", "payload": payload})).await;
        assert_eq!(self.next().await, json!({"type": "connection_ack"}));
    }

    pub async fn subscribe(&mut self, id: &str, query: &str) {
        self.send(json!({"type": "subscribe", "id": id, "payload": {"query": query}})).await;
    }

    async fn frame(&mut self) -> Option<Message> {
        let next = timeout(Duration::from_mins(5), self.0.next()).await.expect("something comes");
        next.map(|frame| frame.expect("the connection does not break"))
    }

    /// The next message of the protocol.
    pub async fn next(&mut self) -> Value {
        loop {
            match self.frame().await {
                Some(Message::Text(text)) => return serde_json::from_str(&text).expect("it is JSON"),
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("there is no message, but {other:?}"),
            }
        }
    }

    /// Why the server closes.
    async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.frame().await {
                Some(Message::Close(Some(frame))) => return (frame.code.into(), frame.reason.to_string()),
                Some(Message::Text(text)) => assert!(text.contains("connection_ack"), "{text}"),
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("it is not closed: {other:?}"),
            }
        }
    }
}

fn next(id: &str, data: &Value) -> Value {
    json!({"type": "next", "id": id, "payload": {"data": data}})
}

fn complete(id: &str) -> Value {
    json!({"type": "complete", "id": id})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_of_the_protocol_closes_the_socket() {
    let server = Server::start(|settings| {
        settings.events.ws_init_timeout = Duration::from_millis(300);
        settings.serve.max_body_bytes = 10_000;
    })
    .await;
    let message = "a message must be a JSON object with a type, and its id must be a string";
    let subscribe = "a subscribe must have an id, which is not empty, and a payload";
    let payload = "the payload of a subscribe must be an object with a query, as in an HTTP request";
    let ping = "the payload of a ping or pong must be an object, or be left out";
    for (text, reason) in [
        ("", message),
        ("x", message),
        ("[]", message),
        ("{}", message),
        (r#"{"type": 1}"#, message),
        (r#"{"type": "subscribe", "id": 1, "payload": {"query": "{ heroes { id } }"}}"#, message),
        (r#"{"type": "start"}"#, "the type of the message is not known"),
        (r#"{"type": "connection_ack"}"#, "the type of the message is not known"),
        (r#"{"type": "subscribe"}"#, subscribe),
        (r#"{"type": "subscribe", "id": "", "payload": {"query": "{ heroes { id } }"}}"#, subscribe),
        (r#"{"type": "subscribe", "id": "1"}"#, subscribe),
        (r#"{"type": "subscribe", "id": "1", "payload": null}"#, subscribe),
        (r#"{"type": "subscribe", "id": "1", "payload": []}"#, payload),
        (r#"{"type": "subscribe", "id": "1", "payload": {}}"#, payload),
        (r#"{"type": "subscribe", "id": "1", "payload": {"query": 1}}"#, payload),
        (r#"{"type": "subscribe", "id": "1", "payload": {"query": "{ a }", "variables": 1}}"#, payload),
        (r#"{"type": "complete"}"#, "a complete must have an id, which is not empty"),
        (r#"{"type": "ping", "payload": 1}"#, ping),
        (r#"{"type": "pong", "payload": []}"#, ping),
        (
            r#"{"type": "connection_init", "payload": 1}"#,
            "the payload of connection_init must be an object, or be left out",
        ),
    ] {
        let mut socket = server.socket().await;
        socket.text(text).await;
        assert_eq!(socket.closed().await, (4400, reason.to_owned()), "{text}");
    }
    let mut binary = server.socket().await;
    binary.0.send(Message::Binary(br#"{"type": "ping"}"#.as_slice().into())).await.expect("the server reads");
    assert_eq!(binary.closed().await, (4400, "a message must be text".to_owned()));

    let mut early = server.socket().await;
    early.subscribe("1", "{ heroes { id } }").await;
    assert_eq!(early.closed().await, (4401, "Unauthorized".to_owned()));
    for offered in ["", "graphql-ws", "soap, graphql-ws"] {
        let mut other = server.open(offered, &[]).await.expect("it is upgraded");
        assert_eq!(other.closed().await, (4406, "Subprotocol not acceptable".to_owned()), "{offered}");
    }
    let mut silent = server.socket().await;
    assert_eq!(silent.closed().await, (4408, "Connection initialisation timeout".to_owned()));
    let mut twice = server.ready().await;
    for _ in 0..2 {
        twice.subscribe("a\"", "subscription { heroChanged { id } }").await;
    }
    assert_eq!(twice.closed().await, (4409, "Subscriber for a\" already exists".to_owned()));
    let mut again = server.ready().await;
    again.send(json!({"type": "connection_init"})).await;
    assert_eq!(again.closed().await, (4429, "Too many initialisation requests".to_owned()));
    let mut at_once = server.socket().await;
    for _ in 0..2 {
        at_once.send(json!({"type": "connection_init"})).await;
    }
    assert_eq!(at_once.closed().await, (4429, "Too many initialisation requests".to_owned()));
    let mut large = server.ready().await;
    large.subscribe("1", &format!("# {}\n{{ heroes {{ id }} }}", "x".repeat(1 << 20))).await;
    assert_eq!(large.closed().await, (1009, "a message has at most 10000 bytes".to_owned()));
    // A reason is cut, and not refused.
    let mut long = server.ready().await;
    let id = "é".repeat(100);
    for _ in 0..2 {
        long.subscribe(&id, "subscription { heroChanged { id } }").await;
    }
    let (code, reason) = long.closed().await;
    assert_eq!((code, reason.len()), (4409, 123), "{reason}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_of_all_kinds() {
    let server = Server::start(|_| ()).await;
    let mut socket = server.socket().await;
    // A ping is answered before anything else is said.
    socket.send(json!({"type": "ping", "payload": {"a": [1]}})).await;
    assert_eq!(socket.next().await, json!({"type": "pong", "payload": {"a": [1]}}));
    socket.send(json!({"type": "ping"})).await;
    assert_eq!(socket.next().await, json!({"type": "pong"}));
    socket.send(json!({"type": "pong"})).await;
    socket.init(Value::Null).await;

    socket.subscribe("heroes", "subscription { heroChanged { change hero { name } } }").await;
    socket.subscribe("q", "{ heroes { name } }").await;
    assert_eq!(socket.next().await, next("q", &json!({"heroes": []})));
    assert_eq!(socket.next().await, complete("q"));
    socket.subscribe("m", r#"mutation { createHero(input: {name: "A", secretName: "a"}) { hero { id } } }"#).await;
    let mut got = Vec::new();
    for _ in 0..3 {
        got.push(socket.next().await);
    }
    got.sort_by_key(|message| message["id"] == "m");
    assert_eq!(
        got,
        [
            next("heroes", &json!({"heroChanged": {"change": "CREATED", "hero": {"name": "A"}}})),
            next("m", &json!({"createHero": {"hero": {"id": "Hero:1"}}})),
            complete("m"),
        ]
    );

    // What is not executed is an error, and nothing comes after it.
    for (query, code) in [
        ("{", "BAD_USER_INPUT"),
        ("{ nothing }", "BAD_USER_INPUT"),
        ("subscription { heroChanged { id } teamChanged { id } }", "BAD_USER_INPUT"),
        ("subscription { heroChanged(where: {id: {eq: \"Team:1\"}}) { id } }", "BAD_USER_INPUT"),
        ("subscription { heroChanged(after: \"WzAsOTksMV0\") { id } }", "EVENTS_GONE"),
        ("query($a: Int!) { heroes(limit: $a) { id } }", "BAD_USER_INPUT"),
    ] {
        socket.subscribe("e", query).await;
        let error = socket.next().await;
        assert_eq!((&error["type"], &error["id"]), (&json!("error"), &json!("e")), "{query}");
        assert_eq!(error["payload"][0]["extensions"]["code"], code, "{query}");
        assert_eq!(error["payload"][0].get("path"), None);
    }
    // What is executed is not, also when it fails.
    socket.subscribe("f", r#"mutation { createHero(input: {name: "", secretName: "a"}) { hero { id } } }"#).await;
    let failed = socket.next().await;
    assert_eq!((&failed["type"], &failed["payload"]["data"]), (&json!("next"), &json!({"createHero": null})));
    assert_eq!(socket.next().await, complete("f"));
    // Parameters may be null, as in HTTP.
    let payload =
        json!({"query": "query Q { heroes { id } }", "variables": null, "operationName": null, "extensions": null});
    socket.send(json!({"type": "subscribe", "id": "n", "payload": payload})).await;
    assert_eq!(socket.next().await, next("n", &json!({"heroes": [{"id": "Hero:1"}]})));
    assert_eq!(socket.next().await, complete("n"));

    // Of what the client has ended nothing comes any more, and its id is free.
    socket.send(complete("heroes")).await;
    socket.send(complete("nobody")).await;
    socket.subscribe("heroes", "{ heroes { name } }").await;
    assert_eq!(socket.next().await, next("heroes", &json!({"heroes": [{"name": "A"}]})));
    assert_eq!(socket.next().await, complete("heroes"));
    drop(socket);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_subscriptions_do_not_keep_others_out() {
    let server = Server::start(|_| ()).await;
    let mut socket = server.ready().await;
    for number in 0..20 {
        socket.subscribe(&format!("s{number}"), "subscription { heroChanged { id } }").await;
    }
    // They have begun when this is answered.
    until(async || {
        socket.subscribe("q", "{ teams { id } }").await;
        assert_eq!((socket.next().await, socket.next().await), (next("q", &json!({"teams": []})), complete("q")));
        server.app.events.listeners() == 20
    })
    .await;
    let input: Vec<_> = (0..200).map(|_| json!({"name": "A", "secretName": "a"})).collect();
    let create = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { __typename } }";
    server.app.data(create, json!({"input": input})).await;
    let mut received = vec![0; 20];
    for _ in 0..20 * 200 {
        let message = socket.next().await;
        let number: usize = message["id"].as_str().expect("an id")[1..].parse().expect("a number");
        received[number] += 1;
        assert_eq!(message["payload"]["data"]["heroChanged"]["id"], format!("Hero:{}", received[number]));
        let (least, most) = (received.iter().min(), received.iter().max());
        assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 2), "{received:?}");
    }
    drop(socket);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bounds_of_sockets_and_subscriptions() {
    let server = Server::start(|settings| {
        settings.events.max_sockets = 2;
        settings.events.max_subscriptions = 3;
        settings.events.max_subscriptions_per_connection = 2;
    })
    .await;
    let subscription = "subscription { heroChanged { id } }";
    let (mut one, mut two) = (server.ready().await, server.ready().await);
    let mut three = server.socket().await;
    assert_eq!(three.closed().await, (1013, "as many WebSockets are open as may be".to_owned()));
    for id in ["a", "b", "c"] {
        one.subscribe(id, subscription).await;
    }
    let unavailable = |id: &str, message: &str| json!({"type": "error", "id": id, "payload": [{"message": message, "extensions": {"code": "UNAVAILABLE"}}]});
    assert_eq!(one.next().await, unavailable("c", "a WebSocket has at most 2 operations at once"));
    until(async || server.app.events.listeners() == 2).await;
    two.subscribe("a", subscription).await;
    until(async || server.app.events.listeners() == 3).await;
    two.subscribe("b", subscription).await;
    let message = "the server has as many subscriptions as it may have; try again later";
    assert_eq!(two.next().await, unavailable("b", message));
    // Room that is left is room for others.
    one.send(complete("a")).await;
    until(async || server.app.events.listeners() == 2).await;
    let mut stream = Stream::open(&server.app.router, subscription, json!({})).await;
    drop(one);
    let mut one = loop {
        let mut socket = server.socket().await;
        socket.send(json!({"type": "connection_init"})).await;
        if let Some(Message::Text(_)) = socket.frame().await {
            break socket;
        }
    };
    one.subscribe("m", r#"mutation { createHero(input: {name: "A", secretName: "a"}) { hero { id } } }"#).await;
    assert_eq!(stream.value().await, json!({"id": "Hero:1"}));
    assert_eq!(two.next().await, next("a", &json!({"heroChanged": {"id": "Hero:1"}})));
    drop((one, two, stream));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops() {
    let server = Server::start(|_| ()).await;
    let mut socket = server.ready().await;
    let mut idle = server.ready().await;
    let mut new = server.socket().await;
    let mut stream = Stream::open(&server.app.router, "subscription { heroChanged { id } }", json!({})).await;
    socket.subscribe("s", "subscription { heroChanged { id } }").await;
    until(async || server.app.events.listeners() == 2).await;
    let stopping = tokio::spawn(server.served.stop());
    for socket in [&mut socket, &mut idle, &mut new] {
        assert_eq!(socket.closed().await, (1001, "the server is stopping".to_owned()));
        // The client closes its side.
        assert_eq!(socket.frame().await, None);
    }
    assert_eq!(stream.next().await.expect("the end").event, "complete");
    assert_eq!(stream.next().await, None);
    stopping.await.expect("it stops");
    server.app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_open_a_socket() {
    let allowed = settings(&["--cors-origin", "https://app.example"]).cors_origins;
    let app = app_with(TestDatabase::sqlite(), &[], |settings| settings.serve.cors_origins = allowed).await;
    let reads = key(&app, &[Scope::Read]).await;
    let writes = key(&app, &[Scope::Read, Scope::ReadSecrets, Scope::Write]).await;
    let server = Server::of(app).await;
    let status = |opened: Result<Socket<TcpStream>, Error>| match opened {
        Ok(_) => 101,
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(error) => panic!("{error}"),
    };
    let own = server.served.url.clone();
    for (origin, expected) in [
        ("https://app.example", 101),
        (&own, 101),
        ("https://evil.example", 403),
        ("null", 403),
        ("https://127.0.0.1", 403),
    ] {
        assert_eq!(status(server.open(SUBPROTOCOL, &[(ORIGIN.as_str(), origin)]).await), expected, "{origin}");
    }
    assert_eq!(status(server.open(SUBPROTOCOL, &[("x-api-key", "ht_wrong")]).await), 401);
    // Whoever says nothing may do nothing here.
    let required = (4403, "authentication required".to_owned());
    let invalid = (4403, "invalid token".to_owned());
    for (payload, expected) in [
        (json!(null), &required),
        (json!({}), &required),
        (json!({"Authorization": "Bearer x"}), &invalid),
        (json!({"authorization": "Basic x"}), &invalid),
        (json!({"headers": {"X-API-Key": "ht_x"}}), &invalid),
        (json!({"apiKey": 7}), &invalid),
        (json!({"apiKey": reads, "Authorization": format!("Bearer {reads}")}), &invalid),
    ] {
        let mut socket = server.socket().await;
        socket.send(json!({"type": "connection_init", "payload": payload})).await;
        assert_eq!(socket.closed().await, *expected, "{payload}");
    }
    let secret = "subscription { heroChanged { fields hero { secretName } } }";
    let forbidden = "{ heroes(where: {secretName: {eq: \"a\"}}) { id } }";
    for payload in [
        json!({"Authorization": format!("Bearer {reads}")}),
        json!({"AUTHORIZATION": format!("bearer {reads}")}),
        json!({"headers": {"authorization": format!("Bearer {reads}")}}),
        json!({"headers": {"x-api-key": reads}, "other": 1}),
        json!({"apiKey": reads}),
    ] {
        let mut socket = server.ready_with(payload).await;
        for query in [secret, forbidden, "mutation { deleteHero(input: {id: 1}) { hero { id } } }"] {
            socket.subscribe("1", query).await;
            let refused = socket.next().await;
            assert_eq!(
                (&refused["type"], &refused["payload"][0]["extensions"]["code"]),
                (&json!("error"), &json!("FORBIDDEN"))
            );
        }
    }
    let mut by_header = server.open(SUBPROTOCOL, &[("x-api-key", &writes)]).await.expect("it is upgraded");
    by_header.init(json!({})).await;
    let mut reader = server.ready_with(json!({"apiKey": reads})).await;
    reader.subscribe("s", "subscription { heroChanged { change fields hero { name } } }").await;
    by_header.subscribe("s", secret).await;
    until(async || server.app.events.listeners() == 2).await;
    by_header.subscribe("m", r#"mutation { createHero(input: {name: "A", secretName: "a"}) { hero { id } } }"#).await;
    assert_eq!(
        reader.next().await,
        next("s", &json!({"heroChanged": {"change": "CREATED", "fields": null, "hero": {"name": "A"}}}))
    );
    let update = r#"mutation { updateHero(input: {id: 4, age: 3, secretName: "b"}) { hero { id } } }"#;
    by_header.subscribe("u", update).await;
    // The names of fields that a client may not read are not told.
    assert_eq!(
        reader.next().await,
        next("s", &json!({"heroChanged": {"change": "UPDATED", "fields": ["AGE"], "hero": {"name": "A"}}}))
    );
    let mut fields = Vec::new();
    while fields.len() < 2 {
        let message = by_header.next().await;
        if message["id"] == "s" {
            fields.push(message["payload"]["data"]["heroChanged"].clone());
        }
    }
    assert_eq!(fields[1], json!({"fields": ["SECRET_NAME", "AGE"], "hero": {"secretName": "b"}}));
    drop((reader, by_header));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_ends() {
    let app = app_with(TestDatabase::sqlite(), &[], |_| ()).await;
    let keys = ApiKeys::new(&app.db);
    let end = std::time::SystemTime::now() + Duration::from_secs(2);
    let new = keys.create("short", [Scope::Read].into_iter().collect(), Some(end)).await;
    let key = new.expect("it is made").key;
    let server = Server::of(app).await;
    let mut socket = server.ready_with(json!({"apiKey": key})).await;
    let request = Request::get("/graphql?query=subscription{heroChanged{id}}");
    let request = request.header("accept", "text/event-stream").header("x-api-key", &key);
    let mut stream = Stream::of(&server.app.router, request.body(axum::body::Body::empty()).expect("a request")).await;
    socket.subscribe("s", "subscription { heroChanged { id } }").await;
    assert_eq!(socket.closed().await, (4403, "invalid token".to_owned()));
    assert_eq!(stream.error().await["extensions"], json!({"code": "UNAUTHENTICATED"}));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_asks_whether_the_client_is_still_there() {
    let server = Server::start(|settings| settings.events.ping_interval = Duration::from_millis(20)).await;
    let mut socket = server.ready().await;
    for _ in 0..3 {
        loop {
            // The library answers it.
            if let Some(Message::Ping(_)) = socket.frame().await {
                break;
            }
        }
    }
    socket.subscribe("q", "{ heroes { id } }").await;
    assert_eq!(socket.next().await, next("q", &json!({"heroes": []})));
    drop(socket);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_over_http2() {
    let server = Server::start(|_| ()).await;
    let io = TokioIo::new(server.tcp().await);
    let (mut requests, connection) =
        http2::Builder::new(TokioExecutor::new()).handshake(io).await.expect("the server speaks HTTP/2");
    let connection = tokio::spawn(connection);
    let request = || {
        let request = Request::builder().method(Method::CONNECT).uri("http://localhost/graphql");
        let request = request.header("sec-websocket-version", "13").header(SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
        request.extension(Protocol::from_static("websocket")).body(Empty::<Bytes>::new()).expect("it is a request")
    };
    // The server has said by then that it knows this.
    until(async || requests.ready().await.is_ok()).await;
    let mut sockets = Vec::new();
    for _ in 0..2 {
        let response = requests.send_request(request()).await.expect("the server answers");
        assert_eq!(
            (response.status().as_u16(), &response.headers()[SEC_WEBSOCKET_PROTOCOL]),
            (200, &HeaderValue::from_static(SUBPROTOCOL))
        );
        let upgraded = TokioIo::new(hyper::upgrade::on(response).await.expect("it is upgraded"));
        let mut socket = Socket(WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await);
        socket.init(json!({})).await;
        socket.subscribe("s", "subscription { heroChanged { id } }").await;
        sockets.push(socket);
    }
    until(async || server.app.events.listeners() == 2).await;
    let plain = Request::post("http://localhost/graphql").header("content-type", "application/json");
    let body = json!({"query": r#"mutation { createHero(input: {name: "A", secretName: "a"}) { hero { id } } }"#});
    // Other requests go on beside it.
    let response = server.app.graphql(body["query"].as_str().expect("text")).await;
    assert_eq!(response, json!({"data": {"createHero": {"hero": {"id": "Hero:1"}}}}));
    let answer = requests.send_request(plain.body(Empty::new()).expect("it is a request")).await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 400);
    answer.into_body().collect().await.expect("it arrives");
    for socket in &mut sockets {
        assert_eq!(socket.next().await, next("s", &json!({"heroChanged": {"id": "Hero:1"}})));
    }
    let stopping = tokio::spawn(server.served.stop());
    for socket in &mut sockets {
        assert_eq!(socket.closed().await, (1001, "the server is stopping".to_owned()));
    }
    drop(sockets);
    stopping.await.expect("it stops");
    drop(requests);
    let _ = connection.await;
    server.app.close().await;
}

/// The WebSocket of a client that is written in Rust.
struct Peer(Socket<TcpStream>);

impl Connection for Peer {
    async fn receive(&mut self) -> Option<graphql_ws_client::Message> {
        Some(match self.0.frame().await? {
            Message::Text(text) => graphql_ws_client::Message::Text(text.to_string()),
            Message::Close(_) => return None,
            Message::Ping(_) => graphql_ws_client::Message::Ping,
            _ => graphql_ws_client::Message::Pong,
        })
    }

    async fn send(&mut self, message: graphql_ws_client::Message) -> Result<(), graphql_ws_client::Error> {
        let message = match message {
            graphql_ws_client::Message::Text(text) => Message::Text(text.into()),
            graphql_ws_client::Message::Close { .. } => Message::Close(None),
            graphql_ws_client::Message::Ping => Message::Ping(Vec::new().into()),
            graphql_ws_client::Message::Pong => Message::Pong(Vec::new().into()),
        };
        self.0.0.send(message).await.map_err(|error| graphql_ws_client::Error::Send(error.to_string()))
    }
}

#[derive(Serialize)]
struct Operation {
    query: &'static str,
}

impl GraphqlOperation for Operation {
    type Response = Value;
    type Error = serde_json::Error;

    fn decode(&self, data: Value) -> Result<Value, serde_json::Error> {
        Ok(data)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_in_rust() {
    let server = Server::start(|_| ()).await;
    let (client, actor) = Client::build(Peer(server.socket().await)).await.expect("it is acknowledged");
    let actor = tokio::spawn(actor.into_future());
    let subscription = Operation { query: "subscription { teamChanged { change team { name } } }" };
    let mut events = client.subscribe(subscription).await.expect("it subscribes");
    until(async || server.app.events.listeners() == 1).await;
    let create =
        Operation { query: r#"mutation { createTeam(input: {name: "T", headquarters: "H"}) { team { id } } }"# };
    let mut created = client.subscribe(create).await.expect("it asks");
    let data = created.next().await.expect("an answer").expect("it is one");
    assert_eq!(data, json!({"data": {"createTeam": {"team": {"id": "Team:1"}}}}));
    let event = events.next().await.expect("an event").expect("it is one");
    assert_eq!(event, json!({"data": {"teamChanged": {"change": "CREATED", "team": {"name": "T"}}}}));
    drop((client, events, created));
    actor.await.expect("it ends");
    server.stop().await;
}

/// The answer names the version that would do (RFC 6455, 4.2.2).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_is_not_spoken() {
    let app = TestApp::new(TestDatabase::sqlite()).await;
    let request = Request::get("/graphql")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-version", "8")
        .body(axum::body::Body::empty())
        .expect("it is a request");
    let response = app.router.clone().oneshot(request).await.expect("the router answers");
    assert_eq!(response.status().as_u16(), 400);
    assert_eq!(response.headers()["sec-websocket-version"], "13");
    app.close().await;
}

/// How sockets have ended is counted: closed by the server, closed by the client, and lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ends_of_sockets_are_counted() {
    let telemetry = crate::metrics::telemetry(10);
    let server = Server::start(|settings| settings.db.telemetry = telemetry.clone()).await;
    let ended = |code: &str| {
        let series = format!("hero_teams_socket_closes_total{{code=\"{code}\"}}");
        crate::metrics::now(&telemetry).get(&series).map(ToString::to_string)
    };
    let mut wrong = server.socket().await;
    wrong.0.send(Message::text("nonsense")).await.expect("it is sent");
    until(async || ended("4400").is_some()).await;
    let mut closed = server.socket().await;
    closed.init(json!({})).await;
    closed.0.close(None).await.expect("it is closed");
    until(async || ended("client").is_some()).await;
    let mut lost = server.socket().await;
    lost.init(json!({})).await;
    drop(lost);
    until(async || ended("lost").is_some()).await;
    assert_eq!(["4400", "client", "lost"].map(ended), [(); 3].map(|()| Some("1".to_owned())));
}
