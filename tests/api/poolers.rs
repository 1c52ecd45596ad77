//! What is between the server and PostgreSQL, and may drop what the server asks for when it opens a connection.

use std::{
    path::Path,
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use hero_teams::db::Db;
use serde_json::{Value, json};

use crate::{
    command_line::{refusal, run},
    databases::{Cluster, Pooler, TestDatabase, pgbouncer_keeps_statements},
    line::{Line, place},
    logged::Log,
    outages::code,
    support::{TestApp, graphql, router, until},
};

const READ: &str = "{ heroes { name } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_do_not_arrive() {
    let Some(mut database) = TestDatabase::postgres().await else { return };
    let Some(line) = Line::on(&mut database).await else { return };
    let url = database.url.clone();
    let app = TestApp::new(database).await;
    app.data(READ, json!({})).await;

    // The server does not start, also where the database has the settings anyway: it would cancel what others run.
    line.rules.drops_options.store(true, SeqCst);
    let folder = tempfile::tempdir().expect("a folder");
    for found in ["statement_timeout is 0 and not 60000", "no setting has arrived"] {
        let (folder, url) = (folder.path().to_owned(), url.clone());
        let output = tokio::task::spawn_blocking(move || run(&folder, &["--database-url", &url])).await;
        let said = refusal(&output.expect("it runs"));
        let reason = format!(
            "PostgreSQL does not do what was asked for when the connection was opened: {found}; through a pooler, set \
             --pooler transaction"
        );
        assert!(said.contains(&reason), "{said}");
        for setting in ["statement_timeout = '1min'", "idle_in_transaction_session_timeout = '1min'"] {
            app.database.administrate(&format!("ALTER DATABASE DATABASE_NAME SET {setting}")).await;
        }
    }

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

async fn pooled(mode: &str) -> Option<(TestDatabase, Pooler, String)> {
    let database = TestDatabase::postgres().await?;
    let pooler = Pooler::before(&database, mode)?;
    let url = pooler.url_of(&database);
    Some((database, pooler, url))
}

/// A server that reaches a database through the pooler at this address.
async fn through(database: TestDatabase, url: &str) -> TestApp {
    TestApp::with(database, |settings| settings.db = crate::support::db_settings(url)).await
}

/// The flags of a server that works through a PgBouncer that pools transactions.
pub fn flags() -> Vec<&'static str> {
    let mut flags = vec!["--pooler", "transaction"];
    if !pgbouncer_keeps_statements() {
        flags.push("--no-prepared-statements");
    }
    flags
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poolers_that_are_not_what_was_said() {
    let Some((database, pooler, url)) = pooled("transaction").await else { return };
    let said = |flags: &[&str], url: &str| refusal(&run(Path::new("/"), &[flags, &["--database-url", url]].concat()));
    // It does not take the settings of a server that knows of no pooler.
    assert!(said(&[], &url).contains("unsupported startup parameter"), "{}", said(&[], &url));
    if !pgbouncer_keeps_statements() {
        let refused = said(&["--pooler", "transaction"], &url);
        let reason = "the pooler does not keep prepared statements: use PgBouncer 1.21 or later with \
                      max_prepared_statements, or set --no-prepared-statements";
        assert_eq!(refused, format!("error: cannot open the database: {reason}"));
    }
    let statements = Pooler::before(&database, "statement").expect("it starts");
    let refused = said(&flags(), &statements.url_of(&database));
    assert!(refused.contains("statement pooling mode"), "{refused}");

    // PostgreSQL ends what the server cannot cancel there, if it is told to.
    let warning = "PostgreSQL ends no statement of a query by itself";
    let warned = || {
        let output = run(Path::new("/"), &[&flags()[..], &["migrate", "--database-url", &url]].concat());
        output.status.success().then(|| String::from_utf8_lossy(&output.stderr).contains(warning))
    };
    assert_eq!(warned(), Some(true));
    database.administrate("ALTER DATABASE DATABASE_NAME SET statement_timeout = '1min'").await;
    let sessions = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = 'DATABASE_NAME'";
    database.administrate(sessions).await;
    // The pooler may not know yet that a session has ended.
    until(async || warned() == Some(false)).await;
    drop((pooler, statements));
    database.remove().await;
}

const ONE_OF_THEM: &str = "mutation($team: String!) { createHero(input: {name: \"A\", secretName: \"B\", teams: {
    connectOrCreate: [{name: $team, headquarters: \"H\"}]}}) { hero { teams { id } } } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_that_connect_or_create_over_two_servers() {
    let Some((database, pooler, url)) = pooled("transaction").await else { return };
    let app = through(database, &url).await;
    let other = through(app.database.again(), &url).await;
    let clients: Vec<_> = (0..64)
        .map(|number| {
            let router = if number % 2 == 0 { app.router.clone() } else { other.router.clone() };
            tokio::spawn(async move { graphql(&router, ONE_OF_THEM, json!({"team": "T"})).await })
        })
        .collect();
    for client in clients {
        let answer = client.await.expect("the client does not panic");
        assert_eq!(answer.get("errors"), None, "{answer}");
    }
    assert_eq!(app.counts().await, [64, 1, 64]);
    other.db.close().await.expect("the database closes");
    app.close().await;
    drop(pooler);
}

/// The process that serves a statement may serve another client's by the time that somebody would have it cancelled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_cancelled_behind_a_pooler() {
    let Some((database, pooler, url)) = pooled("transaction").await else { return };
    let app = through(database, &url).await;
    crate::deadlines::slow_down_reads(&app).await;
    let slow = router(app.db.for_request(tokio::time::Instant::now() + Duration::from_millis(300)));
    let answer = graphql(&slow, READ, json!({})).await;
    assert_eq!(*code(&answer), json!("TIMEOUT"), "{answer}");
    // Its connection is given up, and others are as they were.
    for number in 0..20 {
        let answer = graphql(&app.router, ONE_OF_THEM, json!({"team": format!("T{number}")})).await;
        assert_eq!(answer.get("errors"), None, "{answer}");
    }
    app.close().await;
    drop(pooler);
}

/// Each pooler is looked at when it is first connected to: those of replicas, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_behind_poolers() {
    let Some(cluster) = Cluster::new() else { return };
    let before = TestApp::new(cluster.database()).await;
    before.data(CREATE, json!({})).await;
    before.close().await;
    let Some(standby) = Cluster::standby_of(&cluster.database()) else { return };
    let [primary, replica] = [&cluster, &standby].map(|cluster| Pooler::before(&cluster.database(), "transaction"));
    let (Some(primary), Some(replica)) = (primary, replica) else { return };
    // It keeps no transaction together.
    let statements = Pooler::before(&standby.database(), "statement").expect("it starts");
    let log = Log::of_this_test();
    let app = TestApp::with(cluster.database(), |settings| {
        settings.db = crate::support::db_settings(&primary.url_of(&cluster.database()));
        settings.db.max_replica_lag = Duration::from_hours(1);
        let urls = [&statements, &replica].map(|pooler| pooler.url_of(&standby.database()));
        settings.db.replicas = urls.map(|url| url.parse().expect("a URL")).into();
    })
    .await;
    for _ in 0..10 {
        assert_eq!(app.graphql(READ).await, json!({"data": {"heroes": [{"name": "A"}]}}));
        assert_ne!(replica_of(&app).await, Some(1));
    }
    // On a busy machine the other one may be away for a moment.
    until(async || replica_of(&app).await == Some(2)).await;
    let reason = "statement pooling mode";
    let refused = |line: &Value| {
        let fields = &line["fields"];
        fields["message"] == "a replica cannot be looked at" && fields["error"].to_string().contains(reason)
    };
    assert!(log.lines().iter().any(refused), "{:?}", log.lines());
    app.close().await;
    drop((primary, replica, statements));
}

