//! Replicas that answer queries, what a client reads after it has written, and another primary after the first.

use std::{
    cmp::Ordering,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode, header::CONTENT_TYPE},
};
use hero_teams::{db::Db, telemetry::Telemetry};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tower::ServiceExt as _;

use crate::{
    command_line::{Server, refusal, run, stdout, wrong_setting},
    databases::{Cluster, TestDatabase, execute},
    events::{IDS, Stream},
    line::{Line, place},
    metrics,
    outages::{READY, UNREADABLE, code, ready, until_ready},
    support::{TestApp, graphql, in_enough_time, json_body, router, until},
};

const READ: &str = "{ heroes { name } }";
const CREATE: &str = "mutation($name: String!) { createHero(input: {name: $name, secretName: \"B\"}) { hero { id } } }";

/// A server on a primary, with standbys of it as replicas.
async fn app(primary: &TestDatabase, replicas: &[&str], max_lag: Duration) -> TestApp {
    watched_app(primary, replicas, max_lag, &Telemetry::default()).await
}

async fn watched_app(primary: &TestDatabase, replicas: &[&str], max_lag: Duration, telemetry: &Telemetry) -> TestApp {
    TestApp::with(primary.again(), |settings| {
        settings.db.telemetry = telemetry.clone();
        settings.db.replicas = replicas.iter().map(|url| postgres(url)).collect();
        settings.db.max_replica_lag = max_lag;
    })
    .await
}

fn postgres(url: &str) -> hero_teams::config::PostgresUrl {
    url.parse().expect("it is a URL")
}

fn soon() -> Instant {
    Instant::now() + Duration::from_mins(5)
}

/// The number of the replica that the next query goes to.
async fn replica(db: &Db) -> Option<u32> {
    db.for_query(soon(), &[]).await.usage().replica
}

