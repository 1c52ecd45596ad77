//! PostgreSQL whose tables are changed, and whose connections are ended, while the server goes on: no client sees it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    databases::TestDatabase,
    outages::code,
    support::{TestApp, connect, graphql, until},
};

const READ: &str = "{ heroes { name teams { name } } }";
const CREATE: &str = r#"mutation { createHero(input: {name: "A", secretName: "B", teams: {connectOrCreate: [{name: "T", headquarters: "H"}]}}) { hero { name } } }"#;
const UPDATE: &str = r#"mutation { updateHero(input: {id: 1, name: "B"}) { hero { name teams { name } } } }"#;
const DELETE: &str = "mutation($id: ID!) { deleteHero(input: {id: $id}) { hero { name teams { name } } } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_that_change_their_type_under_load() {
    let Some(database) = TestDatabase::postgres_as_asked().await else { return };
    let app = TestApp::new(database).await;
    for _ in 0..30 {
        app.data(CREATE, json!({})).await;
    }
    let stop = watch::Sender::new(false);
    let rounds: Arc<[AtomicUsize; 8]> = Arc::default();
    let clients: Vec<_> = (0..rounds.len())
        .map(|client| {
            let (router, rounds, stop) = (app.router.clone(), Arc::clone(&rounds), stop.subscribe());
            tokio::spawn(async move {
                while !*stop.borrow() {
                    let query = [READ, CREATE, UPDATE][client % 3];
                    let answer = graphql(&router, query, json!({})).await;
                    assert_eq!(answer.get("errors"), None, "{query} {answer}");
                    rounds[client].fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    let outside = connect(&app.database.url).await;
    for size in [200, 250, 300, 350, 400] {
        for table in ["hero", "team"] {
            let alter = format!("ALTER TABLE {table} ALTER COLUMN name TYPE varchar({size})");
            outside.write.execute_unprepared(&alter).await.expect("the type changes");
            // Every client meets it, and none meets two in one request.
            let before = rounds.each_ref().map(|rounds| rounds.load(SeqCst));
            let has_met =
                |client: usize| rounds[client].load(SeqCst) > before[client] + 1 || clients[client].is_finished();
            until(async || (0..rounds.len()).all(has_met)).await;
        }
        app.data(READ, json!({})).await;
        app.data(DELETE, json!({"id": size / 25})).await;
    }
    stop.send_replace(true);
    for client in clients {
        client.await.expect("no client sees an error");
    }
    outside.close().await.expect("the database closes");
    app.close().await;
}

/// A column that another program has given a type that is none of the schema. The first value in it is null.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_of_a_wrong_type_is_an_error() {
    let Some(database) = TestDatabase::postgres_as_asked().await else { return };
    let app = TestApp::new(database).await;
    let create = r#"mutation { createHeroes(input: [
        {name: "A", secretName: "S"}, {name: "B", secretName: "S", age: 48}]) { heroes { age } } }"#;
    app.data(create, json!({})).await;
    for ty in ["text", "bigint", "integer"] {
        app.execute(&format!("ALTER TABLE hero ALTER COLUMN age TYPE {ty} USING age::{ty}")).await;
        for query in ["{ heroes { name age } }", "{ heroesConnection { nodes { name age } } }"] {
            let answer = app.graphql(query).await;
            if ty == "integer" {
                assert_eq!(answer.get("errors"), None, "{answer}");
            } else {
                assert_eq!(*code(&answer), json!("INTERNAL"), "{ty}: {answer}");
            }
        }
    }
    app.close().await;
}

/// A table that is written anew is empty for transactions that look at what was there before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_are_written_anew_meanwhile() {
    let Some(database) = TestDatabase::postgres_as_asked().await else { return };
    let app = TestApp::new(database).await;
    app.data(CREATE, json!({})).await;
    let outside = connect(&app.database.url).await;
    for (size, table) in [(200, "hero"), (201, "team"), (202, "hero"), (203, "team")] {
        let change = outside.write.begin().await.expect("a transaction");
        let alter = format!("ALTER TABLE {table} ALTER COLUMN name TYPE varchar({size}) USING substr(name, 1)");
        change.execute_unprepared(&alter).await.expect("the type changes");
        let clients: Vec<_> = (0..6)
            .map(|client| {
                let router = app.router.clone();
                tokio::spawn(async move { graphql(&router, [READ, CREATE, UPDATE][client % 3], json!({})).await })
            })
            .collect();
        let waiting = "SELECT COUNT(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        until(async || app.count(waiting).await == 6).await;
        change.commit().await.expect("it is committed");
        for client in clients {
            let answer = client.await.expect("the client does not panic");
            assert_eq!(answer.get("errors"), None, "{answer}");
            assert_ne!(answer["data"]["heroes"], json!([]));
        }
        assert_eq!(app.count("SELECT COUNT(*) FROM team").await, 1);
    }
    outside.close().await.expect("the database closes");
    app.close().await;
}

/// The answers to everything that there is to ask.
async fn ask_all(app: &TestApp) -> Vec<Value> {
    let mut answers = Vec::new();
    for query in [READ, CREATE, UPDATE] {
        answers.push(app.data(query, json!({})).await);
    }
    let id = app.count("SELECT MAX(id) FROM hero").await;
    answers.push(app.data(DELETE, json!({"id": id})).await);
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prepared_statements_that_are_gone() {
    let Some(database) = TestDatabase::postgres_as_asked().await else { return };
    let app = TestApp::with(database, |settings| {
        settings.db.read_connections = 1;
        settings.db.write_connections = 1;
    })
    .await;
    app.data(CREATE, json!({})).await;
    let answers = ask_all(&app).await;
    for _ in 0..3 {
        app.db.read.execute_unprepared("DEALLOCATE ALL").await.expect("they go");
        app.db.write.execute_unprepared("DEALLOCATE ALL").await.expect("they go");
        assert_eq!(ask_all(&app).await[1..], answers[1..]);
    }
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_postgresql_ends() {
    let Some(database) = TestDatabase::postgres_as_asked().await else { return };
    let app = TestApp::new(database).await;
    app.data(CREATE, json!({})).await;
    let answers = ask_all(&app).await;
    let outside = connect(&app.database.url).await;
    for _ in 0..5 {
        // Some connections, all of which were used a moment ago.
        let reads = "{ a: heroes(limit: 1) { id } b: heroes(limit: 2) { id } c: heroes(limit: 3) { id } teams { id } }";
        app.data(reads, json!({})).await;
        let end = "SELECT COUNT(pg_terminate_backend(pid, 60000)) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'hero-teams'";
        outside.write.execute_unprepared(end).await.expect("the connections end");
        assert_eq!(ask_all(&app).await[1..], answers[1..]);
    }
    outside.close().await.expect("the database closes");
    app.close().await;
}

/// A read that has begun is repeated, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_whose_connection_ends() {
    let Some(database) = TestDatabase::postgres_as_asked().await else { return };
    let app = TestApp::new(database).await;
    app.data(CREATE, json!({})).await;
    let outside = connect(&app.database.url).await;
    let lock = outside.write.begin().await.expect("a transaction");
    lock.execute_unprepared("LOCK TABLE hero").await.expect("the lock");
    let router = app.router.clone();
    let client = tokio::spawn(async move { graphql(&router, "{ heroes { name } }", json!({})).await });
    let end = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    until(async || app.count(end).await > 0).await;
    drop(lock);
    let answer = client.await.expect("the client does not panic");
    assert_eq!(answer, json!({"data": {"heroes": [{"name": "A"}]}}));
    outside.close().await.expect("the database closes");
    app.close().await;
}
