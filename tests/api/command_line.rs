//! The binary, from outside.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, mpsc},
    time::Duration,
};

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::databases::TestDatabase;

/// As much time as a busy machine may need, where a flag does not say how much. Nothing is said of a statement that takes
/// long.
const TIMES: [(&str, &str); 6] = [
    ("HERO_TEAMS_ACQUIRE_TIMEOUT", "60"),
    ("HERO_TEAMS_BODY_TIMEOUT", "600"),
    ("HERO_TEAMS_REQUEST_TIMEOUT", "600"),
    ("HERO_TEAMS_SHUTDOWN_TIMEOUT", "60"),
    ("HERO_TEAMS_SLOW_STATEMENT", "0"),
    ("HERO_TEAMS_STATEMENT_TIMEOUT", "60"),
];

/// The program, without the settings that the tests were started with.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hero-teams"));
    for (name, _) in std::env::vars_os() {
        if ["HERO_TEAMS_", "OTEL_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.args(arguments).current_dir(folder).env_remove("DATABASE_URL").envs(TIMES);
    command
}

/// The same program, with SIGHUP as it is by default, although whoever has started the tests may have it ignored.
pub fn hearing_hangups(command: &Command) -> Command {
    after(&["env", "--default-signal=HUP"], command)
}

/// A program that becomes that of a command.
fn after(first: &[&str], command: &Command) -> Command {
    let mut program = Command::new(first[0]);
    program.args(&first[1..]).arg(command.get_program()).args(command.get_args());
    program.current_dir(command.get_current_dir().expect("a folder"));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => program.env(name, value),
            None => program.env_remove(name),
        };
    }
    program
}

pub fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().expect("the binary runs")
}

pub fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("it is text")
}

/// The one line with which a program ends that cannot do what it was asked.
pub fn refusal(output: &Output) -> String {
    ended_with(output, 1)
}

/// The one line with which a program ends when a setting is wrong, without the hint at its end.
pub fn wrong_setting(output: &Output) -> String {
    let said = ended_with(output, 2);
    said.strip_suffix(" (see --help)").expect("the help is named").to_owned()
}

fn ended_with(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let said = String::from_utf8(output.stderr.clone()).expect("it is text");
    let is_log = |line: &str| ["INFO", "WARN"].iter().any(|level| line.contains(level));
    let errors: Vec<_> = said.lines().filter(|line| !is_log(line)).collect();
    assert_eq!(errors.len(), 1, "{said}");
    errors[0].to_owned()
}

/// A running server, killed when the test ends.
pub struct Server {
    child: Child,
    address: String,
    log: Mutex<mpsc::Receiver<String>>,
}

