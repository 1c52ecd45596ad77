//! Requests that run out of time, and clients that go away: what runs in the database for them ends, and nobody else
//! notices.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{Request, header::CONTENT_TYPE},
    response::Response,
};
use hero_teams::{
    db::{Db, StoreError, Usage},
    store::seed,
};
use sea_orm::{ConnectionTrait, Statement};
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};
use tower::ServiceExt;

use crate::{
    command_line::command,
    databases::TestDatabase,
    support::{TestApp, connect, graphql, in_enough_time, on_both_databases, router_with, until},
};

const TIMEOUT: &str = "the database took too long to answer; ask for less, or with a simpler filter";

/// What would take SQLite hours, and PostgreSQL an hour.
const HOURS: [&str; 2] = [
    "(WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000000000000) SELECT COUNT(*) FROM \
     n) > 0",
    "(SELECT pg_sleep(3600)) IS NOT NULL",
];

fn hours(app: &TestApp) -> &'static str {
    HOURS[usize::from(app.database.is_postgres())]
}

/// The API for requests whose time is over in a moment.
fn in_a_hurry(app: &TestApp) -> Router {
    crate::support::router(app.db.for_request(Instant::now() + Duration::from_millis(200)))
}

/// Lets all that reads heroes take hours.
pub async fn slow_down_reads(app: &TestApp) {
    // Without a row nothing would be asked.
    seed::tutorial(&app.db).await.expect("the tutorial's data");
    app.execute("ALTER TABLE hero RENAME TO hero_rows").await;
    app.execute(&format!("CREATE VIEW hero AS SELECT * FROM hero_rows WHERE {}", hours(app))).await;
}

/// Lets whatever changes heroes take hours.
async fn slow_down_writes(app: &TestApp, event: &str) {
    if app.database.is_postgres() {
        app.execute(
            "CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM \
                     pg_sleep(3600); RETURN NULL; END $$",
        )
        .await;
        app.execute(&format!("CREATE TRIGGER slow AFTER {event} ON hero FOR EACH ROW EXECUTE FUNCTION slow()")).await;
    } else {
        app.execute(&format!("CREATE TRIGGER slow AFTER {event} ON hero BEGIN SELECT {}; END", HOURS[0])).await;
    }
}

async fn remove_slow_trigger(app: &TestApp) {
    let on = if app.database.is_postgres() { " ON hero" } else { "" };
    app.execute(&format!("DROP TRIGGER slow{on}")).await;
}

/// The statements that PostgreSQL is working on, without the one that asks for them.
async fn active(app: &TestApp) -> i64 {
    app.count(
        "SELECT COUNT(*) FROM pg_stat_activity
         WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
    )
    .await
}

async fn one_of_each() -> Vec<TestApp> {
    let one = |settings: &mut crate::support::Settings| {
        settings.db.read_connections = 1;
        settings.db.write_connections = 1;
    };
    let mut apps = vec![TestApp::with(TestDatabase::sqlite(), one).await];
    if let Some(database) = TestDatabase::postgres().await {
        apps.push(TestApp::with(database, one).await);
    }
    apps
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_ends_at_the_deadline() {
    // Each has one connection, so the next statement comes through only when the one before it has ended.
    for app in one_of_each().await {
        slow_down_reads(&app).await;
        for _ in 0..5 {
            let answer = graphql(&in_a_hurry(&app), "{ heroes { name } }", json!({})).await;
            let error = json!({"message": TIMEOUT, "locations": [{"line": 1, "column": 3}], "path": ["heroes"],
                "extensions": {"code": "TIMEOUT"}});
            assert_eq!(answer, json!({"data": null, "errors": [error]}));
            assert_eq!(app.data("{ team(id: 1) { name } }", json!({})).await, json!({"team": {"name": "Z-Force"}}));
            if app.database.is_postgres() {
                assert_eq!(active(&app).await, 0);
            }
        }
        app.close().await;
    }
}

/// SQLite has one writer among all processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lock_of_another_process_is_waited_for_until_the_deadline() {
    const CREATE: &str = r#"mutation { createHero(input: {name: "A", secretName: "B"}) { hero { name } } }"#;
    let app = TestApp::new(TestDatabase::sqlite()).await;
    let other = connect(&app.database.url).await;
    let lock = other.write.begin().await.expect("the lock");
    for _ in 0..2 {
        let answer = graphql(&in_a_hurry(&app), CREATE, json!({})).await;
        let error = json!({"message": TIMEOUT, "locations": [{"line": 1, "column": 12}], "path": ["createHero"],
            "extensions": {"code": "TIMEOUT"}});
        assert_eq!(answer, json!({"data": {"createHero": null}, "errors": [error]}));
    }
    drop(lock);
    other.close().await.expect("it closes");
    assert_eq!(app.counts().await, [0, 0, 0]);
    assert_eq!(app.data(CREATE, json!({})).await, json!({"createHero": {"hero": {"name": "A"}}}));
    assert_eq!(app.counts().await, [1, 0, 0]);
    app.close().await;
}