/// A request with headers, and the whole answer with its headers.
async fn send(router: &Router, body: Value, headers: &[(&'static str, &str)]) -> (StatusCode, HeaderMap, Value) {
    let mut request = Request::post("/graphql").header(CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_string())).expect("it is a request");
    let response = router.clone().oneshot(request).await.expect("the router answers");
    let (status, headers) = (response.status(), response.headers().clone());
    (status, headers, json_body(response).await)
}

/// Creates a hero, and gives what the client is told to read it by.
async fn create(router: &Router, name: &str) -> String {
    let (status, headers, answer) = send(router, json!({"query": CREATE, "variables": {"name": name}}), &[]).await;
    assert_eq!((status, answer.get("errors")), (StatusCode::OK, None), "{answer}");
    let written = headers["x-hero-teams-written"].to_str().expect("it is text").to_owned();
    assert_eq!(answer["extensions"], json!({"written": written}));
    written
}

async fn names(router: &Router, written: Option<&str>) -> Vec<String> {
    let headers: Vec<_> = written.map(|written| ("x-hero-teams-after", written)).into_iter().collect();
    let (_, _, answer) = send(router, json!({"query": READ}), &headers).await;
    let heroes = answer["data"]["heroes"].as_array().unwrap_or_else(|| panic!("{answer}"));
    heroes.iter().map(|hero| hero["name"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_reads_what_it_has_written() {
    let Some(cluster) = Cluster::new() else { return };
    let primary = cluster.database();
    TestApp::new(primary.again()).await.close().await;
    let Some(standby) = Cluster::standby_of(&primary) else { return };
    let telemetry = metrics::telemetry(10);
    let app = watched_app(&primary, &[&standby.url], Duration::from_hours(1), &telemetry).await;
    let value = |series: &str| metrics::now(&telemetry).get(series).copied().unwrap_or_default();
    let by = |result: &str| value(&format!("hero_teams_read_your_writes_total{{result=\"{result}\"}}"));
    let router = &app.router;
    let first = create(router, "A").await;
    assert_eq!(names(router, Some(&first)).await, ["A"]);
    until(async || names(router, None).await == ["A"]).await;

    // The replica has come to a halt, and is not yet too far behind.
    pause_replay(&standby).await;
    let second = create(router, "B").await;
    // On a busy machine a look at it may take too long, and the primary is asked for a while.
    until(async || names(router, None).await == ["A"]).await;
    until(async || names(router, Some(&first)).await == ["A"]).await;
    // It may be waited for, until a look at it has told how far it is.
    assert!(by("replica") + by("waited") >= 1.0);
    let by_primary = by("primary");
    for written in [second.clone(), format!("{first}, {second}"), format!(",{second},, ")] {
        assert_eq!(names(router, Some(&written)).await, ["A", "B"]);
    }
    assert_eq!(by("primary").total_cmp(&(by_primary + 3.0)), Ordering::Equal);
    // What it has not replayed grows older.
    let lag = "hero_teams_replica_lag_seconds{replica=\"1\"}";
    until(async || {
        app.db.tell_state();
        value(lag) > 0.0
    })
    .await;
    let body = |after: Value| json!({"query": READ, "extensions": {"after": after}});
    let both = json!({"data": {"heroes": [{"name": "A"}, {"name": "B"}]}});
    for after in [json!(second), json!([first, second])] {
        assert_eq!(send(router, body(after), &[]).await.2, both);
    }
    // A mutation, what it selects, and what comes after it in a batch are answered by the primary.
    let query = "mutation { createHero(input: {name: \"C\", secretName: \"B\"}) { query { heroes { name } } } }";
    let all = json!([{"name": "A"}, {"name": "B"}, {"name": "C"}]);
    let (_, _, answer) = send(router, json!({"query": query}), &[]).await;
    assert_eq!(answer["data"], json!({"createHero": {"query": {"heroes": all.clone()}}}));
    let delete = "mutation { deleteHero(input: {id: 3}) { hero { name } } }";
    let batch = json!([{"query": READ}, {"query": delete}, {"query": READ}]);
    let batching = TestApp::with(primary.again(), |settings| {
        settings.db.replicas = vec![postgres(&standby.url)];
        settings.graphql.max_batch = 3;
    })
    .await;
    let (_, headers, answers) = send(&batching.router, batch, &[]).await;
    assert!([json!([{"name": "A"}]), all].contains(&answers[0]["data"]["heroes"]), "{answers}");
    assert_eq!(answers[2], both);
    assert_eq!(answers[1]["extensions"]["written"], headers["x-hero-teams-written"].to_str().expect("it is text"));

    // What comes from elsewhere is read from the primary, and what is not such a value is refused.
    assert_eq!(names(router, Some("MToxOjE")).await, ["A", "B"]);
    for (after, header) in [(json!("x"), None), (json!(1), None), (json!([1]), None), (json!(null), Some("x"))] {
        let headers: Vec<_> = header.map(|value| ("x-hero-teams-after", value)).into_iter().collect();
        let (_, _, answer) = send(router, body(after), &headers).await;
        let error = json!({"message": "`after` must be a value of `written`, or a list of at most 16 of them",
            "extensions": {"code": "BAD_USER_INPUT"}});
        assert_eq!(answer, json!({"errors": [error]}));
    }
    let (_, _, answer) = send(router, body(json!(vec![first.clone(); 17])), &[]).await;
    assert_eq!(*code(&answer), json!("BAD_USER_INPUT"));
    assert_eq!(send(router, body(json!(vec![second.clone(); 16])), &[]).await.2, both);

    execute(&standby.url, "SELECT pg_wal_replay_resume()").await;
    until(async || names(router, None).await == ["A", "B"]).await;
    batching.db.close().await.expect("the database closes");
    app.close().await;
}

async fn is_so(url: &str, sql: &str) -> bool {
    let db = Box::pin(sea_orm::Database::connect(url)).await.expect("a connection to PostgreSQL");
    let row = db.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await.expect("it runs");
    let is_so = row.expect("there is a row").try_get_by_index(0).expect("it is a boolean");
    db.close().await.expect("the connection closes");
    is_so
}

/// The age of what a replica lacks is not known when a server starts, so it may be more than is allowed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_behind_before_the_server_started() {
    let Some(cluster) = Cluster::new() else { return };
    let primary = cluster.database();
    TestApp::new(primary.again()).await.close().await;
    let Some(standby) = Cluster::standby_of(&primary) else { return };
    pause_replay(&standby).await;
    let before = TestApp::new(primary.again()).await;
    before.data(CREATE, json!({"name": "A"})).await;
    before.close().await;

    let telemetry = metrics::telemetry(10);
    let app = watched_app(&primary, &[&standby.url], Duration::from_hours(1), &telemetry).await;
    let state = || {
        app.db.tell_state();
        let series = ["hero_teams_replica_up{replica=\"1\"}", "hero_teams_replica_lag_seconds{replica=\"1\"}"];
        series.map(|series| metrics::now(&telemetry).get(series).copied().unwrap_or_default().to_string())
    };
    for _ in 0..10 {
        assert_eq!(names(&app.router, None).await, ["A"]);
        assert_eq!(state(), ["0", "inf"]);
    }
    execute(&standby.url, "SELECT pg_wal_replay_resume()").await;
    until(async || replica(&app.db).await == Some(1)).await;
    assert_eq!(names(&app.router, None).await, ["A"]);
    until(async || state() == ["1", "0"]).await;
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_gives_no_connection() {
    let Some(cluster) = Cluster::new() else { return };
    let primary = cluster.database();
    let before = TestApp::new(primary.again()).await;
    before.data(CREATE, json!({"name": "A"})).await;
    before.close().await;
    execute(&primary.url, "CREATE ROLE reader LOGIN CONNECTION LIMIT 1 IN ROLE pg_read_all_data").await;
    let Some(standby) = Cluster::standby_of(&primary) else { return };
    // The one that it is looked at by is all that there is.
    let url = standby.url.replace("postgres://postgres@", "postgres://reader@");
    let app = app(&primary, &[&url], Duration::from_hours(1)).await;
    for _ in 0..3 {
        assert_eq!(names(&app.router, None).await, ["A"]);
        assert_eq!(replica(&app.db).await, None);
    }
    execute(&primary.url, "ALTER ROLE reader CONNECTION LIMIT 10").await;
    until(async || replica(&app.db).await == Some(1)).await;
    assert_eq!(names(&app.router, None).await, ["A"]);
    app.close().await;
}

/// A commit that was not answered may have been made, and only the primary knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_perhaps_written_is_read_from_the_primary() {
    let Some(cluster) = Cluster::new() else { return };
    let mut primary = cluster.database();
    TestApp::new(primary.again()).await.close().await;
    let Some(standby) = Cluster::standby_of(&primary) else { return };
    let Some(line) = Line::on(&mut primary).await else { return };
    let app = TestApp::with(primary, |settings| {
        settings.db.replicas = vec![postgres(&standby.url)];
        settings.db.max_replica_lag = Duration::from_hours(1);
        settings.db.commit_timeout = Duration::from_millis(200);
    })
    .await;
    until(async || replica(&app.db).await == Some(1)).await;
    pause_replay(&standby).await;

    line.rules.swallow_after(Some("SELECT pg_current_xact_id_if_assigned()"));
    let (headers, answer) = in_enough_time(async |deadline| {
        let create = json!({"query": CREATE, "variables": {"name": "A"}});
        let (_, headers, answer) = send(&router(app.db.for_request(deadline)), create, &[]).await;
        (*code(&answer) != json!("TIMEOUT")).then_some((headers, answer))
    })
    .await;
    line.rules.swallow_after(None);
    assert_eq!(*code(&answer), json!("UNAVAILABLE"), "{answer}");
    let written = headers["x-hero-teams-written"].to_str().expect("it is text");
    assert_eq!(answer["extensions"]["written"], json!(written));
    until(async || names(&app.router, None).await.is_empty()).await;
    for _ in 0..10 {
        assert_eq!(names(&app.router, Some(written)).await, ["A"]);
    }
    execute(&standby.url, "SELECT pg_wal_replay_resume()").await;
    app.close().await;
}

/// Brings a standby to a halt.
async fn pause_replay(standby: &Cluster) {
    execute(&standby.url, "SELECT pg_wal_replay_pause()").await;
    until(async || is_so(&standby.url, "SELECT pg_get_wal_replay_pause_state() = 'paused'").await).await;
}

/// Has a standby get nothing of the primary any more.
async fn cut_off(standby: &Cluster) {
    execute(&standby.url, "ALTER SYSTEM SET primary_conninfo = ''").await;
    execute(&standby.url, "SELECT pg_reload_conf()").await;
    until(async || is_so(&standby.url, "SELECT NOT EXISTS (SELECT FROM pg_stat_wal_receiver)").await).await;
}

/// The address of that one of two servers which can be written.
fn either(one: &Cluster, other: &Cluster) -> String {
    let folders = [&one.url, &other.url].map(|url| place(url).expect("it has a place").1.to_owned());
    format!("postgres://postgres@localhost/postgres?host={}&target_session_attrs=read-write", folders.join(","))
}

/// Clients that write at one server and read at another at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_directly_after_writes() {
    let Some(cluster) = Cluster::new() else { return };
    let primary = cluster.database();
    TestApp::new(primary.again()).await.close().await;
    let Some(standby) = Cluster::standby_of(&primary) else { return };
    let one = app(&primary, &[&standby.url], Duration::from_secs(5)).await;
    let telemetry = metrics::telemetry(10);
    let other = watched_app(&primary, &[&standby.url], Duration::from_secs(5), &telemetry).await;
    let number: u32 = std::env::var("TEST_STEPS").ok().and_then(|steps| steps.parse().ok()).unwrap_or(1_000);
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let (one, other) = (one.router.clone(), other.router.clone());
            tokio::spawn(async move {
                let query = "query($where: HeroFilter) { heroes(where: $where) { name } }";
                for round in 0..number / 4 {
                    let name = format!("{client} {round}");
                    let written = create(&one, &name).await;
                    let body = json!({"query": query, "variables": {"where": {"name": {"eq": name}}}});
                    let answer = send(&other, body, &[("x-hero-teams-after", &written)]).await.2;
                    assert_eq!(answer, json!({"data": {"heroes": [{"name": name}]}}));
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("no read is stale");
    }
    let by = ["replica", "waited", "primary"].map(|result| {
        let series = format!("hero_teams_read_your_writes_total{{result=\"{result}\"}}");
        metrics::now(&telemetry).get(&*series).copied().unwrap_or_default()
    });
    assert_eq!(by.iter().sum::<f64>().to_string(), (number / 4 * 4).to_string());
    assert!(by[0] + by[1] > 0.0, "the replica is asked as well: {by:?}");
    for app in [one, other] {
        app.close().await;
    }
}

/// Reads go on, without an error, until `flag` is set.
fn readers(router: &Router, ends: &Arc<AtomicBool>) -> Vec<tokio::task::JoinHandle<usize>> {
    let reader = |_| {
        let (router, ends) = (router.clone(), Arc::clone(ends));
        tokio::spawn(async move {
            let mut number = 0;
            while !ends.load(SeqCst) {
                let answer = graphql(&router, READ, json!({})).await;
                assert_eq!(answer, json!({"data": {"heroes": [{"name": "A"}]}}));
                number += 1;
            }
            number
        })
    };
    (0..4).map(reader).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_ended_and_started() {
    let Some(cluster) = Cluster::new() else { return };
    let primary = cluster.database();
    let before = TestApp::new(primary.again()).await;
    before.data(CREATE, json!({"name": "A"})).await;
    before.close().await;
    let Some(mut standby) = Cluster::standby_of(&primary) else { return };
    let app = app(&primary, &[&standby.url], Duration::from_hours(1)).await;
    let ends = Arc::default();
    let reading = readers(&app.router, &ends);
    for _ in 0..20 {
        until(async || replica(&app.db).await == Some(1)).await;
        standby.stop();
        until(async || replica(&app.db).await.is_none()).await;
        standby.start();
    }
    until(async || replica(&app.db).await == Some(1)).await;
    ends.store(true, SeqCst);
    for reader in reading {
        assert!(reader.await.expect("no read fails") > 0);
    }
    assert_eq!(app.get("/health/ready").await.status(), StatusCode::OK);
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_stall_lag_or_are_promoted() {
    let Some(cluster) = Cluster::new() else { return };
    let primary = cluster.database();
    let before = TestApp::new(primary.again()).await;
    before.data(CREATE, json!({"name": "A"})).await;
    before.close().await;
    let Some(standby) = Cluster::standby_of(&primary) else { return };
    let mut behind_line = standby.database();
    let Some(line) = Line::on(&mut behind_line).await else { return };
    let app = app(&primary, &[&behind_line.url], Duration::from_millis(500)).await;
    until(async || replica(&app.db).await == Some(1)).await;
    let ends = Arc::default();
    let reading = readers(&app.router, &ends);

    // What is on its way to it goes to the primary.
    line.rules.swallow_all(true);
    until(async || replica(&app.db).await.is_none()).await;
    line.rules.swallow_all(false);
    until(async || replica(&app.db).await == Some(1)).await;

    execute(&standby.url, "SELECT pg_wal_replay_pause()").await;
    execute(&primary.url, "UPDATE hero SET age = 1").await;
    until(async || replica(&app.db).await.is_none()).await;
    execute(&standby.url, "SELECT pg_wal_replay_resume()").await;
    until(async || replica(&app.db).await == Some(1)).await;
    // Nothing is written, so nothing is behind, for much longer than it may be. A slow answer may say otherwise once.
    let mut answers = 0;
    for _ in 0..20 {
        sleep(Duration::from_millis(100)).await;
        answers += usize::from(replica(&app.db).await == Some(1));
    }
    assert!(answers > 10, "{answers} of 20");

    standby.promote().await;
    until(async || replica(&app.db).await.is_none()).await;
    ends.store(true, SeqCst);
    for reader in reading {
        assert!(reader.await.expect("no read fails") > 0);
    }
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_log_says_of_replicas() {
    let Some(cluster) = Cluster::new() else { return };
    let primary = cluster.database();
    TestApp::new(primary.again()).await.close().await;
    let Some(mut standby) = Cluster::standby_of(&primary) else { return };
    let Some(other) = Cluster::new() else { return };
    let urls = format!("{},{}", standby.url, other.url);
    let server = Server::start(Path::new("/"), &["--database-url", &primary.url, "--read-url", &urls]);
    loop {
        assert_eq!(server.graphql(READ, json!({})).await, Some(json!({"data": {"heroes": []}})));
        if server.logged(&["answered", "path=\"/graphql\""]).contains("replica=1") {
            break;
        }
    }
    standby.stop();
    server.logged(&["WARN", "a replica is not asked", "replica=1"]);
    assert_eq!(server.graphql(READ, json!({})).await, Some(json!({"data": {"heroes": []}})));
    standby.start();
    server.logged(&["INFO", "a replica answers queries", "replica=1"]);
    drop(server);
    // A server starts without its replicas, and says which are none.
    standby.stop();
    let server = Server::start(Path::new("/"), &["--database-url", &primary.url, "--read-url", &urls]);
    assert_eq!(server.graphql(READ, json!({})).await, Some(json!({"data": {"heroes": []}})));

    let folder = tempfile::tempdir().expect("a folder");
    let output = run(folder.path(), &["--read-url", &standby.url]);
    assert_eq!(wrong_setting(&output), "error: --read-url needs PostgreSQL as the database");
    let output = run(folder.path(), &["--pooler", "transaction"]);
    assert_eq!(wrong_setting(&output), "error: --pooler transaction needs PostgreSQL as the database");
}

/// The primary is killed under writes, and its standby takes its place: what was answered is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_primary() {
    let Some(cluster) = Cluster::new() else { return };
    let mut primary = cluster;
    TestApp::new(primary.database()).await.close().await;
    let mut answered: Vec<String> = Vec::new();
    for round in 0..5 {
        let Some(standby) = Cluster::standby_of(&primary.database()) else { return };
        // No commit is answered before the standby has it. Once promoted, it has none to wait for.
        execute(&standby.url, "ALTER SYSTEM RESET synchronous_standby_names").await;
        execute(&standby.url, "SELECT pg_reload_conf()").await;
        execute(&primary.url, "ALTER SYSTEM SET synchronous_standby_names = '*'").await;
        execute(&primary.url, "SELECT pg_reload_conf()").await;
        let is_synchronous = "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')";
        until(async || is_so(&primary.url, is_synchronous).await).await;

        let url = either(&primary, &standby);
        let app = TestApp::with(primary.database(), |settings| {
            settings.db.url = url.parse().expect("a URL");
            settings.db.acquire_timeout = Duration::from_millis(500);
        })
        .await;
        let ends = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (router, ends) = (app.router.clone(), Arc::clone(&ends));
                tokio::spawn(async move {
                    let mut written = Vec::new();
                    for number in 0.. {
                        if ends.load(SeqCst) {
                            break;
                        }
                        let name = format!("{round} {writer} {number}");
                        let answer = graphql(&router, CREATE, json!({"name": name})).await;
                        if answer.get("errors").is_none() {
                            written.push(name);
                        } else {
                            assert_eq!(*code(&answer), json!("UNAVAILABLE"), "{answer}");
                        }
                    }
                    written
                })
            })
            .collect();
        let heroes = "SELECT COUNT(*) FROM hero";
        let before = app.count(heroes).await;
        until(async || app.count(heroes).await > before + 20).await;
        primary.stop();
        until_ready(&app, UNREADABLE).await;
        standby.promote().await;
        until_ready(&app, READY).await;
        let before = app.count(heroes).await;
        until(async || app.count(heroes).await > before + 20).await;
        ends.store(true, SeqCst);
        for writer in writers {
            answered.extend(writer.await.expect("nothing but that is answered"));
        }
        app.close().await;
        primary = standby;
    }
    let app = TestApp::new(primary.database()).await;
    let names = answered.iter().map(|name| format!("('{name}')")).collect::<Vec<_>>().join(", ");
    let missing =
        format!("SELECT COUNT(*) FROM (VALUES {names}) AS answered (name) WHERE name NOT IN (SELECT name FROM hero)");
    assert_eq!(app.count(&missing).await, 0);
    app.close().await;
}

/// The primary is killed, and a standby takes its place that was behind. Whoever has had events that are lost is told
/// so, and nobody else misses or gets one that is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_primary_that_was_behind() {
    failover(false).await;
}

/// The same while a transaction holds back the events that are lost: nobody has had them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_primary_that_was_behind_a_transaction() {
    failover(true).await;
}

async fn failover(are_held: bool) {
    let Some(mut primary) = Cluster::new() else { return };
    TestApp::new(primary.database()).await.close().await;
    let Some(standby) = Cluster::standby_of(&primary.database()) else { return };
    let url = either(&primary, &standby);
    let app = TestApp::with(primary.database(), |settings| {
        settings.db.url = url.parse().expect("a URL");
        settings.db.acquire_timeout = Duration::from_millis(500);
    })
    .await;
    let mut stream = Stream::open(&app.router, IDS, json!({})).await;
    let write = async |name: &str| graphql(&app.router, CREATE, json!({"name": name})).await;
    assert_eq!(write("kept").await.get("errors"), None);
    let kept = stream.next().await.expect("the stream goes on").id;
    until(async || is_so(&standby.url, "SELECT EXISTS (SELECT FROM hero)").await).await;
    cut_off(&standby).await;
    let open = app.db.write.begin().await.expect("it begins");
    if are_held {
        let event = "INSERT INTO event (kind, change, first_key) VALUES ('hero', 'DELETED', 9)";
        open.execute_unprepared(event).await.expect("it writes");
    }
    for _ in 0..20 {
        assert_eq!(write("lost").await.get("errors"), None);
    }
    let mut after_lost = Stream::open(&app.router, IDS, json!({})).await;
    let mut lost = None;
    if !are_held {
        lost = stream.next().await.expect("the stream goes on").id;
        stream.values(19).await;
    }
    primary.stop();
    drop(open);
    until_ready(&app, UNREADABLE).await;
    standby.promote().await;
    until_ready(&app, READY).await;

    let mut fresh = Stream::open(&app.router, IDS, json!({})).await;
    // Its transactions have the numbers of those that are lost.
    let mut ids = Vec::new();
    for _ in 0..10 {
        let answer = write("new").await;
        ids.push(json!({"change": "CREATED", "id": answer["data"]["createHero"]["hero"]["id"]}));
    }
    assert_eq!(fresh.values(10).await, ids);
    for stream in [&mut stream, &mut after_lost] {
        if are_held {
            assert_eq!(stream.values(10).await, ids);
        } else {
            assert_eq!(stream.error().await["extensions"]["code"], "EVENTS_GONE");
        }
    }
    let mut resumed = Stream::resumed(&app.router, IDS, json!({}), kept.as_deref()).await;
    assert_eq!(resumed.values(10).await, ids);
    if let Some(lost) = lost {
        let mut refused = Stream::resumed(&app.router, IDS, json!({}), Some(&lost)).await;
        assert_eq!(refused.error().await["extensions"]["code"], "EVENTS_GONE");
    }
    drop((stream, after_lost, fresh, resumed));
    app.close().await;
}

/// A standby that was behind becomes the primary. A replica that was ahead of it never follows, though its transactions
/// have the numbers of new ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_ahead_of_another_primary() {
    let Some(mut primary) = Cluster::new() else { return };
    TestApp::new(primary.database()).await.close().await;
    let Some(behind) = Cluster::standby_of(&primary.database()) else { return };
    let Some(ahead) = Cluster::standby_of(&primary.database()) else { return };
    let url = either(&primary, &behind);
    let app = TestApp::with(primary.database(), |settings| {
        settings.db.url = url.parse().expect("a URL");
        settings.db.acquire_timeout = Duration::from_millis(500);
        settings.db.replicas = vec![postgres(&ahead.url)];
        settings.db.max_replica_lag = Duration::from_hours(1);
    })
    .await;
    until(async || replica(&app.db).await == Some(1)).await;
    cut_off(&behind).await;
    for _ in 0..50 {
        create(&app.router, "lost").await;
    }
    until(async || is_so(&ahead.url, "SELECT COUNT(*) = 50 FROM hero").await).await;
    until(async || replica(&app.db).await == Some(1)).await;
    // It has not replayed all that it has received.
    pause_replay(&ahead).await;
    for _ in 0..20 {
        create(&app.router, "lost").await;
    }
    let has_received = "SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) > 1000";
    until(async || is_so(&ahead.url, has_received).await).await;
    primary.stop();
    until_ready(&app, UNREADABLE).await;
    behind.promote().await;
    until_ready(&app, READY).await;

    until(async || replica(&app.db).await.is_none()).await;
    let mut heroes = Vec::new();
    for number in 0..95 {
        if number == 30 {
            execute(&ahead.url, "SELECT pg_wal_replay_resume()").await;
            until(async || is_so(&ahead.url, "SELECT COUNT(*) = 70 FROM hero").await).await;
        }
        let name = format!("new {number}");
        let written = create(&app.router, &name).await;
        heroes.push(name);
        assert_eq!(names(&app.router, Some(&written)).await, heroes);
        assert_eq!(names(&app.router, None).await, heroes);
    }
    app.close().await;
}

/// A server that asks for a host which can be written takes no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_cannot_be_written() {
    let Some(cluster) = Cluster::new() else { return };
    let primary = cluster.database();
    TestApp::new(primary.again()).await.close().await;
    let Some(standby) = Cluster::standby_of(&primary) else { return };
    let url = format!("{}&target_session_attrs=read-write", standby.url);
    let output = run(Path::new("/"), &["--listen", "127.0.0.1:0", "--acquire-timeout", "1", "--database-url", &url]);
    let said = refusal(&output);
    assert!(
        said.ends_with("the host may only be read, but target_session_attrs asks for one that can be written"),
        "{said}"
    );
    let server =
        Server::start(Path::new("/"), &["--database-url", &format!("{}&target_session_attrs=any", standby.url)]);
    assert_eq!(ready(&server).await.0, StatusCode::SERVICE_UNAVAILABLE);

    // A copy is made of the first host that is as the URL says.
    let folder = tempfile::tempdir().expect("a folder");
    let folders = [&primary.url, &standby.url].map(|url| place(url).expect("it has a place").1.to_owned());
    let copy = |hosts: &str, target: &str| {
        let from = format!("postgres://postgres@localhost/postgres?host={hosts}&target_session_attrs=read-write");
        let target = format!("sqlite://{target}");
        run(folder.path(), &["copy", "--progress", "none", "--from", &from, "--database-url", &target])
    };
    let [of_primary, of_standby] = folders;
    assert_eq!(stdout(&copy(&format!("/nowhere,{of_standby},{of_primary}"), "a.db")), "0 rows copied\n");
    for (hosts, expected) in [
        (of_standby.clone(), "the host may only be read, but target_session_attrs asks for one that can be written"),
        (format!("/nowhere,{of_standby}"), "none of the hosts answers and can be written"),
        (format!("{of_standby},/nowhere"), "none of the hosts answers and can be written"),
    ] {
        assert_eq!(refusal(&copy(&hosts, "b.db")), format!("error: cannot copy: {expected}"));
    }
}
