//! One mutation field is all or nothing, wherever it fails.

use axum::{
    body::Body,
    http::{Request, header::CONTENT_TYPE},
};
use serde_json::json;
use tower::ServiceExt;

use crate::support::{TestApp, on_both_databases};

const CREATE: &str = r#"mutation {
    createHeroes(input: [
        {name: "A", secretName: "A", teams: {
            connect: ["Team:1"],
            connectOrCreate: [{name: "Found", headquarters: "H"}],
            create: [{name: "New", headquarters: "H"}],
        }},
        {name: "B", secretName: "B", teams: {connectOrCreate: [{name: "Found", headquarters: "H"}]}},
    ]) { heroes { name } }
}"#;

/// Makes the database fail after a statement has inserted into a table.
async fn fail_after_insert(app: &TestApp, table: &str) {
    if app.database.is_postgres() {
        app.execute(
            "CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'injected'; END $$",
        )
        .await;
        let sql = format!("CREATE TRIGGER fail AFTER INSERT ON {table} FOR EACH STATEMENT EXECUTE FUNCTION fail()");
        app.execute(&sql).await;
    } else {
        // SQLite has no trigger for a whole statement. The last row that each statement inserts is one of these.
        let last = match table {
            "hero" => "NEW.name = 'B'",
            "team" => "NEW.name = 'New'",
            _ => "(SELECT COUNT(*) FROM hero_team_link) = 4",
        };
        let sql = format!(
            "CREATE TRIGGER fail AFTER INSERT ON {table} WHEN {last} BEGIN SELECT RAISE(ABORT, 'injected'); END"
        );
        app.execute(&sql).await;
    }
}

/// Makes the database fail when a transaction that has linked commits.
async fn fail_on_commit(app: &TestApp) {
    if app.database.is_postgres() {
        app.execute("CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'injected'; END $$")
            .await;
        app.execute(
            "CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON hero_team_link DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION fail()",
        )
        .await;
    } else {
        app.execute("CREATE TABLE broken (id INTEGER REFERENCES team (id) DEFERRABLE INITIALLY DEFERRED)").await;
        app.execute("CREATE TRIGGER fail AFTER INSERT ON hero_team_link BEGIN INSERT INTO broken VALUES (-1); END")
            .await;
    }
}

async fn remove_fault(app: &TestApp, table: &str) {
    let table = if app.database.is_postgres() { format!(" ON {table}") } else { String::new() };
    app.execute(&format!("DROP TRIGGER fail{table}")).await;
}

async fn create_team(app: &TestApp) {
    let query = r#"mutation { createTeam(input: {name: "Old", headquarters: "H"}) { team { id } } }"#;
    app.data(query, json!({})).await;
}

on_both_databases! {
    async fn a_failure_after_each_insert_leaves_no_trace(app: TestApp) {
        create_team(app).await;
        let before = app.rows().await;
        for table in ["team", "hero", "hero_team_link"] {
            fail_after_insert(app, table).await;
            let answer = app.graphql(CREATE).await;
            assert_eq!(answer["data"], json!({"createHeroes": null}), "{table}");
            assert_eq!(answer["errors"][0]["extensions"], json!({"code": "INTERNAL"}), "{table}");
            assert!(!answer.to_string().contains("injected"), "{answer}");
            assert_eq!(app.rows().await, before, "{table}");
            assert_eq!(app.counts().await, [0, 1, 0], "{table}");
            remove_fault(app, table).await;
        }
        // The connection is as good as before.
        app.data(CREATE, json!({})).await;
        assert_eq!(app.counts().await, [2, 3, 4]);
    }

    async fn a_failure_of_the_commit_leaves_no_trace(app: TestApp) {
        create_team(app).await;
        let before = app.rows().await;
        fail_on_commit(app).await;
        for _ in 0..10 {
            let answer = app.graphql(CREATE).await;
            assert_eq!(answer["data"], json!({"createHeroes": null}), "{answer}");
            assert_eq!(answer["errors"][0]["extensions"], json!({"code": "INTERNAL"}), "{answer}");
            assert_eq!(app.rows().await, before);
        }
        remove_fault(app, "hero_team_link").await;
        app.data(CREATE, json!({})).await;
        assert_eq!(app.counts().await, [2, 3, 4]);
    }

    async fn a_failure_in_an_update_or_a_deletion_leaves_no_trace(app: TestApp) {
        create_team(app).await;
        app.data(CREATE, json!({})).await;
        let before = app.rows().await;
        let update = r#"mutation { updateHeroes(input: [
            {id: 1, name: "C", teams: {disconnect: ["Team:1"], create: [{name: "New", headquarters: "H"}]}},
            {id: 2, name: "D", teams: {set: ["Team:1"]}},
        ]) { heroes { name } } }"#;
        let delete = "mutation { deleteHeroes(input: [{id: 1}, {id: 2}]) { heroes { name teams { name } } } }";
        for (event, table, query) in [
            ("INSERT", "team", update),
            ("UPDATE", "hero", update),
            ("DELETE", "hero_team_link", update),
            ("INSERT", "hero_team_link", update),
            ("DELETE", "hero", delete),
            ("DELETE", "hero_team_link", delete),
        ] {
            if app.database.is_postgres() {
                app.execute("CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE \
                             'injected'; END $$")
                    .await;
                let sql = format!("CREATE TRIGGER fail AFTER {event} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION \
                                   fail()");
                app.execute(&sql).await;
            } else {
                let sql = format!("CREATE TRIGGER fail AFTER {event} ON {table} BEGIN SELECT RAISE(ABORT, \
                                   'injected'); END");
                app.execute(&sql).await;
            }
            let answer = app.graphql(query).await;
            assert_eq!(answer["errors"][0]["extensions"], json!({"code": "INTERNAL"}), "{event} {table}: {answer}");
            assert_eq!(app.rows().await, before, "{event} {table}");
            remove_fault(app, table).await;
        }
        app.data(update, json!({})).await;
        app.data(delete, json!({})).await;
        assert_eq!(app.counts().await, [0, 4, 0]);
    }

    async fn a_client_that_goes_away_leaves_all_or_nothing(app: TestApp) {
        create_team(app).await;
        for polls in 0..60 {
            let body = json!({"query": CREATE}).to_string();
            let request = Request::post("/graphql").header(CONTENT_TYPE, "application/json").body(Body::from(body));
            let mut request = Box::pin(app.router.clone().oneshot(request.expect("it is a request")));
            for _ in 0..polls {
                let poll = std::future::poll_fn(|context| std::task::Poll::Ready(request.as_mut().poll(context))).await;
                if poll.is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(request);
            // Whatever is there is whole: two heroes with four links and a team of their own for each write.
            let missing_links = "SELECT (SELECT COUNT(*) FROM hero) * 2 - (SELECT COUNT(*) FROM hero_team_link)";
            assert_eq!(app.count(missing_links).await, 0, "after {polls} polls");
            let missing_teams =
                "SELECT (SELECT COUNT(*) FROM hero) - 2 * (SELECT COUNT(*) FROM team WHERE name = 'New')";
            assert_eq!(app.count(missing_teams).await, 0, "after {polls} polls");
        }
        // The connections are as good as before.
        for _ in 0..20 {
            app.data(CREATE, json!({})).await;
        }
        assert_eq!(app.count("SELECT COUNT(*) FROM team WHERE name = 'Found'").await, 1);
    }
}