/// Another server may be long at it, as it may on PostgreSQL. SQLite by itself waits for five seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_migration_of_another_process_is_waited_for_until_it_ends() {
    let database = TestDatabase::empty_sqlite();
    let other = connect(&database.url).await;
    let lock = other.write.begin().await.expect("the lock");
    let mut migrate = command(Path::new("/"), &["migrate", "--database-url", &database.url]);
    let mut migrating = migrate.stderr(Stdio::piped()).spawn().expect("the binary runs");
    let log = BufReader::new(migrating.stderr.take().expect("it is piped"));
    let mut lines = log.lines().map_while(Result::ok);
    let waits = "another process writes to the database; the migrations wait for it";
    for _ in 0..2 {
        lines.by_ref().find(|line| line.contains(waits)).expect("it goes on");
    }
    drop(lock);
    let said: Vec<_> = lines.collect();
    assert!(migrating.wait().expect("it ends").success(), "{said:?}");
    assert_eq!(other.pending_migrations().await.expect("the state is known"), Vec::<String>::new());
    other.close().await.expect("it closes");
}

/// A client of its own, who goes away when this is aborted.
fn client(app: &TestApp, query: &str) -> JoinHandle<Response> {
    let request = Request::post("/graphql").header(CONTENT_TYPE, "application/json");
    let request = request.body(Body::from(json!({"query": query}).to_string())).expect("it is a request");
    let answer = app.router.clone().oneshot(request);
    tokio::spawn(async { answer.await.expect("the router answers") })
}

