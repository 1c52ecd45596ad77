//! A hot standby of PostgreSQL, which lets itself be read until it is promoted.

use axum::http::StatusCode;
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};

use crate::{
    command_line::{Server, refusal, run},
    databases::{Cluster, TestDatabase},
    events::{IDS, Stream},
    outages::{READY, UNWRITABLE, code, ready},
    support::{TestApp, until},
};

const READ: &str = "{ heroes { name teams { name } } }";
const CREATE: &str = r#"mutation { createHero(input: {name: "A", secretName: "B"}) { hero { name } } }"#;

async fn code_of(server: &Server, query: &str) -> Value {
    code(&server.graphql(query, json!({})).await.expect("an answer")).clone()
}

fn owned((status, text): (StatusCode, &str)) -> (StatusCode, String) {
    (status, text.to_owned())
}

/// A standby does not know which transactions run on the primary. What is committed after a subscription has begun
/// comes all the same, also when its transaction began earlier.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_on_a_standby() {
    let Some(cluster) = Cluster::new() else { return };
    let primary = TestApp::new(cluster.database()).await;
    let Some(standby) = Cluster::standby_of(&primary.database) else { return };
    let app = TestApp::new(standby.database()).await;
    let event = |key: i64| format!("INSERT INTO event (kind, change, first_key) VALUES ('hero', 'DELETED', {key})");
    let committed = async |number: i64| {
        let all = format!("SELECT COUNT(*) FROM event WHERE first_key = {number}");
        until(async || app.count(&all).await == 1).await;
    };
    let deleted = |key: i64| json!({"change": "DELETED", "id": format!("Hero:{key}")});
    let first = primary.db.write.begin().await.expect("it begins");
    first.execute_unprepared(&event(1)).await.expect("it writes");
    let second = primary.db.write.begin().await.expect("it begins");
    second.execute_unprepared(&event(2)).await.expect("it writes");
    primary.execute(&event(3)).await;
    committed(3).await;
    let mut stream = Stream::open(&app.router, IDS, json!({})).await;
    second.commit().await.expect("it commits");
    primary.execute(&event(4)).await;
    committed(4).await;
    let mut later = Stream::open(&app.router, IDS, json!({})).await;
    first.commit().await.expect("it commits");
    primary.execute(&event(5)).await;
    assert_eq!(stream.values(4).await, [deleted(1), deleted(2), deleted(4), deleted(5)]);
    assert_eq!(later.values(2).await, [deleted(1), deleted(5)]);
    drop((stream, later));
    app.close().await;
    primary.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_is_read_and_once_promoted_written() {
    let Some(database) = TestDatabase::postgres().await else { return };
    let app = TestApp::new(database).await;
    app.data(CREATE, json!({})).await;
    let empty = TestDatabase::empty_postgres().await.expect("it was there a moment ago");
    let Some(standby) = Cluster::standby_of(&app.database) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let start = |flags: &[&str]| Server::start(folder.path(), &[flags, &["--database-url", &standby.url]].concat());
    let heroes = json!({"data": {"heroes": [{"name": "A", "teams": []}]}});

    for flags in [&["--no-migrate"][..], &[]] {
        let server = start(flags);
        for _ in 0..2 {
            assert_eq!(server.graphql(READ, json!({})).await, Some(heroes.clone()));
            for mutation in [
                CREATE,
                r#"mutation { createHero(input: {name: "A", secretName: "B", teams: {connectOrCreate: [{name: "T", headquarters: "H"}]}}) { hero { name } } }"#,
                r#"mutation { updateHero(input: {id: 1, name: "B"}) { hero { name } } }"#,
                "mutation { deleteHero(input: {id: 1}) { hero { name } } }",
            ] {
                assert_eq!(code_of(&server, mutation).await, json!("UNAVAILABLE"), "{mutation}");
            }
            assert_eq!(ready(&server).await, owned(UNWRITABLE));
            server.logged(&["WARN", "not ready", "standby"]);
        }
    }

    // It explains statements as well.
    let server = start(&["--slow-operation", "0.000001", "--explain-slow"]);
    assert_eq!(server.graphql(READ, json!({})).await, Some(heroes.clone()));
    server.logged(&["WARN", "the plan of a slow statement", "cost="]);
    drop(server);

    // What is missing there cannot be made there.
    let url = standby.url_of(&empty).expect("it has a place");
    let output = run(folder.path(), &["--listen", "127.0.0.1:0", "--database-url", &url]);
    let said = refusal(&output);
    assert!(said.contains("the database is outdated and may only be read (pending: "), "{said}");

    let server = start(&[]);
    assert_eq!(code_of(&server, CREATE).await, json!("UNAVAILABLE"));
    standby.promote().await;
    until(async || ready(&server).await == owned(READY)).await;
    let created = server.graphql(CREATE, json!({})).await;
    assert_eq!(created, Some(json!({"data": {"createHero": {"hero": {"name": "A"}}}})));
    let heroes = json!({"data": {"heroes": [{"name": "A", "teams": []}, {"name": "A", "teams": []}]}});
    assert_eq!(server.graphql(READ, json!({})).await, Some(heroes));
    drop(server);
    empty.remove().await;
    app.close().await;
}
