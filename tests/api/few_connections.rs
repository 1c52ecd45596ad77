//! Fewer connections than there are requests: who gets them, and what the others are told.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Request, header::CONTENT_TYPE},
};
use sea_orm::ConnectionTrait;
use serde_json::json;
use tokio::task::JoinHandle;
use tower::ServiceExt;

use crate::{
    databases::TestDatabase,
    deadlines::slow_down_reads,
    line::Line,
    outages::{READY, UNREADABLE, assert_ready, code, until_ready},
    support::{Settings, TestApp, connect, graphql, until},
};

const READ: &str = "{ heroes { name } }";
const LIGHT: &str = "{ team(id: 1) { name } }";
const CREATE: &str = r#"mutation { createHero(input: {name: "A", secretName: "B"}) { hero { name teams { name } } } }"#;

/// Clients that send the same at once and may go away, with time for answers that never come.
fn clients(app: &TestApp, number: usize, query: &'static str) -> Vec<JoinHandle<()>> {
    let router = crate::support::router_with(app.db.clone(), &["--request-timeout", "600"]);
    let client = |index| {
        let request = Request::post("/graphql").header(CONTENT_TYPE, "application/json");
        // Those that ask the same could share a statement.
        let query = query.replace("heroes", &format!("heroes(limit: {})", index + 1));
        let body = Body::from(json!({"query": query}).to_string());
        let answer = router.clone().oneshot(request.body(body).expect("it is a request"));
        tokio::spawn(async move { drop(answer.await) })
    };
    (0..number).map(client).collect()
}

/// A server whose user may have so many connections to PostgreSQL, and the name of the user.
async fn limited(connections: u32) -> Option<(TestApp, String)> {
    let mut database = TestDatabase::empty_postgres().await?;
    let name = crate::line::place(&database.url)?.0.to_owned();
    let user = format!("{name}_user");
    database.administrate(&format!("CREATE ROLE {user} LOGIN CONNECTION LIMIT {connections}")).await;
    database.administrate(&format!("ALTER DATABASE {name} OWNER TO {user}")).await;
    database.url = database.url.replace("postgres://postgres@", &format!("postgres://{user}@"));
    let app = TestApp::with(database, |settings| {
        settings.db.read_connections = 8;
        settings.db.write_connections = 8;
    });
    Some((app.await, user))
}

