//! Commits, and other statements, whose answers never come: nobody else waits for them.

use std::{process::Command, time::Duration};

use axum::Router;
use hero_teams::db::{Db, Transaction};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    databases::{TestDatabase, skip},
    line::Line,
    outages::{READY, UNWRITABLE, assert_ready, code, until_ready},
    support::{TestApp, connect, graphql, in_enough_time, router, text_body, until},
};

const READ: &str = "{ heroes { name } }";
const CREATE: &str = r#"mutation { createHero(input: {name: "A", secretName: "B"}) { hero { name } } }"#;
/// Several heroes are several statements, which have a BEGIN and a COMMIT. One hero is one statement on PostgreSQL.
const CREATE_TWO: &str = r#"mutation { createHeroes(input: [{name: "A", secretName: "B"}, {name: "C", secretName: "D"}]) { heroes { name } } }"#;
const STUCK: &str = r#"mutation { createHeroes(input: [{name: "stuck", secretName: "B"}, {name: "C", secretName: "D"}]) { heroes { name } } }"#;
const STUCK_ALONE: &str = r#"mutation { createHero(input: {name: "stuck", secretName: "B"}) { hero { name } } }"#;
const UNANSWERED: &str = "the database did not answer the commit; this may be written, or not";

/// Lets the commit of a hero of this name do something.
async fn do_in_commit(app: &TestApp, name: &str, body: &str) {
    app.execute(&format!(
        "CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NULL; END $$"
    ))
    .await;
    app.execute(&format!(
        "CREATE CONSTRAINT TRIGGER {name} AFTER INSERT ON hero DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW WHEN (NEW.name = '{name}') EXECUTE FUNCTION {name}()"
    ))
    .await;
}

fn send(router: &Router, query: &'static str, number: usize) -> Vec<JoinHandle<Value>> {
    let client = |_| {
        let router = router.clone();
        tokio::spawn(async move { graphql(&router, query, json!({})).await })
    };
    (0..number).map(client).collect()
}

/// On a busy machine a commit that is about to fail waits as well, for something else.
const COMMITTING: &str = "FROM pg_stat_activity
    WHERE datname = current_database() AND query = 'COMMIT' AND state = 'active'
    AND wait_event IN ('advisory', 'PgSleep')";

/// The number of processes of PostgreSQL that wait in a commit.
async fn committing(app: &TestApp) -> i64 {
    app.count(&format!("SELECT COUNT(*) {COMMITTING}")).await
}

/// Those processes.
async fn committing_processes(app: &TestApp) -> Vec<String> {
    let mut pids = Vec::new();
    for index in 0..committing(app).await {
        let pid = app.count(&format!("SELECT pid::bigint {COMMITTING} ORDER BY pid OFFSET {index} LIMIT 1")).await;
        pids.push(pid.to_string());
    }
    pids
}

/// Clients that are all stuck in their commits, or that are not, because the deadline came before.
async fn stuck(
    app: &TestApp,
    deadline: Instant,
    number: usize,
) -> Result<Vec<JoinHandle<Value>>, Vec<JoinHandle<Value>>> {
    let clients = send(&router(app.db.for_request(deadline)), STUCK, number);
    let expected = i64::try_from(number).expect("it is small");
    let has_ended = || clients.iter().any(JoinHandle::is_finished);
    until(async || committing(app).await == expected || has_ended()).await;
    if has_ended() { Err(clients) } else { Ok(clients) }
}

/// Lets commits that take this lock wait.
async fn lock(db: &Db) -> Transaction {
    let lock = db.write.begin().await.expect("a transaction");
    lock.execute_unprepared("SELECT pg_advisory_xact_lock(1)").await.expect("the lock");
    lock
}

async fn ended(clients: Vec<JoinHandle<Value>>) {
    for client in clients {
        client.await.expect("the client does not panic");
    }
}

/// Processes that do nothing until this is dropped.
struct Stopped(Vec<String>);