/// The number of the replica that the next query goes to.
async fn replica_of(app: &TestApp) -> Option<u32> {
    app.db.for_query(tokio::time::Instant::now() + Duration::from_mins(5), &[]).await.usage().replica
}

/// A pooler that takes the place of another one is looked at as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_host_whose_pooler_is_not_what_was_said() {
    let Some((database, pooler, url)) = pooled("transaction").await else { return };
    let statements = Pooler::before(&database, "statement").expect("it starts");
    let hosts = [&url, &statements.url_of(&database)].map(|url| place(url).expect("a place").1.to_owned()).join(",");
    let url = format!("{}?host={hosts}&target_session_attrs=read-write", url.split_once('?').expect("it has a host").0);
    let app = through(database, &url).await;
    app.data(CREATE, json!({})).await;
    drop(pooler);
    until(async || app.graphql(READ).await["data"] == Value::Null).await;
    for _ in 0..3 {
        let answer = app.graphql(READ).await;
        assert_eq!(*code(&answer), json!("UNAVAILABLE"), "{answer}");
    }
    app.close().await;
}

/// LISTEN needs a session of its own. Without one, events are looked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_through_a_pooler() {
    let Some((database, pooler, url)) = pooled("transaction").await else { return };
    let listening = "SELECT COUNT(*) FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE 'LISTEN%' AND application_name = 'hero-teams'";
    for hears in [false, true] {
        let app = TestApp::with(database.again(), |settings| {
            settings.db = crate::support::db_settings(&url);
            if hears {
                settings.events.events_url = Some(database.url.parse().expect("a URL"));
            }
        })
        .await;
        let other = through(database.again(), &url).await;
        let listener = app.events.listen(None, Duration::from_mins(5)).await;
        let mut listener = listener.expect("there is room for one who listens");
        until(async || (app.count(listening).await > 0) == hears).await;
        let created: Value = other.data(CREATE, json!({})).await;
        assert_eq!(created, json!({"createHero": {"hero": {"name": "A"}}}));
        let batch = listener.next().await.expect("the events are kept");
        assert!(!batch.events.is_empty());
        drop(listener);
        for app in [app, other] {
            app.db.close().await.expect("the database closes");
        }
    }
    drop(pooler);
    database.remove().await;
}

const CREATE: &str = r#"mutation { createHero(input: {name: "A", secretName: "B"}) { hero { name } } }"#;
