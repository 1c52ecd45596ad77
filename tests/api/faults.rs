//! Databases that fail, and what is there when they are well again.

use serde_json::{Value, json};

use crate::{
    databases::TestDatabase,
    support::{TestApp, connect, graphql, until},
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
    let Some(database) = TestDatabase::postgres_as_asked().await else { return };
    let app = TestApp::new(database).await;
    let both = r#"mutation { createHero(input: {name: "A", secretName: "B"}) { hero { name teams { name } } } }"#;
    let mut written = 0;
    for _ in 0..3 {
        app.data(both, json!({})).await;
        app.data("{ a: heroes(limit: 1) { id } b: heroes(limit: 2) { id } teams { id } }", json!({})).await;
        written += 1;
        let outside = connect(&app.database.url).await;
        let end = "SELECT COUNT(pg_terminate_backend(pid, 60000)) FROM pg_stat_activity
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

/// Makes the next commits that touch heroes fail as PostgreSQL fails them for other transactions.
async fn give_up_commits(app: &TestApp, number: i32) {
    app.execute("DROP SEQUENCE IF EXISTS commits CASCADE").await;
    app.execute("CREATE SEQUENCE commits").await;
    app.execute(&format!(
        "CREATE OR REPLACE FUNCTION give_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         IF nextval('commits') <= {number} THEN RAISE 'injected' USING ERRCODE = '40001'; END IF; RETURN NULL; END $$"
    ))
    .await;
    app.execute("DROP TRIGGER IF EXISTS give_up ON hero").await;
    app.execute(
        "CREATE CONSTRAINT TRIGGER give_up AFTER INSERT OR UPDATE OR DELETE ON hero DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW EXECUTE FUNCTION give_up()",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_are_given_up_are_repeated() {
    let Some(database) = TestDatabase::postgres_as_asked().await else { return };
    let app = TestApp::new(database).await;
    app.data(CREATE, json!({"input": [{"name": "A", "secretName": "B"}, {"name": "A", "secretName": "B"}]})).await;
    for (query, counts) in [
        (
            r#"mutation { createHero(input: {name: "C", secretName: "D"}) { hero { name teams(limit: 5000) { id } } } }"#,
            [3, 0, 0],
        ),
        (
            r#"mutation { updateHero(input: {id: 1, name: "E"}) { hero { name teams(limit: 5000) { id } } } }"#,
            [3, 0, 0],
        ),
        ("mutation { deleteHero(input: {id: 2}) { hero { name teams(limit: 5000) { id } } } }", [2, 0, 0]),
    ] {
        let before = app.rows().await;
        give_up_commits(&app, 1_000).await;
        let answer = app.graphql(query).await;
        assert_eq!(
            answer["errors"],
            json!([{
                "message": "other requests changed the same data at the same time; nothing was written, the request \
                            may be repeated",
                "locations": [{"line": 1, "column": 12}], "path": answer["errors"][0]["path"], "extensions": {"code": "CONFLICT"},
            }])
        );
        assert_eq!(app.rows().await, before);

        // There is time for some of the attempts.
        let hurried = app.db.for_request(tokio::time::Instant::now() + std::time::Duration::from_millis(100));
        let answer = graphql(&crate::support::router(hurried), query, json!({})).await;
        let code = &answer["errors"][0]["extensions"]["code"];
        assert!(code == "CONFLICT" || code == "TIMEOUT", "{answer}");
        assert_eq!(app.rows().await, before);

        give_up_commits(&app, 6).await;
        let answer = app.graphql(query).await;
        // The payload fails on purpose: what it has to report is reported once, of the attempt that came through.
        assert_eq!(answer["errors"].as_array().map(Vec::len), Some(1), "{answer}");
        assert_eq!(answer["errors"][0]["extensions"], json!({"code": "BAD_USER_INPUT", "argumentPath": ["limit"]}));
        assert_eq!(app.counts().await, counts);
    }
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_ends_in_the_middle_of_a_write() {
    let Some(database) = TestDatabase::postgres_as_asked().await else { return };
    let app = TestApp::new(database).await;
    // The write has made its heroes, and waits for this lock to link them.
    let outside = connect(&app.database.url).await;
    let lock = outside.write.begin().await.expect("a transaction");
    sea_orm::ConnectionTrait::execute_unprepared(&lock, "LOCK TABLE hero_team_link").await.expect("the lock");
    let router = app.router.clone();
    let query = r#"mutation { createHero(input: {name: "A", secretName: "B", teams: {create: [{name: "T", headquarters: "H"}]}}) { hero { id } } }"#;
    let write = tokio::spawn(async move { crate::support::graphql(&router, query, json!({})).await });
    let end = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    // A write that does not come as far as the lock has its answer.
    until(async || write.is_finished() || app.count(end).await > 0).await;
    let answer = write.await.expect("the client does not panic");
    assert_eq!(answer["data"], json!({"createHero": null}));
    assert!(unavailable(&answer), "{answer}");
    drop(lock);
    outside.close().await.expect("the database closes");
    assert_eq!(app.counts().await, [0, 0, 0]);
    app.data(query, json!({})).await;
    assert_eq!(app.counts().await, [1, 1, 1]);
    app.close().await;
}