impl Stopped {
    fn new(pids: Vec<String>) -> Option<Self> {
        let stopped = Self(pids);
        let is_stopped = stopped.signal("-STOP");
        if !is_stopped {
            skip("the processes of PostgreSQL cannot be stopped");
        }
        is_stopped.then_some(stopped)
    }

    fn signal(&self, signal: &str) -> bool {
        Command::new("kill").arg(signal).args(&self.0).status().is_ok_and(|status| status.success())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.signal("-CONT");
    }
}

fn within(app: &TestApp, seconds: u64) -> Router {
    router(app.db.for_request(Instant::now() + Duration::from_secs(seconds)))
}

fn assert_unanswered(answer: &Value, path: &str) {
    let error = json!({"message": UNANSWERED, "locations": [{"line": 1, "column": 12}], "path": [path],
        "extensions": {"code": "UNAVAILABLE"}});
    assert_eq!(*answer, json!({"data": {path: null}, "errors": [error]}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_stop_in_a_commit() {
    let Some(database) = TestDatabase::postgres().await else { return };
    let app = TestApp::with(database, |settings| settings.db.commit_timeout = Duration::from_secs(1)).await;
    do_in_commit(&app, "stuck", "PERFORM pg_sleep(3600)").await;
    // All writers there are.
    let clients = in_enough_time(async |deadline| match stuck(&app, deadline, 8).await {
        Ok(clients) => Some(clients),
        Err(clients) => {
            ended(clients).await;
            until(async || committing(&app).await == 0).await;
            None
        }
    });
    let clients = clients.await;
    if let Some(stopped) = Stopped::new(committing_processes(&app).await) {
        for client in clients {
            assert_unanswered(&client.await.expect("the client does not panic"), "createHeroes");
        }
        // Connections and turns are free, and the processes still stand.
        app.data(CREATE, json!({})).await;
        until_ready(&app, READY).await;
        assert_eq!(committing_processes(&app).await, stopped.0);
    }
    // They were told to give up, so that they are not there for ever.
    until(async || committing(&app).await == 0).await;
    assert_eq!(app.data(READ, json!({})).await, json!({"heroes": [{"name": "A"}]}));
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_when_no_writer_comes_back() {
    let Some(database) = TestDatabase::postgres_as_asked().await else { return };
    let app = TestApp::with(database, |settings| {
        settings.db.write_connections = 3;
        settings.db.commit_timeout = Duration::from_mins(5);
    })
    .await;
    do_in_commit(&app, "stuck", "PERFORM pg_advisory_xact_lock(1)").await;
    let outside = connect(&app.database.url).await;
    let waiting = in_enough_time(async |deadline| {
        let lock = lock(&outside).await;
        match stuck(&app, deadline, 3).await {
            Ok(clients) => Some((lock, clients)),
            Err(clients) => {
                drop(lock);
                ended(clients).await;
                None
            }
        }
    });
    let (lock, clients) = waiting.await;
    let is_ready = async || {
        let response = app.get("/health/ready").await;
        (response.status(), text_body(response).await)
    };
    // It is ready as long as the writers may be busy.
    until(async || {
        let (status, text) = is_ready().await;
        assert!([READY, UNWRITABLE].contains(&(status, &text)), "{status} {text}");
        (status, text.as_str()) == UNWRITABLE
    })
    .await;
    assert!(!clients.iter().any(JoinHandle::is_finished), "commits are waited for");
    drop(lock);
    for client in clients {
        let answer = client.await.expect("the client does not panic");
        assert_eq!(answer, json!({"data": {"createHeroes": {"heroes": [{"name": "stuck"}, {"name": "C"}]}}}));
    }
    assert_ready(&app, READY).await;
    outside.close().await.expect("the database closes");
    app.close().await;
}

/// A transaction that keeps losing to others gets the writers to itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_all_writers_wait_for() {
    let Some(mut database) = TestDatabase::postgres().await else { return };
    let Some(line) = Line::on(&mut database).await else { return };
    let app = TestApp::with(database, |settings| settings.db.commit_timeout = Duration::from_secs(1)).await;
    app.execute("CREATE SEQUENCE attempts").await;
    let lose = "IF nextval('attempts') < 8 THEN RAISE 'injected' USING ERRCODE = '40001'; END IF; PERFORM \
                pg_advisory_xact_lock(1)";
    do_in_commit(&app, "stuck", lose).await;
    let outside = connect(&app.database.url).await;
    let lock = lock(&outside).await;
    let alone = in_enough_time(async |deadline| {
        app.execute("ALTER SEQUENCE attempts RESTART").await;
        stuck(&app, deadline, 1).await.ok()
    });
    let alone = alone.await;
    let others = send(&app.router, CREATE, 4);
    // Its connection has gone in the middle of the commit.
    line.rules.swallow_calls();
    for client in alone {
        assert_unanswered(&client.await.expect("the client does not panic"), "createHeroes");
    }
    for client in others {
        let answer = client.await.expect("the client does not panic");
        assert_eq!(answer, json!({"data": {"createHero": {"hero": {"name": "A"}}}}));
    }
    drop((lock, line));
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_whose_answers_are_lost() {
    let Some(mut database) = TestDatabase::postgres().await else { return };
    let Some(line) = Line::on(&mut database).await else { return };
    let app = TestApp::with(database, |settings| {
        settings.db.write_connections = 1;
        settings.db.commit_timeout = Duration::from_millis(200);
    })
    .await;
    line.rules.swallow_after(Some("COMMIT"));
    for (query, path) in [
        (CREATE_TWO, "createHeroes"),
        (r#"mutation { updateHero(input: {id: 1, name: "B"}) { hero { name } } }"#, "updateHero"),
        ("mutation { deleteHeroes(input: [{id: 1}, {id: 2}]) { heroes { name } } }", "deleteHeroes"),
    ] {
        let answer = in_enough_time(async |deadline| {
            let answer = graphql(&router(app.db.for_request(deadline)), query, json!({})).await;
            if *code(&answer) == json!("TIMEOUT") {
                // It was not written, but it may have taken a key.
                app.execute("ALTER SEQUENCE hero_id_seq RESTART").await;
                return None;
            }
            Some(answer)
        });
        let answer = answer.await;
        assert_unanswered(&answer, path);
    }
    // Each was written.
    assert_eq!(app.counts().await, [0, 0, 0]);
    assert_eq!(app.count("SELECT last_value FROM hero_id_seq").await, 2);
    assert_ready(&app, UNWRITABLE).await;
    line.rules.swallow_after(None);
    until_ready(&app, READY).await;
    app.data(CREATE, json!({})).await;
    app.close().await;
}

/// What commits itself is interrupted at its deadline, and its answer says whether it was too late for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_commits_itself() {
    let Some(mut database) = TestDatabase::postgres().await else { return };
    let Some(mut line) = Line::on(&mut database).await else { return };
    let app = TestApp::with(database, |settings| {
        settings.db.write_connections = 1;
        settings.db.commit_timeout = Duration::from_mins(1);
    })
    .await;
    do_in_commit(&app, "stuck", "PERFORM pg_sleep(3600)").await;
    let answer = graphql(&within(&app, 1), STUCK_ALONE, json!({})).await;
    assert_eq!(*code(&answer), json!("TIMEOUT"), "{answer}");
    assert_eq!(app.counts().await, [0, 0, 0]);

    // It is too late for that, and perhaps a synchronous standby does not have it.
    app.execute("DROP TRIGGER stuck ON hero; DROP FUNCTION stuck").await;
    let body = "BEGIN PERFORM pg_sleep(3600); EXCEPTION WHEN query_canceled THEN NULL; END";
    do_in_commit(&app, "stuck", body).await;
    let answer = in_enough_time(async |deadline| {
        let answer = graphql(&router(app.db.for_request(deadline)), STUCK_ALONE, json!({})).await;
        (*code(&answer) != json!("TIMEOUT")).then_some(answer)
    });
    assert_unanswered(&answer.await, "createHero");
    assert_eq!(app.counts().await, [1, 0, 0]);

    // The connection breaks in the middle.
    let clients = send(&app.router, STUCK_ALONE, 1);
    let running = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
    until(async || app.count(running).await == 1).await;
    line.cut().await;
    for client in clients {
        assert_unanswered(&client.await.expect("the client does not panic"), "createHero");
    }
    drop(line);
    app.close().await;
}

/// A coordinator of Citus has one code (XX000) for a commit that a worker did not answer, and for a foreign key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_a_coordinator() {
    let Some(database) = TestDatabase::postgres_as_asked().await else { return };
    let app = TestApp::new(database).await;
    let lost = "RAISE 'could not commit transaction for shard 102009 on at least one active node' USING ERRCODE = \
                'XX000'";
    do_in_commit(&app, "stuck", lost).await;
    assert_unanswered(&app.graphql(STUCK).await, "createHeroes");
    assert_unanswered(&app.graphql(STUCK_ALONE).await, "createHero");

    app.execute("DROP TRIGGER stuck ON hero; DROP FUNCTION stuck; CREATE SEQUENCE attempts").await;
    let foreign_key = "IF nextval('attempts') < 3 THEN RAISE 'insert or update on table \"hero_team_link_1\" violates \
                       foreign key constraint \"a\"' USING ERRCODE = 'XX000'; END IF";
    do_in_commit(&app, "stuck", foreign_key).await;
    let data = app.data(STUCK_ALONE, json!({})).await;
    assert_eq!(data, json!({"createHero": {"hero": {"name": "stuck"}}}));
    assert_eq!((app.counts().await, app.count("SELECT last_value FROM attempts").await), ([1, 0, 0], 3));
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_do_not_begin() {
    let Some(mut database) = TestDatabase::postgres().await else { return };
    let Some(line) = Line::on(&mut database).await else { return };
    let app = TestApp::with(database, |settings| settings.db.write_connections = 1).await;
    line.rules.swallow_after(Some("BEGIN"));
    let answer = graphql(&within(&app, 1), CREATE_TWO, json!({})).await;
    assert_eq!(*code(&answer), json!("TIMEOUT"), "{answer}");
    line.rules.swallow_after(None);
    app.data(CREATE_TWO, json!({})).await;
    assert_eq!(app.counts().await, [2, 0, 0]);
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_do_not_end() {
    let Some(mut database) = TestDatabase::postgres().await else { return };
    let Some(line) = Line::on(&mut database).await else { return };
    let app = TestApp::with(database, |settings| settings.db.write_connections = 1).await;
    line.rules.swallow_after(Some("ROLLBACK"));
    let answer = app.graphql(r#"mutation { updateHero(input: {id: 1, name: "B"}) { hero { name } } }"#).await;
    assert_eq!(*code(&answer), json!("NOT_FOUND"), "{answer}");
    app.data(CREATE, json!({})).await;
    app.close().await;
}

/// What runs at the deadline is cancelled over another connection, which may hear nothing either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_that_cannot_be_cancelled() {
    let Some(mut database) = TestDatabase::postgres().await else { return };
    let Some(line) = Line::on(&mut database).await else { return };
    let app = TestApp::with(database, |settings| {
        settings.db.read_connections = 1;
        settings.db.write_connections = 1;
    })
    .await;
    crate::deadlines::slow_down_reads(&app).await;
    for is_known in [false, true] {
        if is_known {
            // The connection for this is there.
            assert_eq!(*code(&graphql(&within(&app, 1), READ, json!({})).await), json!("TIMEOUT"));
        }
        let running = in_enough_time(async |deadline| {
            app.seen();
            let client = send(&router(app.db.for_request(deadline)), READ, 1).pop()?;
            until(async || app.seen() > 0 || client.is_finished()).await;
            (!client.is_finished()).then_some(client)
        });
        let client = running.await;
        line.rules.swallow_all(true);
        assert_eq!(*code(&client.await.expect("the client does not panic")), json!("TIMEOUT"));
        line.rules.swallow_all(false);
        assert_eq!(app.data("{ team(id: 1) { name } }", json!({})).await, json!({"team": {"name": "Z-Force"}}));
    }
    app.close().await;
}
