//! Connections as clients make them, well and badly. Where a time is short, what is waited for is that the server acts.

use std::{os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    http::{Request, StatusCode, Version},
    routing::get,
};
use hero_teams::{
    config::ListenAddress,
    http,
    server::{Lifetime, Listener, serve_until},
    telemetry::Telemetry,
};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Frame, SizeHint},
    client::conn::http2,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpStream, UnixStream},
    sync::{Notify, oneshot},
    task::{JoinHandle, JoinSet},
};

use crate::{
    databases::TestDatabase,
    edge::fails,
    support::{TestApp, router_with, settings, until},
};

/// Long enough that a test that waits for it has failed.
const NEVER: &str = "3600";
const SOON: &str = "0.2";

/// A router that is being served.
pub struct Served {
    pub url: String,
    stop: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
}

impl Served {
    /// Serves on a free port, unless the flags say otherwise.
    pub async fn start(router: Router, flags: &[&str]) -> Self {
        Self::start_with(router, flags, Lifetime::default()).await
    }

    /// The same, of a router that was made with this.
    pub async fn start_with(router: Router, flags: &[&str], lifetime: Lifetime) -> Self {
        let mut settings = settings(flags);
        if settings.listen.is_loopback() {
            settings.listen = "127.0.0.1:0".parse().expect("it is an address");
        }
        let listener = Listener::bind(&settings.listen).await.expect("it is free");
        let url = listener.url().expect("it is bound");
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async { stopped.await.unwrap_or_default() };
        let server = tokio::spawn(async move {
            serve_until(stopped, listener, router, &settings, &lifetime, &Telemetry::default()).await
        });
        Self { url, stop, server }
    }

    async fn connect(&self) -> Client<TcpStream> {
        let address = self.url.strip_prefix("http://").expect("it is a TCP server");
        Client::new(TcpStream::connect(address).await.expect("the server accepts"))
    }

    async fn connect_http2(&self, builder: &http2::Builder<TokioExecutor>) -> Http2 {
        let stream = self.connect().await.stream.into_inner();
        let (requests, connection) = builder.handshake(TokioIo::new(stream)).await.expect("the server speaks HTTP/2");
        Http2 { requests, connection: tokio::spawn(connection) }
    }

    pub async fn stop(self) {
        self.stop.send(()).expect("the server runs");
        self.server.await.expect("it does not panic").expect("it ends in order");
    }
}

struct Http2 {
    requests: http2::SendRequest<Full<Bytes>>,
    connection: JoinHandle<hyper::Result<()>>,
}

impl Http2 {
    async fn get(&mut self, path: &str) -> (StatusCode, String) {
        let uri = format!("http://localhost{path}");
        let request = Request::get(uri).body(Full::default()).expect("it is a request");
        let response = self.requests.send_request(request).await.expect("the server answers");
        assert_eq!(response.version(), Version::HTTP_2);
        let status = response.status();
        let body = response.into_body().collect().await.expect("the body arrives").to_bytes();
        (status, String::from_utf8(body.into()).expect("it is text"))
    }
}

/// A client that writes what it wants.
struct Client<S> {
    stream: BufReader<S>,
}

impl<S: AsyncRead + AsyncWriteExt + Unpin> Client<S> {
    fn new(stream: S) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("the server reads");
    }

    /// Sends a request without a body.
    async fn get(&mut self, path: &str) -> (u16, String) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
        self.answer().await
    }

    /// The next answer.
    async fn answer(&mut self) -> (u16, String) {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.stream.read_line(&mut head).await.expect("the server writes") > 0, "no answer, only {head:?}");
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("it has a status");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or_default()];
        self.stream.read_exact(&mut body).await.expect("the body arrives");
        (status, String::from_utf8(body).expect("it is text"))
    }

    /// Waits until the server closes the connection, without another word.
    async fn closed(mut self) {
        let mut rest = Vec::new();
        // It may have to tell a client that it has not read everything.
        let _ = self.stream.read_to_end(&mut rest).await;
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}

fn error(code: &str, message: &str) -> String {
    json!({"errors": [{"extensions": {"code": code}, "message": message}]}).to_string()
}

