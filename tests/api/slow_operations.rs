//! Slow operations in the log, comments in SQL, and the times that clients are told.

use axum::{
    body::Body,
    http::{Request, header::CONTENT_TYPE},
};
use hero_teams::{config::TelemetrySettings, db::Ran, server::Peer, telemetry::Telemetry};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use serde_json::{Value, json};
use std::time::Duration;
use tower::ServiceExt;

use crate::{
    databases::TestDatabase,
    logged::Log,
    support::{TestApp, until},
};

const LIST: &str = r#"query Slow { heroes(where: {name: {contains: "Nameless"}}) { id teams { id } } }"#;
const CREATE: &str = r#"mutation { createHero(input: {name: "Nameless", secretName: "Sesame",
    teams: {create: [{name: "T", headquarters: "H"}]}}) { hero { id } } }"#;

async fn app(database: TestDatabase, telemetry: TelemetrySettings) -> TestApp {
    TestApp::with(database, |settings| {
        settings.db.telemetry = Telemetry::new(&telemetry).expect("the settings are right");
    })
    .await
}

/// The fields of the lines with a message.
fn with_message(lines: &[Value], message: &str) -> Vec<Value> {
    let fields = lines.iter().map(|line| line["fields"].clone());
    fields.filter(|fields| fields["message"] == message).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_operation_is_warned_of_with_its_statements_and_a_plan() {
    for database in [Some(TestDatabase::sqlite()), TestDatabase::postgres_as_asked().await].into_iter().flatten() {
        let is_postgres = database.is_postgres();
        // Everything is slow.
        let (slow_operation, explain_slow) = (Duration::from_nanos(1), true);
        let telemetry = TelemetrySettings { slow_operation, explain_slow, ..TelemetrySettings::default() };
        let app = app(database, telemetry).await;
        let heard = Log::of_this_test();
        app.data(LIST, json!({})).await;
        app.data(CREATE, json!({})).await;
        app.data(LIST, json!({})).await;
        let mut lines = Vec::new();
        until(async || {
            lines.extend(heard.lines());
            !with_message(&lines, "the plan of a slow statement").is_empty()
        })
        .await;
        let slow = with_message(&lines, "a slow operation");
        assert_eq!(slow.len(), 3, "{slow:?}");
        assert_eq!(
            (&slow[2]["operation"], &slow[2]["ty"], &slow[2]["rows"]),
            (&json!("Slow"), &json!("query"), &json!(2))
        );
        assert_eq!(slow[2]["document"].as_str().map(str::len), Some(8));
        for time in ["ms", "check_ms", "execute_ms", "statement_ms"] {
            assert!(slow[2][time].is_f64(), "{slow:?}");
        }
        let statements = slow[2]["statements"].as_str().expect("it is text");
        // PostgreSQL cuts pages of links.
        let related = if is_postgres { "1 x SELECT hero_team_link " } else { "1 x SELECT team " };
        assert!(statements.contains("1 x SELECT hero ") && statements.contains(related), "{statements}");
        // One plan a minute.
        let plans = with_message(&lines, "the plan of a slow statement");
        assert_eq!(plans.len(), 1);
        let (sql, plan) = (plans[0]["sql"].as_str().expect("text"), plans[0]["plan"].as_str().expect("text"));
        assert!(sql.contains(r#"FROM "hero""#), "{sql}");
        assert!(plan.contains(if is_postgres { "cost=" } else { "SCAN" }), "{plan}");
        // Nothing of a value is in the log.
        let all = format!("{lines:?}");
        assert!(!all.contains("Nameless") && !all.contains("Sesame"), "{all}");
        app.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_slow_by_itself() {
    let app = app(TestDatabase::sqlite(), TelemetrySettings::default()).await;
    let heard = Log::of_this_test();
    app.data(LIST, json!({})).await;
    assert_eq!(with_message(&heard.lines(), "a slow operation"), Vec::<Value>::new());
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_end_with_the_operation_if_that_is_asked_for() {
    let Some(database) = TestDatabase::postgres().await else { return };
    let telemetry = TelemetrySettings { sql_comments: true, metrics_operations: 1, ..TelemetrySettings::default() };
    let app = app(database, telemetry).await;
    for (query, expected) in [
        ("query First { heroes { id } }", "'First'"),
        ("query Second { heroes { id } }", "'other'"),
        ("{ heroes { id } }", "'none'"),
    ] {
        app.data(query, json!({})).await;
        // On a connection that did not run the statement.
        let sql = "SELECT COUNT(*) FROM pg_stat_activity WHERE query LIKE '%FROM \"hero\"% /*operation=";
        let sql = format!("{sql}{}*/'", expected.replace('\'', "''"));
        let found = app.db.write.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await;
        let found: Option<i64> = found.expect("it runs").and_then(|row| row.try_get_by_index(0).ok());
        assert_eq!(found, Some(1), "{query}");
    }
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_here_or_an_administrator_is_told_the_times() {
    let app = TestApp::with(TestDatabase::sqlite(), |settings| {
        settings.access = crate::support::config(&["--anonymous", "read"]).access;
    })
    .await;
    let timing = async |peer: Option<&str>, headers: &[(&str, &str)]| {
        let mut request = Request::post("/graphql").header(CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(json!({"query": LIST}).to_string())).expect("a request");

        if let Some(peer) = peer {
            request.extensions_mut().insert(Peer(peer.parse().expect("an address")));
        }
        let response = app.router.clone().oneshot(request).await.expect("it answers");
        response.headers().get("server-timing").map(|timing| timing.to_str().expect("it is text").to_owned())
    };
    let asked = ("x-hero-teams-timing", "1");
    let told = timing(Some("127.0.0.1"), &[asked]).await.expect("it is told");
    let parts: Vec<_> = told.split(", ").map(|part| part.split(";dur=").collect::<Vec<_>>()).collect();
    let names: Vec<_> = parts.iter().map(|part| part[0]).collect();
    assert_eq!(names, ["parse", "execute", "db"], "{told}");
    assert!(parts.iter().all(|part| part[1].parse::<f64>().is_ok()), "{told}");
    assert!(timing(None, &[asked]).await.is_some());
    for (peer, headers) in [
        (Some("127.0.0.1"), vec![]),
        (Some("192.0.2.7"), vec![asked]),
        (Some("127.0.0.1"), vec![asked, ("x-forwarded-for", "192.0.2.7")]),
        (Some("127.0.0.1"), vec![asked, ("forwarded", "for=192.0.2.7")]),
    ] {
        assert_eq!(timing(peer, &headers).await, None, "{headers:?}");
    }
    app.close().await;
}

/// A plan that PostgreSQL does not give leaves nothing in the session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_cannot_be_explained() {
    let Some(database) = TestDatabase::postgres_as_asked().await else { return };
    let app = TestApp::with(database, |settings| settings.db.read_connections = 1).await;
    let ran = |sql: &str| {
        let (number, time, rows) = (1, Duration::ZERO, 0);
        Ran { sql: sql.into(), types: Vec::new(), number, time, rows }
    };
    for (sql, is_explained) in [
        ("SELECT 1", true),
        // It is prepared, and cannot be executed without a value.
        ("SELECT $1::int", false),
        ("SELECT nothing", false),
        ("SELECT 2", true),
    ] {
        let explained = app.db.explain(&ran(sql)).await;
        assert_eq!(explained.is_ok(), is_explained, "{sql}: {explained:?}");
        assert_eq!(
            app.count("SELECT COUNT(*) FROM pg_prepared_statements WHERE name LIKE 'explain%'").await,
            0,
            "{sql}"
        );
    }
    app.close().await;
}
