//! A log, and an output, that cannot be written or that nobody reads: what is said is lost, and nothing else.

use std::{
    fs::{self, File},
    future::ready,
    io::{BufRead, BufReader},
    path::Path,
    pin::pin,
    process::{Child, Command, ExitStatus, Stdio},
};

use axum::http::{
    HeaderValue,
    header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL},
};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    task::spawn_blocking,
};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message as Frame, client::IntoClientRequest as _},
};

use crate::{command_line::command, databases::TestDatabase, support::until};

const CREATE: &str = r#"mutation { createHero(input: {name: "A", secretName: "B"}) { hero { name } } }"#;
const BINARY: &str = env!("CARGO_BIN_EXE_hero-teams");

/// An output that is always full.
fn full() -> File {
    File::options().write(true).open("/dev/full").expect("Linux has it")
}

/// The end of a pipe whose reader has gone.
fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

/// A server on a socket file, because its log may not say where it listens. It is killed when the test ends.
struct Server(Child);

impl Server {
    fn start(folder: &Path, arguments: &[&str], log: impl Into<Stdio>) -> Self {
        let mut command = command(folder, &[arguments, &["--listen", "unix:socket"]].concat());
        Self(command.stderr(log).spawn().expect("the binary runs"))
    }

    async fn stop(mut self) -> ExitStatus {
        let status = Command::new("kill").arg(self.0.id().to_string()).status().expect("kill runs");
        assert!(status.success());
        spawn_blocking(move || self.0.wait()).await.expect("it is waited for").expect("it ends")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn graphql(folder: &Path, query: &str) -> Value {
    graphql_with(folder, query, json!({})).await
}

async fn graphql_with(folder: &Path, query: &str, variables: Value) -> Value {
    let mut stream = None;
    until(async || {
        stream = UnixStream::connect(folder.join("socket")).await.ok();
        stream.is_some()
    })
    .await;
    let mut stream = stream.expect("the server accepts");
    let body = json!({"query": query, "variables": variables}).to_string();
    let head = "POST /graphql HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json";
    let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.expect("the request is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the answer arrives");
    let (_, body) = answer.split_once("\r\n\r\n").expect("it has a body");
    serde_json::from_str(body).expect("it is JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_be_written_is_no_reason_to_fail() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let created = json!({"data": {"createHero": {"hero": {"name": "A"}}}});
    let outputs: [fn() -> Stdio; 2] = [|| full().into(), unread];
    for output in outputs {
        let server = Server::start(folder, &["--log-level", "debug", "--log-sql"], output());
        for _ in 0..3 {
            assert_eq!(graphql(folder, CREATE).await, created);
        }
        assert_eq!(server.stop().await.code(), Some(0));
    }
    // The reader goes while the server runs.
    let mut server = Server::start(folder, &[], Stdio::piped());
    assert_eq!(graphql(folder, CREATE).await, created);
    drop(server.0.stderr.take());
    for _ in 0..3 {
        assert_eq!(graphql(folder, CREATE).await, created);
    }
    assert_eq!(server.stop().await.code(), Some(0));
    // An output that is closed from the start.
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"exec "$0" --listen unix:socket 2>&- >&- <&-"#, BINARY]).env_remove("DATABASE_URL");
    let server = Server(shell.current_dir(folder).spawn().expect("the binary runs"));
    assert_eq!(graphql(folder, CREATE).await, created);
    assert_eq!(server.stop().await.code(), Some(0));
}

/// What libraries say of themselves at the level `trace` is no reason to write secrets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_level_writes_secrets() {
    const SECRETS: [&str; 4] = ["hunter2", "of-a-variable", "of-a-literal", "of-a-credential"];
    for database in [Some(TestDatabase::sqlite()), TestDatabase::empty_postgres().await].into_iter().flatten() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let log = File::create(folder.join("log")).expect("a file");
        // No password is asked for here.
        let url = database.url.replacen("@localhost", ":hunter2@localhost", 1);
        assert_eq!(url.contains("hunter2"), url.starts_with("postgres"));
        let flags = ["--log-level", "trace", "--log-sql", "--database-url", &url, "--api-keys", "--anonymous", "write"];
        let server = Server::start(folder, &flags, log);
        let query = "mutation($s: String!) { createHero(input: {name: \"of-a-literal\", secretName: $s}) {
            hero { name secretName } } }";
        let variables = json!({"s": "of-a-variable"});
        let answer = graphql_with(folder, query, variables.clone()).await;
        assert_eq!(answer["errors"][0]["extensions"]["requires"], json!("read:secrets"), "{answer}");
        let mut request = "ws://localhost/graphql".into_client_request().expect("it is a request");
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("graphql-transport-ws"));
        let stream = UnixStream::connect(folder.join("socket")).await.expect("it accepts");
        let (mut socket, _) = client_async(request, stream).await.expect("it is upgraded");
        let query = query.replace("secretName }", "}");
        let subscribe = json!({"type": "subscribe", "id": "1", "payload": {"query": query, "variables": variables}});
        for (message, answer) in [(json!({"type": "connection_init"}), "connection_ack"), (subscribe, "complete")] {
            socket.send(Frame::text(message.to_string())).await.expect("it is sent");
            let received = socket.by_ref().map(|message| message.expect("it is read").to_string());
            let mut received = pin!(received.filter(|message| ready(message.contains("\"type\""))));
            let mut last = String::new();
            while !last.contains(answer) {
                assert!(!last.contains("error"), "{last}");
                last = received.next().await.expect("it goes on");
            }
        }
        drop(socket);
        // A credential that is not accepted: of a request, of an upgrade, and of what comes after it.
        let mut stream = UnixStream::connect(folder.join("socket")).await.expect("it accepts");
        let head = "POST /graphql HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n";
        stream.write_all(format!("{head}x-api-key: of-a-credential\r\n\r\n").as_bytes()).await.expect("it is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("the answer arrives");
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        let mut request = "ws://localhost/graphql".into_client_request().expect("it is a request");
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("graphql-transport-ws"));
        let mut with_credential = request.clone();
        with_credential.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static("Bearer of-a-credential"));
        let stream = UnixStream::connect(folder.join("socket")).await.expect("it accepts");
        assert!(client_async(with_credential, stream).await.is_err());
        let stream = UnixStream::connect(folder.join("socket")).await.expect("it accepts");
        let (mut socket, _) = client_async(request, stream).await.expect("it is upgraded");
        let init = json!({"type": "connection_init", "payload": {"Authorization": "Bearer of-a-credential"}});
        socket.send(Frame::text(init.to_string())).await.expect("it is sent");
        assert!(matches!(socket.next().await, Some(Ok(Frame::Close(Some(_))))));
        assert_eq!(server.stop().await.code(), Some(0));
        let log = fs::read_to_string(folder.join("log")).expect("it is text");
        assert!(log.contains("INSERT INTO"), "{log}");
        for secret in SECRETS {
            let line = log.lines().find(|line| line.contains(secret));
            assert_eq!(line, None);
        }
        database.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_of_text() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let log = File::create(folder.join("log")).expect("a file");
    let server = Server::start(folder, &[], log);
    let created = graphql(folder, CREATE).await;
    assert_eq!(created, json!({"data": {"createHero": {"hero": {"name": "A"}}}}));
    assert_eq!(server.stop().await.code(), Some(0));
    let log = fs::read_to_string(folder.join("log")).expect("it is text");
    let line = log.lines().find(|line| line.contains("answered")).expect("there is a line");
    // What differs from run to run ends where it begins.
    let unsteady = ["ms=", "statement_ms=", "request{id=", "document="];
    let words = line.split(' ').skip(1).filter(|word| !word.is_empty());
    let words = words.map(|word| *unsteady.iter().find(|begin| word.starts_with(**begin)).unwrap_or(&word));
    assert_eq!(
        words.collect::<Vec<_>>().join(" "),
        "INFO request{id= hero_teams::http::log: answered method=POST path=\"/graphql\" status=200 ms= document= \
         rows=0 bytes=12 statements=2 statement_ms="
    );
}