fn small() -> Router {
    Router::new().route("/", get("small"))
}

/// The start of a request to /graphql that the server answers with 100 when it wants to read its body.
fn graphql_head(length: usize) -> String {
    format!(
        "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nexpect: 100-continue\r\n\
         content-length: {length}\r\n\r\n"
    )
}

#[tokio::test]
async fn clients_that_do_not_come_to_the_point_are_dropped() {
    let server = Served::start(small(), &["--header-timeout", "2", "--idle-timeout", NEVER]).await;
    let mut dropped = JoinSet::new();
    for start in
        ["", "G", "GET / HTTP/1.1\r\nhost: loc", "GET / HTTP/1.1\r\n", "\r\n", "PRI", "PRI * HTTP/2.0\r\n\r\nSM"]
    {
        let mut client = server.connect().await;
        client.send(start).await;
        dropped.spawn(client.closed());
        // The second request has no more time than the first, and is not the start of another protocol.
        if !start.is_empty() && !start.starts_with("PRI") {
            let mut client = server.connect().await;
            assert_eq!(client.get("/").await, (200, "small".to_owned()));
            client.send(start).await;
            dropped.spawn(client.closed());
        }
    }
    dropped.join_all().await;
    server.stop().await;
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let server = Served::start(small(), &["--header-timeout", NEVER, "--idle-timeout", SOON]).await;
    let mut client = server.connect().await;
    assert_eq!(client.get("/").await, (200, "small".to_owned()));
    client.closed().await;

    let mut client = server.connect_http2(&http2::Builder::new(TokioExecutor::new())).await;
    assert_eq!(client.get("/").await, (StatusCode::OK, "small".to_owned()));
    client.connection.await.expect("it does not panic").expect("it is told that it ends");
    server.stop().await;
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_order() {
    let app = TestApp::new(TestDatabase::sqlite()).await;
    let server = Served::start(app.router.clone(), &[]).await;
    let mut client = server.connect().await;
    let request = |body: &str| {
        let head = "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
        format!("{head}content-length: {}\r\n\r\n{body}", body.len())
    };
    let query = |n: usize| json!({"query": format!("{{ n{n}: __typename }}")}).to_string();
    // All of them before the first answer is read, and some in between.
    let pipelined: Vec<_> = (0..20).map(|n| request(&query(n))).collect();
    client.send(&pipelined.concat()).await;
    for n in 0..20 {
        assert_eq!(client.answer().await, (200, format!(r#"{{"data":{{"n{n}":"Query"}}}}"#)));
    }
    for _ in 0..3 {
        assert_eq!(client.get("/health/live").await, (200, "live".to_owned()));
    }
    // The client stays, and the server does not wait for it to go.
    server.stop().await;
    app.close().await;
}

#[tokio::test]
async fn a_client_that_has_said_all_gets_its_answer() {
    let server = Served::start(small(), &[]).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    client.stream.shutdown().await.expect("its side ends");
    assert_eq!(client.answer().await, (200, "small".to_owned()));
    client.closed().await;
    server.stop().await;
}

#[tokio::test]
async fn heads_out_of_bounds_are_refused() {
    let server = Served::start(small(), &[]).await;
    let start = "GET / HTTP/1.1\r\nhost: localhost\r\n";
    let headers = |number: usize| format!("{start}{}\r\n", "a: b\r\n".repeat(number));
    let bytes = |number: usize| format!("{start}a: {}\r\n\r\n", "b".repeat(number));
    for (request, status) in [
        (headers(99), 200),
        (headers(101), 431),
        (bytes(15_000), 200),
        (bytes(17_000), 431),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(17_000)), 431),
        ("HELLO\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_owned(), 400),
    ] {
        let mut client = server.connect().await;
        client.send(&request).await;
        assert_eq!(client.answer().await.0, status, "{} {}", request.len(), &request[..request.len().min(80)]);
        if status != 200 {
            client.closed().await;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn bodies_out_of_bounds_are_refused() {
    let app = TestApp::new(TestDatabase::sqlite()).await;
    let router = |timeout| router_with(app.db.clone(), &["--max-body-bytes", "1000000", "--body-timeout", timeout]);
    let server = Served::start(router(NEVER), &[]).await;
    let too_large = (413, error("BAD_USER_INPUT", "the body of a request has at most 1000000 bytes"));

    // Before anything of it is sent.
    let mut client = server.connect().await;
    client.send(&graphql_head(1_000_001)).await;
    assert_eq!(client.answer().await, too_large);
    client.closed().await;

    // While it is sent, to a client that looks for the answer only afterwards. It is more than the system keeps.
    for head in ["content-length: 16000000\r\n\r\n", "transfer-encoding: chunked\r\n\r\nf42400\r\n"] {
        let mut client = server.connect().await;
        client.send("POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n").await;
        client.send(head).await;
        client.send(&" ".repeat(16_000_000)).await;
        assert_eq!(client.answer().await, too_large);
    }

    let mut client = server.connect().await;
    client.send(&graphql_head(100)).await;
    assert_eq!(client.answer().await, (100, String::new()));
    client.stream.shutdown().await.expect("its side ends");
    assert_eq!(
        client.answer().await,
        (400, error("BAD_USER_INPUT", "the body of the request did not arrive as a whole"))
    );
    server.stop().await;

    let server = Served::start(router(SOON), &[]).await;
    let mut client = server.connect().await;
    client.send(&graphql_head(100)).await;
    assert_eq!(client.answer().await, (100, String::new()));
    client.send("{").await;
    let too_slow = error("BAD_USER_INPUT", "the body of the request took too long to arrive");
    assert_eq!(client.answer().await, (408, too_slow));
    client.closed().await;
    server.stop().await;
    app.close().await;
}

/// An answer without end, which tells when nobody wants it any more.
struct Endless(Arc<Notify>);

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'.'; 16_384])))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

fn endless(dropped: &Arc<Notify>) -> Router {
    let dropped = Arc::clone(dropped);
    small().route("/endless", get(move || async { Body::new(Endless(dropped)) }))
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped() {
    let dropped = Arc::new(Notify::new());
    let flags = ["--write-timeout", SOON, "--body-timeout", SOON, "--request-timeout", SOON, "--max-connections", "1"];
    let server = Served::start(endless(&dropped), &flags).await;
    let mut client = server.connect().await;
    client.send("GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    dropped.notified().await;
    // Its place is free.
    assert_eq!(server.connect().await.get("/").await, (200, "small".to_owned()));

    // An HTTP/2 client need not stop reading for that.
    let mut http2 = server.connect_http2(http2::Builder::new(TokioExecutor::new()).initial_stream_window_size(1)).await;
    let request = Request::get("http://localhost/endless").body(Full::default()).expect("it is a request");
    let response = http2.requests.send_request(request).await.expect("the server answers");
    dropped.notified().await;
    drop(response);
    drop(client);
    drop(http2);
    server.stop().await;
}

#[tokio::test]
async fn a_large_answer_that_is_taken_byte_by_byte_ends() {
    let answers = small().route("/large", get(|| async { Bytes::from(vec![b'.'; 10_000_000]) }));
    let flags = ["--write-timeout", SOON, "--body-timeout", SOON, "--request-timeout", "1"];
    let server = Served::start(answers, &flags).await;
    let mut client =
        server.connect_http2(http2::Builder::new(TokioExecutor::new()).initial_stream_window_size(1)).await;
    let request = Request::get("http://localhost/large").body(Full::default()).expect("it is a request");
    let response = client.requests.send_request(request).await.expect("the server answers");
    let mut body = response.into_body();
    let mut frames = 0;
    while body.frame().await.expect("the answer is not complete").is_ok() {
        frames += 1;
    }
    assert!(frames > 0);
    // It was ended alone.
    assert_eq!(client.get("/").await.0, StatusCode::OK);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_goes_away_costs_nothing_lasting() {
    let dropped = Arc::new(Notify::new());
    let server = Served::start(endless(&dropped), &["--max-connections", "1"]).await;
    for _ in 0..3 {
        let mut client = server.connect().await;
        client.send("GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        client.stream.read_exact(&mut vec![0; 100_000]).await.expect("the answer begins");
        drop(client);
        dropped.notified().await;
        let mut client = server.connect().await;
        client.send("GET / HTTP/1.1\r\nhost: loc").await;
        drop(client);
        assert_eq!(server.connect().await.get("/").await, (200, "small".to_owned()));
    }
    server.stop().await;
}

#[tokio::test]
async fn http2_without_asking_first() {
    let app = TestApp::new(TestDatabase::sqlite()).await;
    let server = Served::start(app.router.clone(), &[]).await;
    let client = server.connect_http2(&http2::Builder::new(TokioExecutor::new())).await;
    let ask = async |n: usize| {
        let body = json!({"query": format!("{{ n{n}: __typename }}")}).to_string();
        let request = Request::post("http://localhost/graphql").header("content-type", "application/json");
        let request = request.body(Full::from(body)).expect("it is a request");
        let response = client.requests.clone().send_request(request).await.expect("the server answers");
        let body = response.into_body().collect().await.expect("the body arrives").to_bytes();
        serde_json::from_slice::<Value>(&body).expect("it is JSON")
    };
    let answers = tokio::join!(ask(1), ask(2), ask(3));
    let expected = |n: usize| json!({"data": {format!("n{n}"): "Query"}});
    assert_eq!(answers, (expected(1), expected(2), expected(3)));
    for (path, status) in [("schema.graphql", StatusCode::MISDIRECTED_REQUEST), ("health/live", StatusCode::OK)] {
        let foreign =
            Request::get(format!("http://evil.example/{path}")).body(Full::default()).expect("it is a request");
        let response = client.requests.clone().send_request(foreign).await.expect("the server answers");
        assert_eq!(response.status(), status, "{path}");
    }
    let large = Request::get("http://localhost/").header("a", "b".repeat(17_000)).body(Full::default());
    let refused = client.requests.clone().send_request(large.expect("it is a request")).await;
    assert!(refused.is_err() || refused.is_ok_and(|response| response.status() == 431));
    server.stop().await;
    app.close().await;
}

#[tokio::test]
async fn connections_beyond_the_bound_wait() {
    let count = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counts = get(async move || (count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1).to_string());
    let server = Served::start(Router::new().route("/", counts), &["--max-connections", "1"]).await;
    let mut first = server.connect().await;
    assert_eq!(first.get("/").await.1, "1");
    let mut second = server.connect().await;
    second.send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    for n in 2..50 {
        assert_eq!(first.get("/").await.1, n.to_string());
    }
    drop(first);
    assert_eq!(second.answer().await.1, "50");
    drop(second);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_the_bound_are_turned_away() {
    let app = TestApp::new(TestDatabase::sqlite()).await;
    let server = Served::start(router_with(app.db.clone(), &["--max-requests", "2"]), &[]).await;
    let create = r#"mutation { createHero(input: {name: "A", secretName: "B"}) { hero { name } } }"#;
    let body = json!({"query": create}).to_string();
    let begun = async || {
        let mut client = server.connect().await;
        client.send(&graphql_head(body.len())).await;
        assert_eq!(client.answer().await, (100, String::new()));
        client
    };
    // A request whose body has not come is not worked on yet.
    let mut slow = begun().await;
    // The others wait for the only writer.
    let writing = app.db.write.begin().await.expect("a transaction");
    let mut running = Vec::new();
    let message = "the server has as many requests as it can work on; try again in a moment";
    let turned_away = (503, error("UNAVAILABLE", message));
    for _ in 0..2 {
        let (mut client, body, turned_away) = (begun().await, body.clone(), turned_away.clone());
        running.push(tokio::spawn(async move {
            loop {
                client.send(&body).await;
                let answer = client.answer().await;
                // The one that asks whether they run may be where it should be.
                if answer != turned_away {
                    return answer;
                }
                client.send(&graphql_head(body.len())).await;
                assert_eq!(client.answer().await, (100, String::new()));
            }
        }));
    }
    let mut client = server.connect().await;
    // Until both are being worked on, this one may be.
    until(async || client.get("/graphql?query={__typename}").await == turned_away).await;
    slow.send(&body).await;
    assert_eq!(slow.answer().await, turned_away);
    assert_eq!(client.get("/health/live").await, (200, "live".to_owned()));
    drop(writing);
    for answer in running {
        let created = (200, r#"{"data":{"createHero":{"hero":{"name":"A"}}}}"#.to_owned());
        assert_eq!(answer.await.expect("it is answered"), created);
    }
    assert_eq!(client.get("/graphql?query={__typename}").await.0, 200);
    drop((slow, client));
    server.stop().await;
    app.close().await;
}

#[tokio::test]
async fn a_request_has_one_host() {
    let routes = small().route("/health/live", get("live"));
    let server = Served::start(
        http::with_layers(routes, &settings(&["--allowed-host", "heroes.example."]), Telemetry::default()),
        &[],
    )
    .await;
    let unclear = (400, error("BAD_USER_INPUT", "a request must have one header Host, with a host and perhaps a port"));
    let misdirected = |host: &str| {
        let message = format!(
            "this server does not answer for the host {host:?}; --allowed-host lets it answer for other names than \
             localhost"
        );
        (421, error("BAD_USER_INPUT", &message))
    };
    let (small, live) = ((200, "small".to_owned()), (200, "live".to_owned()));
    for (version, hosts, page, probe) in [
        ("1.1", "", &unclear, &unclear),
        ("1.1", "host: localhost\r\nhost: localhost\r\n", &unclear, &unclear),
        ("1.0", "host: localhost\r\nhost: localhost\r\n", &unclear, &unclear),
        ("1.1", "host: a b\r\n", &unclear, &unclear),
        ("1.1", "host: localhost/\r\n", &unclear, &unclear),
        ("1.1", "host: https://localhost\r\n", &unclear, &unclear),
        ("1.1", "host: x@localhost\r\n", &unclear, &unclear),
        ("1.1", "host: \u{e9}.example\r\n", &unclear, &unclear),
        ("1.1", "host: localhost\r\n", &small, &live),
        ("1.0", "", &small, &live),
        ("1.0", "host: localhost\r\n", &small, &live),
        // As probes send it who have no name to send.
        ("1.1", "host:\r\n", &small, &live),
        ("1.1", "host:  \t \r\n", &small, &live),
        ("1.1", "host: :8000\r\n", &small, &live),
        ("1.1", "host: heroes.example.\r\n", &small, &live),
        ("1.1", "host: HEROES.example:8000\r\n", &small, &live),
        ("1.1", "host: backend_1\r\n", &small, &live),
        ("1.1", "host: evil.example\r\n", &misdirected("evil.example"), &live),
        ("1.0", "host: evil.example.:80\r\n", &misdirected("evil.example.:80"), &live),
    ] {
        for (path, expected) in [("/", page), ("/health/live", probe)] {
            let mut client = server.connect().await;
            client.send(&format!("GET {path} HTTP/{version}\r\n{hosts}\r\n")).await;
            assert_eq!(client.answer().await, *expected, "{version} {hosts} {path}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_fault_leaves_its_connection_as_it_is() {
    let fails = Router::new().route("/panic", get(fails));
    let server =
        Served::start(http::with_layers(small().merge(fails), &settings(&[]), Telemetry::default()), &[]).await;
    let mut http1 = server.connect().await;
    let failed = (500, error("INTERNAL", "the server failed to do this; its log has the reason"));
    assert_eq!(http1.get("/panic").await, failed);
    assert_eq!(http1.get("/").await, (200, "small".to_owned()));
    drop(http1);
    let mut client = server.connect_http2(&http2::Builder::new(TokioExecutor::new())).await;
    assert_eq!(client.get("/panic").await, (StatusCode::INTERNAL_SERVER_ERROR, failed.1));
    assert_eq!(client.get("/").await, (StatusCode::OK, "small".to_owned()));
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn a_socket_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    let address = format!("unix:{}", path.display());
    let bind = async |path: &Path| Listener::bind(&ListenAddress::Unix(path.to_owned())).await.map(drop);

    // One that a killed server has left is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("the path is free"));
    assert!(path.exists());
    let server = Served::start(small(), &["--listen", &address]).await;
    assert_eq!(server.url, address);
    assert_eq!(path.metadata().expect("it is there").permissions().mode() & 0o777, 0o660);
    let mut client = Client::new(UnixStream::connect(&path).await.expect("the server accepts"));
    assert_eq!(client.get("/").await, (200, "small".to_owned()));

    // One that is in use is not, and neither is what is no socket.
    assert_eq!(bind(&path).await.map_err(|error| error.kind()), Err(std::io::ErrorKind::AddrInUse));
    let file = folder.path().join("file");
    std::fs::write(&file, "precious").expect("the folder is there");
    assert_eq!(bind(&file).await.map_err(|error| error.kind()), Err(std::io::ErrorKind::AddrInUse));
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "precious");

    assert_eq!(client.get("/").await, (200, "small".to_owned()));
    drop(client);
    server.stop().await;
    assert!(!path.exists());

    // A server that ends leaves alone what another has put in the place of its file.
    let server = Served::start(small(), &["--listen", &address]).await;
    std::fs::remove_file(&path).expect("it is there");
    let other = Served::start(small(), &["--listen", &address]).await;
    server.stop().await;
    let mut client = Client::new(UnixStream::connect(&path).await.expect("the other server accepts"));
    assert_eq!(client.get("/").await, (200, "small".to_owned()));
    drop(client);
    other.stop().await;
}

#[tokio::test]
async fn connections_that_have_not_been_accepted_are_answered_when_the_server_stops() {
    let settings = settings(&["--listen", "127.0.0.1:0"]);
    let listener = Listener::bind(&settings.listen).await.expect("a port is free");
    let url = listener.url().expect("it is bound");
    let mut clients = Vec::new();
    for n in 0..20 {
        let stream = TcpStream::connect(url.strip_prefix("http://").expect("it is one")).await;
        let mut client = Client::new(stream.expect("the system accepts"));
        // Some have said what they want, and some are about to.
        if n % 2 == 0 {
            client.send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        }
        clients.push(client);
    }
    // It is told to stop before it accepts anybody.
    let server = tokio::spawn(async move {
        serve_until(async {}, listener, small(), &settings, &Lifetime::default(), &Telemetry::default()).await
    });
    let (said, silent): (Vec<_>, Vec<_>) = clients.into_iter().enumerate().partition(|(n, _)| n % 2 == 0);
    let mut answered = Vec::new();
    for (_, mut client) in said {
        assert_eq!(client.answer().await, (200, "small".to_owned()));
        answered.push(client);
    }
    // Now it is stopping, and hears the others out for a moment.
    let mut asking = Vec::new();
    for (_, mut client) in silent {
        client.send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        asking.push(client);
    }
    for mut client in asking {
        assert_eq!(client.answer().await, (200, "small".to_owned()));
        answered.push(client);
    }
    for client in answered {
        client.closed().await;
    }
    server.await.expect("it does not panic").expect("it ends in order");
}

/// A server that is stopped while clients connect, each of whom is answered or refused.
async fn stopped_while_clients_connect() {
    let server = Served::start(small(), &[]).await;
    let address = server.url.strip_prefix("http://").expect("it is a TCP server").to_owned();
    let (begun, mut begins) = tokio::sync::mpsc::channel(1);
    let client = || {
        let (address, begun) = (address.clone(), begun.clone());
        tokio::spawn(async move {
            // Whoever cannot connect knows that nothing was done.
            while let Ok(stream) = TcpStream::connect(&address).await {
                assert_eq!(Client::new(stream).get("/").await, (200, "small".to_owned()));
                // Somebody has waited for it.
                let _ = begun.try_send(());
            }
        })
    };
    let clients: Vec<_> = std::iter::repeat_with(client).take(8).collect();
    begins.recv().await.expect("they run");
    server.stop().await;
    for client in clients {
        client.await.expect("each request is answered");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_has_connected_is_answered_when_the_server_stops() {
    let servers: Vec<_> = std::iter::repeat_with(|| tokio::spawn(stopped_while_clients_connect())).take(50).collect();
    for server in servers {
        server.await.expect("each request is answered");
    }
}
