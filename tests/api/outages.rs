//! Databases that cannot be reached or written for a while: what clients and `/health/ready` are told, and that all is
//! well afterwards without a restart.

use std::{path::Path, time::Duration};

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::{
    command_line::Server,
    databases::{TestDatabase, skip},
    line::Line,
    support::{TestApp, text_body, until},
};

const READ: &str = "{ heroes { name } }";
const CREATE: &str = r#"mutation { createHero(input: {name: "A", secretName: "B"}) { hero { name } } }"#;
pub const READY: (StatusCode, &str) = (StatusCode::OK, "ready");
pub const UNREADABLE: (StatusCode, &str) = (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer");
pub const UNWRITABLE: (StatusCode, &str) = (StatusCode::SERVICE_UNAVAILABLE, "the database cannot be written");

async fn readiness(app: &TestApp) -> (StatusCode, String) {
    let response = app.get("/health/ready").await;
    (response.status(), text_body(response).await)
}

pub async fn assert_ready(app: &TestApp, (status, text): (StatusCode, &str)) {
    assert_eq!(readiness(app).await, (status, text.to_owned()));
}

/// Waits until a probe is answered like this. A probe has two seconds, in which a busy machine may not open a
/// connection.
pub async fn until_ready(app: &TestApp, (status, text): (StatusCode, &str)) {
    until(async || readiness(app).await == (status, text.to_owned())).await;
}

pub fn code(answer: &Value) -> &Value {
    &answer["errors"][0]["extensions"]["code"]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_that_is_lost_while_serving() {
    let Some(mut database) = TestDatabase::postgres().await else { return };
    let Some(mut line) = Line::on(&mut database).await else { return };
    let app = TestApp::with(database, |settings| settings.db.acquire_timeout = Duration::from_secs(1)).await;
    app.data(CREATE, json!({})).await;
    for held in [false, true, false] {
        if held {
            line.hold().await;
        } else {
            line.cut().await;
        }
        // Each connection that was open may have a request to fail before it is known to be lost.
        for _ in 0..3 {
            let delete = "mutation { deleteHero(input: {id: 1}) { hero { name } } }";
            let answers = tokio::join!(app.graphql(READ), app.graphql(CREATE), app.graphql(delete));
            for answer in <[Value; 3]>::from(answers) {
                assert_eq!(*code(&answer), json!("UNAVAILABLE"), "{answer}");
            }
        }
        assert_ready(&app, UNREADABLE).await;
        line.mend().await;
        until_ready(&app, READY).await;
        let heroes = app.data(READ, json!({})).await;
        app.data(CREATE, json!({})).await;
        let more = app.data(READ, json!({})).await;
        assert_eq!(more["heroes"].as_array().map(Vec::len), heroes["heroes"].as_array().map(|heroes| heroes.len() + 1));
    }
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_that_may_only_be_read() {
    let Some(database) = TestDatabase::postgres().await else { return };
    let app = TestApp::with(database, |settings| {
        settings.db.read_connections = 1;
        settings.db.write_connections = 1;
    })
    .await;
    app.data(CREATE, json!({})).await;
    for (read_only, ready) in [("on", UNWRITABLE), ("off", READY), ("on", UNWRITABLE), ("off", READY)] {
        app.execute(&format!(
            "BEGIN READ WRITE; DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = {read_only}',
             current_database()); END $$; COMMIT"
        ))
        .await;
        // New connections have it. The old ones end, as they do when PostgreSQL becomes a replica.
        let others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        app.count(&format!("SELECT COUNT(pg_terminate_backend(pid, 60000)) {others}")).await;
        // The probe finds out that the connection has ended, or did so already.
        until_ready(&app, ready).await;
        let answer = app.graphql(CREATE).await;
        assert_eq!(*code(&answer), if read_only == "on" { json!("UNAVAILABLE") } else { Value::Null }, "{answer}");
        assert_ready(&app, ready).await;
    }
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_writer_is_ready() {
    let database = TestDatabase::sqlite();
    let app = TestApp::new(database).await;
    let writing = app.db.write.begin().await.expect("a transaction");
    assert_ready(&app, READY).await;
    drop(writing);
    app.data(CREATE, json!({})).await;
    app.close().await;
}

/// Whether a program is there.
fn is_there(program: &str) -> bool {
    std::process::Command::new(program).arg("--version").output().is_ok()
}

/// Bytes that a file of the server may have.
fn limit_files(server: &Server, bytes: &str) {
    let pid = server.pid().to_string();
    let limited =
        std::process::Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:unlimited")]).status();
    assert!(limited.expect("it runs").success());
}

pub async fn ready(server: &Server) -> (StatusCode, String) {
    server.request("GET", "/health/ready", "").await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_takes_no_more() {
    if !is_there("prlimit") {
        skip("prlimit is not installed");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    for _ in 0..2 {
        let created = server.graphql(CREATE, json!({})).await.expect("an answer");
        assert_eq!(created, json!({"data": {"createHero": {"hero": {"name": "A"}}}}));
        limit_files(&server, "0");
        // It is not known before a write has failed.
        assert_eq!(ready(&server).await, (READY.0, READY.1.to_owned()));
        for _ in 0..2 {
            let answer = server.graphql(CREATE, json!({})).await.expect("an answer");
            assert_eq!(*code(&answer), json!("UNAVAILABLE"), "{answer}");
            assert_eq!(ready(&server).await, (UNWRITABLE.0, UNWRITABLE.1.to_owned()));
            let answer = server.graphql(READ, json!({})).await.expect("an answer");
            assert_eq!(answer.get("errors"), None, "{answer}");
        }
        limit_files(&server, "unlimited");
        assert_eq!(ready(&server).await, (READY.0, READY.1.to_owned()));
    }
    let heroes = server.graphql(READ, json!({})).await.expect("an answer");
    assert_eq!(heroes, json!({"data": {"heroes": [{"name": "A"}, {"name": "A"}]}}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_may_only_be_read() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(Server::start(folder.path(), &[]));
    // Root may write whatever it likes, so the file is opened for reading only.
    let server = Server::start(folder.path(), &["--no-migrate", "--database-url", "sqlite://hero-teams.db?mode=ro"]);
    assert_eq!(ready(&server).await, (UNWRITABLE.0, UNWRITABLE.1.to_owned()));
    assert_eq!(server.graphql(READ, json!({})).await, Some(json!({"data": {"heroes": []}})));
    let answer = server.graphql(CREATE, json!({})).await.expect("an answer");
    assert_eq!(*code(&answer), json!("UNAVAILABLE"), "{answer}");
    drop(server);
    assert_leaves_the_database_alone(folder.path()).await;
}

/// A probe of a database that can be written leaves nothing in it.
async fn assert_leaves_the_database_alone(folder: &Path) {
    let server = Server::start(folder, &[]);
    let file = folder.join("hero-teams.db");
    let before = std::fs::read(&file).expect("it is there");
    for _ in 0..3 {
        assert_eq!(ready(&server).await, (READY.0, READY.1.to_owned()));
    }
    assert_eq!(std::fs::read(&file).expect("it is there"), before);
}