impl Server {
    pub fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::listen(folder, &[arguments, &["--listen", "127.0.0.1:0"]].concat())
    }

    /// Starts a server where the arguments say.
    fn listen(folder: &Path, arguments: &[&str]) -> Self {
        Self::spawn(command(folder, arguments))
    }

    /// Starts a server that says where it listens.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary runs");
        let log = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut lines = log.lines().map_while(Result::ok);
        let mut said = Vec::new();
        let address = lines.by_ref().find_map(|line| {
            // In JSON there is more on the line.
            let address = line.split_once("listening on ").and_then(|(_, address)| {
                let address = address.strip_prefix("http://").unwrap_or(address);
                Some(address.split(['"', '\u{1b}']).next()?.trim().to_owned())
            });
            said.push(line);
            address
        });
        let Some(address) = address else {
            let ended = child.wait().expect("it is waited for");
            panic!("the server does not listen: {ended}\n{}", said.join("\n"));
        };
        // What else it says is read, so that it never waits for somebody to read it.
        let (lines_read, log) = mpsc::channel();
        std::thread::spawn(move || lines.for_each(|line| drop(lines_read.send(line))));
        Self { child, address, log: Mutex::new(log) }
    }

    /// The next line of the log that has these words.
    pub fn logged(&self, words: &[&str]) -> String {
        let log = self.log.lock().expect("no test has panicked");
        let line = || log.recv_timeout(Duration::from_mins(5)).expect("the server goes on, and says it");
        std::iter::repeat_with(line).find(|line| words.iter().all(|word| line.contains(word))).expect("it has no end")
    }

    /// Whether one of the lines that the log has got has these words. They are read then.
    pub fn has_logged(&self, words: &[&str]) -> bool {
        let log = self.log.lock().expect("no test has panicked");
        log.try_iter().any(|line| words.iter().all(|word| line.contains(word)))
    }

    /// Stops the server, and waits until it has ended in order.
    pub async fn stopped(self) {
        self.signal("-TERM");
        self.ended().await;
    }

    /// Waits until the server has ended in order.
    async fn ended(mut self) {
        let status = tokio::task::spawn_blocking(move || self.child.wait()).await.expect("it is waited for");
        assert_eq!(status.expect("it ended").code(), Some(0));
    }

    pub async fn graphql(&self, query: &str, variables: Value) -> Option<Value> {
        let body = json!({"query": query, "variables": variables}).to_string();
        let (status, body) = self.request("POST", "/graphql", &body).await?;
        assert_eq!(status, StatusCode::OK, "{body}");
        serde_json::from_str(&body).ok()
    }

    pub async fn request(&self, method: &str, path: &str, body: &str) -> Option<(StatusCode, String)> {
        self.request_with(method, path, "", body).await
    }

    /// With further lines of the head, each with its end.
    pub async fn request_with(
        &self,
        method: &str,
        path: &str,
        lines: &str,
        body: &str,
    ) -> Option<(StatusCode, String)> {
        request_at(&self.address, method, path, lines, body).await
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }
}

/// The status and the body of the answer to a request, whose head has further lines, each with its end.
pub async fn request_at(
    address: &str,
    method: &str,
    path: &str,
    lines: &str,
    body: &str,
) -> Option<(StatusCode, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: \
         application/json\r\ncontent-length: {}\r\n{lines}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(body.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_schema_is_printed_without_a_database() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(stdout(&run(folder.path(), &["schema"])), include_str!("../../schema.graphql"));
    assert_eq!(folder.path().read_dir().expect("it is there").count(), 0);
}

#[test]
fn each_setting_is_documented() {
    let folder = tempfile::tempdir().expect("a folder");
    let help = stdout(&run(folder.path(), &["--help"]));
    for setting in [
        "--listen",
        "--no-migrate",
        "--insecure",
        "--allowed-host",
        "--cors-origin",
        "--shutdown-timeout",
        "--header-timeout",
        "--idle-timeout",
        "--body-timeout",
        "--request-timeout",
        "--write-timeout",
        "--max-body-bytes",
        "--max-requests",
        "--max-connections",
        "--database-url",
        "--max-tokens",
        "--max-depth",
        "--max-fields",
        "--max-aliases",
        "--max-root-fields",
        "--max-directives",
        "--max-rows",
        "--max-answer-bytes",
        "--document-cache",
        "--max-batch",
        "--no-introspection",
        "--no-suggestions",
        "--read-connections",
        "--write-connections",
        "--acquire-timeout",
        "--statement-timeout",
        "--slow-statement",
        "--log-sql",
        "--log-level",
        "--log-format",
        "DATABASE_URL",
        "HERO_TEAMS_LISTEN=",
        "127.0.0.1:8000",
        "sqlite://hero-teams.db",
        "serve",
        "migrate",
        "seed",
        "schema",
    ] {
        assert!(help.contains(setting), "{setting} is not in {help}");
    }
}

#[test]
fn seeding_needs_no_settings_and_changes_nothing_the_second_time() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(stdout(&run(folder.path(), &["seed"])), "3 heroes created\n");
    assert!(folder.path().join("hero-teams.db").exists());
    assert_eq!(stdout(&run(folder.path(), &["seed"])), "0 heroes created\n");
}

