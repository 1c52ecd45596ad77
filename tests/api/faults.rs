//! Databases that fail, and what is there when they are well again.

use serde_json::{Value, json};

use crate::{
    databases::TestDatabase,
    support::{TestApp, connect},
};

const CREATE: &str = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { heroes { id } } }";

fn heroes(number: usize) -> Value {
    json!({"input": vec![json!({"name": "n".repeat(200), "secretName": "s".repeat(200)}); number]})
}

fn unavailable(answer: &Value) -> bool {
    answer["errors"][0]["extensions"] == json!({"code": "UNAVAILABLE"})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_gotten_over() {
    let app = TestApp::new(TestDatabase::sqlite()).await;
    app.data(CREATE, heroes(1)).await;
    for round in 1..4 {
        // The writer may not make the file larger: for SQLite that is a full disk.
        app.execute("PRAGMA max_page_count = 30").await;
        let answer = app.graphql_with(CREATE, heroes(900)).await;
        assert!(unavailable(&answer), "{answer}");
        let missing =
            r#"mutation { createHero(input: {name: "A", secretName: "B", teams: {connect: [99]}}) { hero { id } } }"#;
        let answer = app.graphql(missing).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], json!("NOT_FOUND"), "{answer}");
        // What is answered is there, for everybody.
        app.data(CREATE, heroes(1)).await;
        app.data(CREATE, heroes(1)).await;
        let other = connect(&app.database.url).await;
        other.migrate().await.expect("nobody holds the write lock");
        other.close().await.expect("the database closes");
        assert_eq!(app.counts().await, [1 + 2 * round, 0, 0]);
    }
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_the_server_ends_are_replaced() {
    let Some(database) = TestDatabase::postgres().await else { return };
    let app = TestApp::new(database).await;
    let both = r#"mutation { createHero(input: {name: "A", secretName: "B"}) { hero { name teams { name } } } }"#;
    let mut written = 0;
    for _ in 0..3 {
        app.data(both, json!({})).await;
        app.data("{ a: heroes(limit: 1) { id } b: heroes(limit: 2) { id } teams { id } }", json!({})).await;
        written += 1;
        let outside = connect(&app.database.url).await;
        let end = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        sea_orm::ConnectionTrait::execute_unprepared(&outside.write, end).await.expect("the connections end");
        outside.close().await.expect("the database closes");
        // Each connection of a pool may fail one request, and no more.
        let mut failed = 0;
        loop {
            let answer = app.graphql(both).await;
            if answer.get("errors").is_none() {
                written += 1;
                break;
            }
            assert!(unavailable(&answer), "{answer}");
            written += i64::from(answer["data"]["createHero"] != json!(null));
            failed += 1;
            assert!(failed <= 12, "it does not recover");
        }
    }
    let names = app.count("SELECT COUNT(*) FROM hero").await;
    assert!(names >= written, "what was answered is there: {names} of {written}");
    app.close().await;
}