/// There is one worker, and SQLite runs where it is called.
#[tokio::test]
async fn a_long_read_holds_up_nobody() {
    let app = TestApp::new(TestDatabase::sqlite()).await;
    slow_down_reads(&app).await;
    let long = client(&app, "{ heroes { name } }");
    for _ in 0..20 {
        assert_eq!(app.data("{ team(id: 1) { name } }", json!({})).await, json!({"team": {"name": "Z-Force"}}));
    }
    assert!(!long.is_finished());
    long.abort();
    assert!(long.await.expect_err("it has gone").is_cancelled());
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_has_the_time_that_is_set() {
    for app in one_of_each().await {
        slow_down_reads(&app).await;
        let router = router_with(app.db.clone(), &["--request-timeout", "0.2"]);
        for _ in 0..2 {
            let answer = graphql(&router, "{ hero(id: 1) { name } }", json!({})).await;
            let error = json!({"message": TIMEOUT, "locations": [{"line": 1, "column": 3}], "path": ["hero"],
                "extensions": {"code": "TIMEOUT"}});
            assert_eq!(answer, json!({"data": {"hero": null}, "errors": [error]}));
            assert_eq!(app.data("{ team(id: 1) { name } }", json!({})).await, json!({"team": {"name": "Z-Force"}}));
        }
        app.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_ends_at_the_deadline_and_writes_nothing() {
    for app in one_of_each().await {
        seed::tutorial(&app.db).await.expect("the tutorial's data");
        let before = app.rows().await;
        for (event, query) in [
            (
                "INSERT",
                r#"mutation { write: createHero(input: {name: "A", secretName: "B", teams: {create: [{name: "T", headquarters: "H"}]}}) { hero { id } } }"#,
            ),
            (
                "UPDATE",
                r#"mutation { write: updateHero(input: {id: 1, name: "A", teams: {set: []}}) { hero { id } } }"#,
            ),
            ("DELETE", "mutation { write: deleteHero(input: {id: 1}) { hero { id } } }"),
        ] {
            slow_down_writes(&app, event).await;
            let answer = graphql(&in_a_hurry(&app), query, json!({})).await;
            let error = json!({"message": TIMEOUT, "locations": [{"line": 1, "column": 12}], "path": ["write"],
                "extensions": {"code": "TIMEOUT"}});
            assert_eq!(answer, json!({"data": {"write": null}, "errors": [error]}), "{event}");
            // The one writer is free again, and the transaction is gone.
            remove_slow_trigger(&app).await;
            assert_eq!(app.rows().await, before, "{event}");
            if app.database.is_postgres() {
                assert_eq!(active(&app).await, 0);
            }
        }
        app.data(r#"mutation { createHero(input: {name: "A", secretName: "B"}) { hero { id } } }"#, json!({})).await;
        assert_eq!(app.counts().await, [4, 2, 5 - 1]);
        app.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_takes_its_statement_along() {
    for app in one_of_each().await {
        slow_down_reads(&app).await;
        for _ in 0..5 {
            app.seen();
            let client = client(&app, "{ heroes { name } }");
            until(async || app.seen() > 0).await;
            client.abort();
            assert!(client.await.expect_err("it has gone").is_cancelled());
            assert_eq!(app.data("{ team(id: 1) { name } }", json!({})).await, json!({"team": {"name": "Z-Force"}}));
            if app.database.is_postgres() {
                assert_eq!(active(&app).await, 0);
            }
        }
        app.close().await;
    }
}

on_both_databases! {
    async fn what_waits_for_its_turn_ends_at_the_deadline(app: TestApp) {
        // All writers are taken.
        let mut taken = Vec::new();
        for _ in 0..if app.database.is_postgres() { 8 } else { 1 } {
            taken.push(app.db.write.begin().await.expect("a transaction"));
        }
        let answer = graphql(&in_a_hurry(app), CREATE, json!({})).await;
        assert_eq!(answer["errors"][0]["extensions"], json!({"code": "TIMEOUT"}), "{answer}");
        drop(taken);
        app.data(CREATE, json!({})).await;
        assert_eq!(app.counts().await, [1, 0, 0]);
    }

    async fn a_deadline_that_has_passed(app: TestApp) {
        let past = app.db.for_request(Instant::now());
        for query in ["{ a: heroes { name } }", r#"mutation { a: createHero(input: {name: "A", secretName: "B"}) { hero { id } } }"#,
            "mutation { a: deleteHero(input: {id: 1}) { hero { id } } }"] {
            let answer = graphql(&crate::support::router(past.clone()), query, json!({})).await;
            assert_eq!(answer["errors"][0]["extensions"], json!({"code": "TIMEOUT"}), "{answer}");
        }
        assert_eq!(past.usage(), Usage::default());
        assert_eq!(app.counts().await, [0, 0, 0]);
    }

    async fn statements_are_counted_for_each_request(app: TestApp) {
        let far = Instant::now() + Duration::from_hours(1);
        let (one, other) = (app.db.for_request(far), app.db.for_request(far));
        seed::tutorial(&one).await.expect("the tutorial's data");
        let usage = one.usage();
        assert_eq!(usage.statements, u32::try_from(app.seen()).expect("it is small"));
        assert_eq!(usage.statements, 6, "it looks for heroes and for teams, and makes heroes, teams, links and events");
        assert!(usage.time > Duration::ZERO);
        assert_eq!(other.usage(), Usage::default());
        // One that fails counts, too.
        assert!(one.read.query_one_raw(Statement::from_string(one.read.get_database_backend(), "SELECT nothing")).await.is_err());
        assert_eq!(one.usage().statements, 7);
        assert!(one.usage().time >= usage.time);
    }

    async fn a_payload_that_cannot_be_read_in_time(app: TestApp) {
        seed::tutorial(&app.db).await.expect("the tutorial's data");
        app.execute("ALTER TABLE team RENAME TO team_rows").await;
        app.execute(&format!("CREATE VIEW team AS SELECT * FROM team_rows WHERE {}", hours(app))).await;
        let query = r#"mutation { updateHero(input: {id: 1, name: "A"}) { hero { name teams { name } } } }"#;
        let answer = in_enough_time(async |deadline| {
            let answer = graphql(&crate::support::router(app.db.for_request(deadline)), query, json!({})).await;
            (answer["errors"][0]["extensions"] != json!({"code": "TIMEOUT"})).then_some(answer)
        });
        let answer = answer.await;
        // The payload is there, and says that it is written.
        let error = json!({"message": format!("this is written, but could not be read: {TIMEOUT}"),
            "locations": [{"line": 1, "column": 64}], "path": ["updateHero", "hero", "teams"],
            "extensions": {"code": "PAYLOAD_UNAVAILABLE"}});
        assert_eq!(answer, json!({"data": {"updateHero": {"hero": null}}, "errors": [error]}));
        assert_eq!(app.count("SELECT COUNT(*) FROM hero WHERE name = 'A'").await, 1);
    }

    async fn requests_that_end_at_any_moment_disturb_nobody(app: TestApp) {
        hammer(app).await;
    }
}

/// Some milliseconds of work on either database.
const WORK: &str =
    "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000) SELECT COUNT(*) FROM n";

async fn work(db: &Db, sql: &str) -> Result<i64, StoreError> {
    let statement = Statement::from_string(db.read.get_database_backend(), sql);
    let row = db.read.query_one_raw(statement).await?;
    Ok(row.expect("there is a row").try_get_by_index(0)?)
}

const CREATE: &str = r#"mutation { createHero(input: {name: "A", secretName: "B"}) { hero { name } } }"#;

/// Heroes that requests have written.
#[derive(Default)]
struct Written {
    answered: i64,
    /// Their answers say that nobody knows: a statement that commits itself was interrupted at the end of its commit.
    unknown: i64,
}

/// One request that may be cut off at a random moment, or is not to be disturbed by those that are.
async fn request(db: Db, kind: usize, written: &mut Written) {
    let moment = Duration::from_micros(fastrand::u64(0..20_000));
    let hurried = db.for_request(Instant::now() + moment);
    match kind % 7 {
        // It runs out of time.
        0 | 1 => match work(&hurried, WORK).await {
            Ok(count) => assert_eq!(count, 20_000),
            Err(error) => assert!(matches!(error, StoreError::Timeout), "{error:?}"),
        },
        // Its client goes away.
        2 => drop(timeout(moment, work(&db, WORK)).await),
        // It has all the time that it needs.
        3 => assert_eq!(work(&db, WORK).await.expect("it is not disturbed"), 20_000),
        4 => assert_eq!(work(&db, "SELECT COUNT(*) FROM team").await.expect("it is not disturbed"), 0),
        5 => {
            let answer = graphql(&crate::support::router(db), CREATE, json!({})).await;
            assert_eq!(answer.get("errors"), None, "{answer}");
            written.answered += 1;
        }
        // It writes, or runs out of time.
        _ => {
            let answer = graphql(&crate::support::router(hurried), CREATE, json!({})).await;
            if answer.get("errors").is_none() {
                written.answered += 1;
            } else if answer["errors"][0]["extensions"] == json!({"code": "UNAVAILABLE"}) {
                let message = "the database did not answer the commit; this may be written, or not";
                assert_eq!(answer["errors"][0]["message"], message);
                written.unknown += 1;
            } else {
                assert_eq!(answer["errors"][0]["extensions"], json!({"code": "TIMEOUT"}), "{answer}");
            }
        }
    }
}

/// Requests that are cut off at random moments, among others that are not.
async fn hammer(app: &TestApp) {
    let clients: Vec<_> = (0..12)
        .map(|client| {
            let db = app.db.clone();
            tokio::spawn(async move {
                let mut written = Written::default();
                for round in 0..70 {
                    request(db.clone(), client + round, &mut written).await;
                }
                written
            })
        })
        .collect();
    let mut written = Written::default();
    for client in clients {
        let Written { answered, unknown } = client.await.expect("the client is content");
        written.answered += answered;
        written.unknown += unknown;
    }
    // What was answered was written, and what ran out of time was not.
    let [heroes, teams, links] = app.counts().await;
    let Written { answered, unknown } = written;
    assert!((answered..=answered + unknown).contains(&heroes), "{heroes} of {answered} and {unknown} unknown");
    assert_eq!([teams, links], [0, 0]);
    let (read, write) = (app.db.read.clone(), app.db.write.clone());
    for _ in 0..20 {
        assert_eq!(work(&app.db, WORK).await.expect("it is not disturbed"), 20_000);
        app.data(CREATE, json!({})).await;
    }
    // Closing waits for all connections, so none is lost.
    timeout(Duration::from_mins(1), async move {
        read.close().await.expect("the readers close");
        write.close().await.expect("the writers close");
    })
    .await
    .expect("no connection is lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_is_waited_for_past_the_deadline() {
    let Some(database) = TestDatabase::postgres().await else { return };
    let app = TestApp::new(database).await;
    // The commit waits for a lock that the test has.
    app.execute(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM \
                 pg_advisory_xact_lock(1); RETURN NULL; END $$",
    )
    .await;
    app.execute(
        "CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON hero DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW EXECUTE FUNCTION wait()",
    )
    .await;
    let outside = app.db.write.begin().await.expect("a transaction");
    outside.execute_unprepared("SELECT pg_advisory_xact_lock(1)").await.expect("the lock");
    let waiting = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND query = 'COMMIT' AND \
                   wait_event = 'advisory'";
    // One hero would be one statement, which commits itself.
    let create = r#"mutation { createHeroes(input: [{name: "A", secretName: "B"}, {name: "C", secretName: "D"}]) { heroes { name } } }"#;
    let waiting_client = in_enough_time(async |deadline| {
        let router = crate::support::router(app.db.for_request(deadline));
        let client = tokio::spawn(async move { graphql(&router, create, json!({})).await });
        until(async || client.is_finished() || app.count(waiting).await > 0).await;
        if !client.is_finished() {
            sleep_until(deadline + Duration::from_millis(100)).await;
            return Some(client);
        }
        let answer: Value = client.await.expect("the client does not panic");
        assert_eq!(answer["errors"][0]["extensions"], json!({"code": "TIMEOUT"}), "{answer}");
        None
    });
    let client = waiting_client.await;
    drop(outside);
    let answer: Value = client.await.expect("the client does not panic");
    assert_eq!(answer, json!({"data": {"createHeroes": {"heroes": [{"name": "A"}, {"name": "C"}]}}}));
    assert_eq!(app.counts().await, [2, 0, 0]);
    app.close().await;
}