#[test]
fn what_cannot_be_done_ends_with_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = |arguments: &[&str]| run(folder.path(), arguments);
    let run = |arguments: &[&str]| refusal(&output(arguments));

    let refused = run(&["--database-url", "postgres://127.0.0.1:1/x", "--acquire-timeout", "1", "migrate"]);
    assert!(refused.starts_with("error: cannot open the database: "), "{refused}");
    let refused = run(&["--database-url", "sqlite:///no/such/folder/x.db", "migrate"]);
    assert!(refused.starts_with("error: cannot open the database: "), "{refused}");

    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    let refused = run(&["--listen", &address]);
    assert_eq!(refused, format!("error: cannot listen on {address}: Address already in use (os error 98)"));

    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let refused = wrong_setting(&output(&["--listen", address]));
        let reason = "there is no authentication, so whoever reaches that address could read and write everything";
        let remedy = "set --api-keys, --jwt-issuer, --jwks or --jwt-secret-file, listen on 127.0.0.1 or unix:PATH, or \
                      say --insecure";
        assert_eq!(refused, format!("error: cannot listen on {address}: {reason}; {remedy}"));
    }
    drop(Server::listen(folder.path(), &["--listen", "0.0.0.0:0", "--insecure"]));

    let refused = run(&["--listen", "unix:/no/such/folder/s"]);
    assert_eq!(refused, "error: cannot listen on unix:/no/such/folder/s: No such file or directory (os error 2)");
    let server = Server::listen(folder.path(), &["--listen", "unix:s"]);
    assert_eq!(run(&["--listen", "unix:s"]), "error: cannot listen on unix:s: Address already in use (os error 98)");
    assert_eq!(server.address, format!("unix:{}", folder.path().join("s").display()));
    drop(server);

    let refused = run(&["--no-migrate", "--listen", "127.0.0.1:0", "--database-url", "sqlite://new.db"]);
    assert!(
        refused.starts_with("error: the database is outdated: run the command `migrate` or leave out"),
        "{refused}"
    );
    stdout(&super::command_line::run(folder.path(), &["migrate", "--database-url", "sqlite://new.db"]));
    drop(Server::start(folder.path(), &["--no-migrate", "--database-url", "sqlite://new.db"]));
}

#[test]
fn files_are_called_what_the_url_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    for (url, file) in [
        ("sqlite://a b.db".to_owned(), path("a b.db")),
        ("sqlite:c#d.db".to_owned(), path("c#d.db")),
        ("sqlite://e%20f.db?mode=rwc".to_owned(), path("e f.db")),
        (format!("sqlite://{}", path("g.db").display()), path("g.db")),
    ] {
        assert_eq!(stdout(&run(folder.path(), &["--database-url", &url, "seed"])), "3 heroes created\n", "{url}");
        assert!(file.exists(), "{url}");
        assert_eq!(stdout(&run(folder.path(), &["--database-url", &url, "seed"])), "0 heroes created\n", "{url}");
    }
}