/// Asks so much that its statements fill the log: some 100 KB of it for one request.
async fn ask(folder: &Path) {
    let fields: Vec<_> =
        (0..50).map(|alias| format!("a{alias}: heroes(where: $where, offset: {alias}) {{ id }}")).collect();
    let conditions: Vec<_> = (0..99).map(|age| json!({"age": {"eq": age}})).collect();
    let query = format!("query($where: HeroFilter) {{ {} }}", fields.join(" "));
    let answer = graphql_with(folder, &query, json!({"where": {"or": conditions}})).await;
    assert_eq!(answer["data"]["a49"], json!([]), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_nobody_reads_holds_up_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let arguments = ["--log-sql", "--log-format", "json"];
    let mut server = Server::start(folder, &arguments, Stdio::piped());
    // More than may wait.
    for _ in 0..30 {
        ask(folder).await;
    }
    // When somebody reads again the log goes on, and says what it has lost.
    let mut log = BufReader::new(server.0.stderr.take().expect("it is piped")).lines();
    let lost = log.find_map(|line| {
        let line: Value = serde_json::from_str(&line.expect("it is text")).expect("each line is whole");
        (line["fields"]["message"] == "lines of the log were lost").then_some(line)
    });
    let lost = lost.expect("the server goes on");
    assert_eq!(lost["level"], "WARN");
    assert!(lost["fields"]["lines"].as_u64().expect("a number") > 1, "{lost}");
    assert_eq!(graphql(folder, "{ heroes { name } }").await, json!({"data": {"heroes": []}}));
    assert!(log.any(|line| line.expect("it is text").contains(r#""message":"answered""#)), "the log goes on");
    // Nobody reads when the server is stopped, and the pipe is full.
    for _ in 0..3 {
        ask(folder).await;
    }
    assert_eq!(server.stop().await.code(), Some(0));
}

#[test]
fn an_output_that_cannot_be_written_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    for arguments in ["schema", "seed", "--help", "--version", "help"] {
        let mut command = command(folder.path(), &["--log-level", "warn", arguments]);
        let output = command.stdout(full()).output().expect("the binary runs");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            "error: cannot write to the standard output: No space left on device (os error 28)\n"
        );
        // Whoever read it has read enough.
        let output = command.stdout(unread()).output().expect("the binary runs");
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{arguments}");
    }
}

#[test]
fn a_refusal_that_cannot_be_written_is_a_refusal() {
    let folder = tempfile::tempdir().expect("a folder");
    let outputs: [fn() -> Stdio; 2] = [|| full().into(), unread];
    for (arguments, code) in [
        (&["--nonsense"][..], 2),
        (&["--max-rows", "none"], 2),
        (&["migrate", "--database-url", "sqlite:///no/such/folder/x.db"], 1),
        (&["--listen", "192.0.2.1:1"], 2),
        (&["--listen", "192.0.2.1:1", "--insecure"], 1),
    ] {
        for output in outputs {
            let status = command(folder.path(), arguments).stderr(output()).status();
            assert_eq!(status.expect("the binary runs").code(), Some(code), "{arguments:?}");
        }
    }
}