async fn close(app: TestApp, user: &str) {
    let TestApp { db, database, .. } = app;
    db.close().await.expect("the database closes");
    database.remove_with(&format!("DROP ROLE {user}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_takes_what_comes_first() {
    let Some((app, user)) = limited(2).await else { return };
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let router = app.router.clone();
            tokio::spawn(async move {
                for _ in 0..25 {
                    let answer = graphql(&router, CREATE, json!({})).await;
                    let hero = json!({"createHero": {"hero": {"name": "A", "teams": []}}});
                    assert_eq!(answer, json!({"data": hero}));
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("each write is answered");
    }
    assert_eq!(app.counts().await, [100, 0, 0]);
    close(app, &user).await;
}

/// Those that write must not take all connections from those that read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_among_writers() {
    let Some((app, user)) = limited(3).await else { return };
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let router = app.router.clone();
            tokio::spawn(async move {
                loop {
                    let answer = graphql(
                        &router,
                        "mutation { createHero(input: {name: \"A\", secretName: \"B\"}) { hero { name } } }",
                        json!({}),
                    )
                    .await;
                    assert_eq!(answer.get("errors"), None, "{answer}");
                }
            })
        })
        .collect();
    for _ in 0..5 {
        // The readers lose what they have, and the writers want more.
        let end = "SELECT pg_terminate_backend(pg_backend_pid())";
        app.db.read.execute_unprepared(end).await.expect_err("the connection ends");
        app.data(LIGHT, json!({})).await;
        app.data(LIGHT, json!({})).await;
    }
    for writer in writers {
        assert!(!writer.is_finished());
        writer.abort();
    }
    close(app, &user).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_take_connections_yet() {
    let Some(mut database) = TestDatabase::postgres().await else { return };
    let Some(line) = Line::on(&mut database).await else { return };
    for state in ["57P03", "53300"] {
        line.rules.refuse(4, state);
        connect(&database.url).await.close().await.expect("the database closes");
    }
    // What stays wrong is told at once.
    line.rules.refuse(1, "28P01");
    let wrong = hero_teams::db::Db::connect(&crate::support::db_settings(&database.url)).await;
    wrong.expect_err("the password is wrong");
    database.remove().await;
}

/// A server that gets no connection at all is not ready: there is none that its requests could wait for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_any_connection_is_not_ready() {
    let Some((app, user)) = limited(4).await else { return };
    assert_ready(&app, READY).await;
    let rename = |limit: &str| format!("ALTER ROLE {user} CONNECTION LIMIT {limit}");
    app.database.administrate(&rename("0")).await;
    let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'");
    app.database.administrate(&end).await;
    until_ready(&app, UNREADABLE).await;
    assert_ready(&app, UNREADABLE).await;
    app.database.administrate(&rename("4")).await;
    until_ready(&app, READY).await;
    close(app, &user).await;
}

/// An app on each of the databases.
pub async fn of_each(change: impl Fn(&mut Settings)) -> Vec<TestApp> {
    let mut apps = vec![TestApp::with(TestDatabase::sqlite(), &change).await];
    if let Some(database) = TestDatabase::postgres().await {
        apps.push(TestApp::with(database, change).await);
    }
    apps
}

/// Waits until so many statements run that take hours.
async fn until_running(app: &TestApp, number: usize) {
    let mut seen = 0;
    until(async || {
        seen += app.seen();
        seen >= number
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_busy_is_ready() {
    for app in of_each(|settings| settings.db.read_connections = 2).await {
        slow_down_reads(&app).await;
        app.seen();
        let heavy = clients(&app, 32, READ);
        until_running(&app, 2).await;
        until_ready(&app, READY).await;
        for client in &heavy {
            client.abort();
        }
        app.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_database_is_silent_is_not_ready() {
    let Some(mut database) = TestDatabase::postgres().await else { return };
    let Some(line) = Line::on(&mut database).await else { return };
    let app = TestApp::with(database, |settings| settings.db.acquire_timeout = Duration::from_secs(5)).await;
    line.rules.swallow_all(true);
    assert_ready(&app, UNREADABLE).await;
    line.rules.swallow_all(false);
    until_ready(&app, READY).await;
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_light_query_among_heavy_ones() {
    for app in of_each(|settings| settings.db.read_connections = 4).await {
        slow_down_reads(&app).await;
        // What a request asks after its first statement leaves a connection to others, and so does what took long
        // before.
        for heavy in ["{ teams { heroes { name } } }", READ] {
            let known = crate::support::router_with(app.db.clone(), &["--request-timeout", "0.2"]);
            app.seen();
            let mut times = if heavy == READ { 2 } else { 0 };
            while times > 0 {
                assert_eq!(*code(&graphql(&known, heavy, json!({})).await), json!("TIMEOUT"));
                times -= app.seen();
            }
            let heavy = clients(&app, 32, heavy);
            until_running(&app, 3).await;
            for _ in 0..5 {
                assert_eq!(app.data(LIGHT, json!({})).await, json!({"team": {"name": "Z-Force"}}));
            }
            for client in &heavy {
                assert!(!client.is_finished());
                client.abort();
            }
        }
        app.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_those_are_told_who_get_no_connection() {
    let few = |settings: &mut Settings| {
        settings.db.write_connections = 1;
        settings.db.acquire_timeout = Duration::from_secs(3);
    };
    for app in of_each(few).await {
        let taken = app.db.write.begin().await.expect("a transaction");
        let answer = app.graphql(CREATE).await;
        let message = "no connection to the database was free in time; try again later";
        let error = json!({"message": message, "locations": [{"line": 1, "column": 12}], "path": ["createHero"],
            "extensions": {"code": "UNAVAILABLE"}});
        assert_eq!(answer, json!({"data": {"createHero": null}, "errors": [error]}));
        drop(taken);
        app.data(CREATE, json!({})).await;
        app.close().await;
    }
}
