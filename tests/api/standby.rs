//! A hot standby of PostgreSQL, which lets itself be read until it is promoted.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::{
    command_line::{Server, refusal, run},
    databases::{Cluster, TestDatabase},
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