#[test]
fn wrong_settings_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    for (arguments, hint) in [
        (["--listen", "nowhere"], "--listen"),
        (["--listen", "unix:"], "--listen"),
        (["--header-timeout", "0"], "--header-timeout"),
        (["--max-requests", "0"], "--max-requests"),
        (["--read-connections", "0"], "--read-connections"),
        (["--log-level", "loud"], "--log-level"),
        (["--shutdown-timeout", "soon"], "--shutdown-timeout"),
    ] {
        let output = run(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8(output.stderr).expect("it is text");
        assert!(said.contains(hint) && said.starts_with("error: ") && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn what_no_request_can_match_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = |arguments: &[&str]| {
        let output = run(folder.path(), &[arguments, &["schema"]].concat());
        (output.status.code(), String::from_utf8(output.stderr).expect("it is text"))
    };
    let wildcard = "a wildcard is not supported: list each";
    let name = |meant| format!("a name is expected, without scheme, user, port and path, such as {meant}");
    let origin = "an origin is expected, such as https://example.org or http://localhost:3000".to_owned();
    let alone = |meant| format!("an origin is expected, with nothing but scheme, host and port, such as {meant}");
    for (flag, value, reason) in [
        ("--allowed-host", "https://example.com", name("example.com")),
        ("--allowed-host", "example.com:443", name("example.com")),
        ("--allowed-host", "https://u:p@Example.com:8443/a?b#c", name("example.com")),
        ("--allowed-host", "example.com/", name("example.com")),
        ("--allowed-host", "user@example.com", name("example.com")),
        ("--allowed-host", "[::1]:8000", name("[::1]")),
        ("--allowed-host", "example.com..", name("heroes.example.com")),
        ("--allowed-host", ".example.com", name("heroes.example.com")),
        ("--allowed-host", "a b", name("heroes.example.com")),
        ("--allowed-host", "127.1", "an address is expected as browsers send it: 127.0.0.1".to_owned()),
        ("--allowed-host", "1;2", name("heroes.example.com")),
        ("--allowed-host", "a-.example.com", name("heroes.example.com")),
        ("--allowed-host", "fe80::1%eth0", name("heroes.example.com")),
        ("--allowed-host", "", name("heroes.example.com")),
        ("--allowed-host", ".", name("heroes.example.com")),
        ("--allowed-host", "*", format!("{wildcard} name, such as heroes.example.com")),
        ("--allowed-host", "*.example.com", format!("{wildcard} name, such as heroes.example.com")),
        ("--cors-origin", "*", format!("{wildcard} origin, such as https://example.org")),
        ("--cors-origin", "https://*.a.example", format!("{wildcard} origin, such as https://example.org")),
        ("--cors-origin", "a.example", origin.clone()),
        ("--cors-origin", "localhost:3000", origin.clone()),
        ("--cors-origin", "null", origin.clone()),
        ("--cors-origin", "", origin.clone()),
        ("--cors-origin", "https://", origin.clone()),
        ("--cors-origin", "file:///tmp", origin.clone()),
        ("--cors-origin", "https://a.example/app", alone("https://a.example")),
        ("--cors-origin", "https://u@A.example:443", alone("https://a.example")),
        ("--cors-origin", "http://a.example:8080?x", alone("http://a.example:8080")),
        ("--cors-origin", "https://a.example/#x", alone("https://a.example")),
    ] {
        let error = format!("error: {flag}: {reason} (see --help)\n");
        assert_eq!(said(&[flag, value]), (Some(2), error));
    }
    for arguments in [
        ["--allowed-host", "example.com.,EXAMPLE.com, b\u{fc}cher.example ,a_b.example,localhost,10.0.0.1,::1,[::1]"],
        ["--cors-origin", "https://A.example/,http://localhost:3000, https://b\u{fc}cher.example:443 ,http://[::1]:80"],
    ] {
        assert_eq!(said(&arguments), (Some(0), String::new()));
    }
}

#[test]
fn slow_statements_are_warned_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let warnings = |threshold: &str| {
        let output = run(folder.path(), &["seed", "--slow-statement", threshold, "--log-level", "warn"]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).expect("it is text")
    };
    assert_eq!(warnings("0"), "");
    assert_eq!(warnings("86400"), "");
    let warnings = warnings("0.000000001");
    let first = warnings.lines().next().expect("every statement is slow");
    assert!(first.contains(" WARN ") && first.contains("a slow statement milliseconds="), "{first}");
    // The text has no values.
    assert!(first.contains("FROM json_each(?)") && !warnings.contains("Deadpond"), "{warnings}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_stopped_finishes_what_is_running() {
    let folder = tempfile::tempdir().expect("a folder");
    for signal in ["-TERM", "-INT", "-HUP"] {
        let command = command(folder.path(), &["--log-format", "json", "--listen", "127.0.0.1:0"]);
        let server = Server::spawn(hearing_hangups(&command));
        // Half a request is running work: the server has accepted it and waits for the rest.
        let mut stream = TcpStream::connect(&server.address).await.expect("the server accepts");
        let body =
            json!({"query": r#"mutation { createHero(input: {name: "A", secretName: "B"}) { hero { name } } }"#});
        let body = body.to_string();
        let head = format!(
            "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: \
             {}\r\nexpect: 100-continue\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.expect("the head is sent");
        let mut answer = [0; 25];
        stream.read_exact(&mut answer).await.expect("the server is ready for the body");
        assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
        server.signal(signal);
        // The listener closes first.
        crate::support::until(async || TcpStream::connect(&server.address).await.is_err()).await;
        stream.write_all(body.as_bytes()).await.expect("the body is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("the answer comes");
        assert!(answer.ends_with(r#"{"data":{"createHero":{"hero":{"name":"A"}}}}"#), "{answer}");
        drop(stream);
        server.ended().await;
    }
    // The write-ahead log is folded into the file when the server has ended in peace.
    let files: Vec<_> = folder.path().read_dir().expect("it is there").flatten().map(|file| file.file_name()).collect();
    assert_eq!(files, ["hero-teams.db"]);
}

/// As `nohup` starts it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_started_without_sighup_goes_on_after_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let command = command(folder.path(), &["--listen", "127.0.0.1:0"]);
    let server = Server::spawn(after(&["sh", "-c", r#"trap "" HUP; exec "$0" "$@""#], &command));
    server.signal("-HUP");
    for _ in 0..50 {
        let answer = server.graphql("{ __typename }", json!({})).await.expect("it answers");
        assert_eq!(answer, json!({"data": {"__typename": "Query"}}));
    }
    assert!(!server.has_logged(&["stopping"]));
    server.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_stopped_loses_no_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    for keeps_connections in [true, false] {
        let database = format!("sqlite://{keeps_connections}.db");
        let server = Server::start(folder.path(), &["--database-url", &database]);
        let (answers, mut answered) = tokio::sync::mpsc::unbounded_channel();
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..16 {
            clients.spawn(create_heroes(server.address.clone(), keeps_connections, answers.clone()));
        }
        drop(answers);
        // In the middle of it, whenever that is.
        for _ in 0..100 {
            answered.recv().await.expect("the clients go on");
        }
        server.signal("-TERM");
        let mut count = 100;
        while answered.recv().await.is_some() {
            count += 1;
        }
        clients.join_all().await;
        server.ended().await;
        let db = crate::support::connect(&format!("sqlite://{}/{keeps_connections}.db", folder.path().display())).await;
        let query = json!({"query": "{ teams { heroCount } }"}).to_string();
        let router = crate::support::router(db.clone());
        let response = crate::support::post(&router, "application/json", query).await;
        let expected = json!({"data": {"teams": [{"heroCount": count}]}});
        assert_eq!(crate::support::json_body(response).await, expected, "what was done was answered");
        db.close().await.expect("the database closes");
    }
}

/// Creates heroes until the server does not take a request, and tells of each that it has answered.
async fn create_heroes(address: String, keeps_connections: bool, answers: tokio::sync::mpsc::UnboundedSender<()>) {
    let query = r#"mutation { createHero(input: {name: "A", secretName: "B",
        teams: {connectOrCreate: [{name: "T", headquarters: "H"}]}}) { hero { name } } }"#;
    let body = json!({"query": query}).to_string();
    let head = "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let connection = if keeps_connections { "keep-alive" } else { "close" };
    let request = format!("{head}connection: {connection}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let expected = r#"{"data":{"createHero":{"hero":{"name":"A"}}}}"#;
    while let Ok(mut stream) = TcpStream::connect(&address).await {
        loop {
            if stream.write_all(request.as_bytes()).await.is_err() {
                break;
            }
            let mut answer = Vec::new();
            while !is_whole(&answer) {
                match stream.read_buf(&mut answer).await {
                    Ok(1..) => {}
                    // A server that closes has either answered or not looked.
                    _ => break,
                }
            }
            if answer.is_empty() {
                break;
            }
            let answer = String::from_utf8(answer).expect("it is text");
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(expected), "{answer}");
            answers.send(()).expect("the test goes on");
            if answer.contains("connection: close") {
                break;
            }
        }
    }
}

/// Whether an answer has come to its end, whatever it says.
fn is_whole(answer: &[u8]) -> bool {
    let answer = String::from_utf8_lossy(answer);
    answer.split_once("\r\n\r\n").is_some_and(|(head, body)| {
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        length == Some(body.len())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_has_a_line_for_each_request_and_the_id_in_all_of_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &["--log-format", "json", "--log-sql"]);
    let body = json!({"query": r#"mutation { createHero(input: {name: "A", secretName: "B"}) { hero { name } } }"#});
    let body = body.to_string();
    let mut stream = TcpStream::connect(&server.address).await.expect("the server accepts");
    let head = format!(
        "POST /graphql?secret HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-request-id: the-id\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("the head is sent");
    stream.write_all(body.as_bytes()).await.expect("the body is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the answer comes");
    assert!(answer.contains("x-request-id: the-id"), "{answer}");

    let written: Value = serde_json::from_str(&server.logged(&["INSERT INTO"])).expect("it is JSON");
    assert_eq!(written["span"], json!({"name": "request", "id": "the-id"}));
    let line = server.logged(&["answered"]);
    let line: Value = serde_json::from_str(&line).expect("it is JSON");
    assert_eq!(line["level"], "INFO");
    assert_eq!((&line["span"], line.get("spans")), (&json!({"name": "request", "id": "the-id"}), None));
    assert!(line["fields"]["ms"].is_f64(), "{line}");
    for (field, value) in [("method", json!("POST")), ("path", json!("/graphql")), ("status", json!(200))] {
        assert_eq!(line["fields"][field], value);
    }
    // A probe is no news.
    server.request("GET", "/health/live", "").await.expect("an answer");
    server.request("GET", "/nothing", "").await.expect("an answer");
    let line: Value = serde_json::from_str(&server.logged(&["answered"])).expect("it is JSON");
    assert_eq!(line["fields"]["path"], "/nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_does_not_end_is_cut_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &["--shutdown-timeout", "0.2"]);
    let mut stream = TcpStream::connect(&server.address).await.expect("the server accepts");
    stream
        .write_all(
            b"POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: \
                     100\r\nexpect: 100-continue\r\n\r\n",
        )
        .await
        .expect("the head is sent");
    let mut answer = [0; 25];
    stream.read_exact(&mut answer).await.expect("the server is ready for the body");
    server.signal("-TERM");
    server.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_leaves_whole_writes_only() {
    let Some(postgres) = TestDatabase::postgres().await else { return };
    for database in [TestDatabase::sqlite(), postgres] {
        let folder = tempfile::tempdir().expect("a folder");
        let query = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { heroes { id } } }";
        let mut answered = 0;
        for round in 0..6 {
            let server = Server::start(folder.path(), &["--database-url", &database.url]);
            let hero = |hero: usize| {
                json!({"name": format!("{round} {hero}"), "secretName": "S", "teams": {
                    "connectOrCreate": [{"name": format!("T {}", hero % 3), "headquarters": "H"}],
                    "create": [{"name": "New", "headquarters": "H"}]}})
            };
            let input: Vec<_> = (0..200).map(hero).collect();
            // The kill comes at some point of the third write.
            for _ in 0..2 {
                answered += i64::from(server.graphql(query, json!({"input": input})).await.is_some());
            }
            let last = async { i64::from(server.graphql(query, json!({"input": input})).await.is_some()) };
            let kill = async {
                for _ in 0..round * 40 {
                    tokio::task::yield_now().await;
                }
                server.signal("-KILL");
            };
            answered += tokio::join!(last, kill).0;
        }
        let server = Server::start(folder.path(), &["--database-url", &database.url]);
        let (status, body) = server.request("GET", "/health/ready", "").await.expect("an answer");
        assert_eq!((status, body.as_str()), (StatusCode::OK, "ready"));
        let app = crate::support::TestApp::new(database).await;
        let [heroes, teams, links] = app.counts().await;
        assert_eq!(heroes % 200, 0, "a write is whole or absent");
        assert!(heroes / 200 >= answered, "what was answered is there: {heroes} heroes, {answered} answers");
        assert_eq!((teams, links), (heroes + 3, heroes * 2));
        drop(server);
        app.close().await;
    }
}
