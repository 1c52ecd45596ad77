//! What is between the server and PostgreSQL, and may drop what the server asks for when it opens a connection.

use std::{
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use hero_teams::db::Db;
use serde_json::json;

use crate::{
    command_line::{refusal, run},
    databases::TestDatabase,
    line::Line,
    outages::code,
    support::{TestApp, graphql},
};

const READ: &str = "{ heroes { name } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_do_not_arrive() {
    let Some(mut database) = TestDatabase::postgres().await else { return };
    let Some(line) = Line::on(&mut database).await else { return };
    let url = database.url.clone();
    let app = TestApp::new(database).await;
    app.data(READ, json!({})).await;

    // The server does not start.
    line.rules.drops_options.store(true, SeqCst);
    let folder = tempfile::tempdir().expect("a folder");
    let output = tokio::task::spawn_blocking(move || run(folder.path(), &["--database-url", &url])).await;
    let said = refusal(&output.expect("it runs"));
    let reason = "PostgreSQL does not do what was asked for when the connection was opened: statement_timeout is 0 \
                  and not 60000; a pooler that ignores the startup parameter `options` is not supported";
    assert!(said.contains(reason), "{said}");

    // One that has started serves with no connection that has less than the others.
    let end = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = 'DATABASE_NAME'";
    app.database.administrate(end).await;
    for _ in 0..2 {
        let answer = app.graphql(READ).await;
        assert_eq!(*code(&answer), json!("UNAVAILABLE"), "{answer}");
    }
    line.rules.drops_options.store(false, SeqCst);
    app.data(READ, json!({})).await;
    app.close().await;
}

/// What the server asks for may be what the database has anyway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connect_or_create_depends_on_no_option() {
    let Some(mut database) = TestDatabase::postgres().await else { return };
    let Some(line) = Line::on(&mut database).await else { return };
    for setting in ["statement_timeout = '1min'", "idle_in_transaction_session_timeout = '1min'"] {
        database.administrate(&format!("ALTER DATABASE DATABASE_NAME SET {setting}")).await;
    }
    line.rules.drops_options.store(true, SeqCst);
    let app = TestApp::new(database).await;
    for round in 0..10 {
        let query = "mutation($team: String!) { createHero(input: {name: \"A\", secretName: \"B\", teams: {
            connectOrCreate: [{name: $team, headquarters: \"H\"}]}}) { hero { teams { id } } } }";
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let router = app.router.clone();
                tokio::spawn(async move { graphql(&router, query, json!({"team": format!("T{round}")})).await })
            })
            .collect();
        for client in clients {
            let answer = client.await.expect("the client does not panic");
            assert_eq!(answer.get("errors"), None, "{answer}");
        }
        assert_eq!(app.counts().await, [8 * (round + 1), round + 1, 8 * (round + 1)]);
    }
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn round_trips() {
    let Some(mut database) = TestDatabase::postgres().await else { return };
    let Some(line) = Line::on(&mut database).await else { return };
    let app = TestApp::new(database).await;
    let create = r#"mutation { createHero(input: {name: "A", secretName: "B"}) { hero { name } } }"#;
    let find = r#"mutation { createHero(input: {name: "A", secretName: "B", teams: {connectOrCreate: [{name: "T", headquarters: "H"}]}}) { hero { name } } }"#;
    // BEGIN and COMMIT are a trip each, and so is each statement in between. One that stands alone has neither.
    for (query, trips) in [(find, 4 + 2), (create, 1), (READ, 1), ("{ heroes { name teams { name } } }", 2)] {
        // A statement is prepared when it comes for the first time, and there may be a team to make.
        for _ in 0..3 {
            app.data(query, json!({})).await;
        }
        let counted = loop {
            let start = Instant::now();
            app.data(query, json!({})).await;
            line.rules.trips();
            app.data(query, json!({})).await;
            // A connection that has not been used for a second is asked for a sign of life.
            if start.elapsed() < Duration::from_millis(900) {
                break line.rules.trips();
            }
        };
        assert_eq!(counted, trips, "{query}");
    }

    // To open a connection takes one, after those that PostgreSQL asks for. A statement that looks at the tables, the
    // migrations and the encoding takes two, because it is prepared.
    let url = app.database.url.clone();
    let settings = crate::support::db_settings(&url);
    line.rules.trips();
    let db = Db::connect(&settings).await.expect("the database opens");
    assert_eq!(line.rules.trips(), 2 + 3 * 2, "one for each pool, and two for each of three statements");
    db.close().await.expect("the database closes");
    app.close().await;
}
