//! Metrics, as Prometheus reads them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::SystemTime,
};

use axum::{body::Body, http::Request};
use hero_teams::{
    access::ApiKeys,
    config::TelemetrySettings,
    schema::Scopes,
    telemetry::{Telemetry, exposition},
};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{
    command_line::{Server, request_at},
    databases::{TestDatabase, skip},
    support::{TestApp, config, free_port, post, until},
};

const DASHBOARD: &str = include_str!("../../docs/deployment/grafana.json");

/// A server with metrics, and where they are.
pub fn watched(folder: &Path, flags: &[&str]) -> (Server, String) {
    let server = Server::start(folder, &[flags, &["--metrics-listen", "127.0.0.1:0"]].concat());
    let line = server.logged(&["metrics at http://"]);
    let (_, address) = line.split_once("http://").expect("it says where");
    let address = address.split('/').next().expect("an address").to_owned();
    (server, address)
}

async fn scrape(address: &str, accept: &str) -> String {
    let accept = format!("accept: {accept}\r\n");
    let (status, text) = request_at(address, "GET", "/metrics", &accept, "").await.expect("it answers");
    assert_eq!(status, 200);
    text
}

/// The value of each series in a text.
fn series(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let series = lines.filter_map(|line| line.rsplit_once(' '));
    series.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect()
}

/// A telemetry with metrics that tell so many operations apart.
pub fn telemetry(metrics_operations: usize) -> Telemetry {
    let metrics_listen = Some("127.0.0.1:0".parse().expect("an address"));
    let settings = TelemetrySettings { metrics_listen, metrics_operations, ..TelemetrySettings::default() };
    Telemetry::new(&settings).expect("the settings are right")
}

async fn app(database: TestDatabase, telemetry: &Telemetry) -> TestApp {
    TestApp::with(database, |settings| settings.db.telemetry = telemetry.clone()).await
}

/// What the metrics say now.
pub fn now(telemetry: &Telemetry) -> BTreeMap<String, f64> {
    let metrics = telemetry.metrics().expect("they are asked for");
    series(&exposition(metrics, true).expect("it is written").1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_does_is_counted() {
    for database in [Some(TestDatabase::sqlite()), TestDatabase::postgres_as_asked().await].into_iter().flatten() {
        let system = if database.is_postgres() { "postgresql" } else { "sqlite" };
        let telemetry = telemetry(100);
        let app = app(database, &telemetry).await;
        let create = r#"mutation Create { createHero(input: {name: "A", secretName: "B",
            teams: {create: [{name: "T", headquarters: "H"}]}}) { hero { id } } }"#;
        app.data(create, json!({})).await;
        let list = "query List { heroes { id teams { id } } }";
        app.data(list, json!({})).await;
        app.data(list, json!({})).await;
        app.data("{ teams { id } }", json!({})).await;
        app.graphql("query List { nothing }").await;
        app.graphql("query List { heroes(limit: 3000000) { id } }").await;
        app.graphql(r#"mutation { deleteHero(input: {id: "Hero:99"}) { hero { id } } }"#).await;
        app.get("/nowhere").await;
        let now = now(&telemetry);
        let value = |name: &str| now.get(name).copied().unwrap_or_else(|| panic!("no {name} in {now:#?}"));
        let operations = |ty: &str, name: &str, outcome: &str| {
            value(&format!(
                "graphql_server_operation_duration_seconds_count{{graphql_operation_type=\"{ty}\",\
                 graphql_operation_name=\"{name}\",outcome=\"{outcome}\"}}"
            ))
        };
        assert!((operations("mutation", "Create", "ok") - 1.0).abs() < 0.1);
        assert!((operations("query", "List", "ok") - 2.0).abs() < 0.1);
        assert!((operations("query", "none", "ok") - 1.0).abs() < 0.1);
        assert!((operations("mutation", "none", "partial") - 1.0).abs() < 0.1);
        for (name, expected) in [
            (r#"graphql_server_errors_total{code="NOT_FOUND"}"#, 1.0),
            (r#"graphql_server_errors_total{code="BAD_USER_INPUT"}"#, 2.0),
            (r#"graphql_server_rows_sum{graphql_operation_type="query"}"#, 5.0),
            (r#"graphql_server_statements_sum{graphql_operation_type="query"}"#, 5.0),
            (r#"graphql_server_document_cache_total{result="hit"}"#, 1.0),
            (r#"graphql_server_document_cache_total{result="miss"}"#, 6.0),
            (
                r#"http_server_request_duration_seconds_count{http_request_method="POST",http_route="/graphql",http_response_status_code="200",network_protocol_version="1.1",error_type=""}"#,
                7.0,
            ),
            (
                r#"http_server_request_duration_seconds_count{http_request_method="GET",http_route="",http_response_status_code="404",network_protocol_version="1.1",error_type=""}"#,
                1.0,
            ),
            (r#"http_server_active_requests{http_request_method="POST"}"#, 0.0),
        ] {
            assert!((value(name) - expected).abs() < 0.1, "{name}: {}", value(name));
        }
        let statements = format!(
            "db_client_operation_duration_seconds_count{{db_system_name=\"{system}\",db_operation_name=\"SELECT\",\
             db_collection_name=\"hero\",db_response_status_code=\"\"}}"
        );
        assert!(value(&statements) >= 2.0);
        app.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_is_counted() {
    let telemetry = telemetry(10);
    let app = TestApp::with(TestDatabase::sqlite(), |settings| {
        settings.db.telemetry = telemetry.clone();
        settings.access = config(&["--api-keys", "--anonymous", "read"]).access;
    })
    .await;
    let keys = ApiKeys::new(&app.db);
    let new = |expires_at| keys.create("test", Scopes::ALL, expires_at);
    let right = new(None).await.expect("it is made").key;
    let expired = new(Some(SystemTime::UNIX_EPOCH)).await.expect("it is made").key;
    for (credential, times) in [(Some(&right), 3), (Some(&expired), 2), (Some(&"ht_no".to_owned()), 1), (None, 2)] {
        for _ in 0..times {
            let mut request = Request::post("/graphql").header("content-type", "application/json");
            if let Some(credential) = credential {
                request = request.header("x-api-key", credential);
            }
            let request = request.body(Body::from(r#"{"query": "{ __typename }"}"#)).expect("it is a request");
            app.router.clone().oneshot(request).await.expect("the router answers");
        }
    }
    let counted: BTreeMap<_, _> =
        now(&telemetry).into_iter().filter(|(name, _)| name.starts_with("hero_teams_auth_total{")).collect();
    let series =
        |method: &str, result: &str| format!("hero_teams_auth_total{{method=\"{method}\",result=\"{result}\"}}");
    let expected = [
        (series("api_key", "accepted"), 3.0),
        (series("api_key", "expired"), 2.0),
        (series("api_key", "invalid"), 1.0),
        (series("none", "accepted"), 2.0),
    ];
    assert_eq!(counted, BTreeMap::from(expected));
    app.close().await;
}

/// The values that a label has.
fn values(now: &BTreeMap<String, f64>, label: &str) -> BTreeSet<String> {
    let start = format!("{label}=\"");
    let values = now.keys().filter_map(|name| name.split_once(&start)?.1.split_once('"'));
    values.map(|(value, _)| value.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_cannot_multiply_the_series() {
    let telemetry = telemetry(3);
    // Those of trusted documents take no room of the others.
    for index in 0..5 {
        telemetry.trust_operation_name(&format!("Trusted{index}"));
    }
    let app = app(TestDatabase::sqlite(), &telemetry).await;
    app.graphql("query Trusted3 { heroes { id } }").await;
    let ask = async |name: &str, query: &str| {
        let body = json!({"query": query, "operationName": name}).to_string();
        post(&app.router, "application/json", body).await;
    };
    // Names of documents that are not valid, or not there, are none.
    ask("Wrong0", "query Wrong0 { nothing }").await;
    ask("Missing", "{ heroes { id } }").await;
    let number = 2_000;
    for index in 0..number {
        let name = format!("Name{index}");
        ask(&name, &format!("query {name} {{ heroes {{ id }} }}")).await;
        let request = Request::builder().method(format!("METHOD{index}").as_str()).uri(format!("/path/{index}"));
        let request = request.body(Body::empty()).expect("it is a request");
        app.router.clone().oneshot(request).await.expect("it answers");
    }
    let now = now(&telemetry);
    let is = |expected: &[&str]| expected.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    assert_eq!(values(&now, "graphql_operation_name"), is(&["Name0", "Name1", "Name2", "Trusted3", "none", "other"]));
    assert_eq!(values(&now, "http_request_method"), is(&["POST", "_OTHER"]));
    assert_eq!(values(&now, "http_route"), is(&["", "/graphql"]));
    assert_eq!(values(&now, "graphql_operation_type"), is(&["mutation", "query", "subscription", "unknown"]));
    assert!(now.len() < 1_000, "{}", now.len());
    app.close().await;
}

#[tokio::test]
async fn nothing_is_told_that_nobody_asks_for() {
    let telemetry = Telemetry::new(&config(&[]).telemetry).expect("the settings are right");
    assert!(telemetry.metrics().is_none());
    let telemetry = Telemetry::new(&config(&["--metrics-listen", "127.0.0.1:0"]).telemetry);
    assert!(telemetry.expect("the settings are right").metrics().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_this_machine_reads_metrics_by_its_own_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, metrics) = watched(folder.path(), &[]);
    let status = async |address: &str, path: &str, lines: &str| {
        request_at(address, "GET", path, lines, "").await.expect("it answers").0
    };
    assert_eq!(status(&metrics, "/metrics", "").await, 200);
    assert_eq!(status(&metrics, "/metrics", "host: evil.example\r\n").await, 421);
    assert_eq!(status(&metrics, "/graphql", "").await, 404);
    assert_eq!(status(server.address(), "/metrics", "").await, 404);
    server.stopped().await;
}

/// A program that runs until this is dropped.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// All queries of the dashboard.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| queries(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| queries(value, found)),
        _ => {}
    }
}

/// What has no value on one server on SQLite without access control that nothing goes wrong on.
const WITHOUT_VALUE: [&str; 9] = [
    "db_response_status_code!=",
    "hero_teams_refused_total",
    "hero_teams_auth_total",
    "hero_teams_events_total",
    "hero_teams_read_your_writes",
    "hero_teams_replica_lag",
    "hero_teams_socket_closes",
    "hero_teams_transaction_retries",
    "transport",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_reads_them_and_answers_the_queries_of_the_dashboard() {
    let installed = Command::new("promtool").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if installed.is_err() {
        return skip("Prometheus is not installed");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (server, metrics) = watched(folder, &[]);
    assert!(server.graphql("mutation { nothing }", json!({})).await.is_some());

    let text = scrape(&metrics, "text/plain").await;
    assert!(!text.contains("# EOF") && text.contains("# TYPE graphql_server_errors_total counter"), "{text}");
    fs::write(folder.join("metrics.txt"), &text).expect("it is written");
    let file = fs::File::open(folder.join("metrics.txt")).expect("it is there");
    let checked = Command::new("promtool").args(["check", "metrics"]).stdin(file).output().expect("it runs");
    assert_eq!((checked.status.code(), String::from_utf8_lossy(&checked.stderr).as_ref()), (Some(0), ""));
    let open_metrics = scrape(&metrics, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5").await;
    assert!(open_metrics.ends_with("# EOF\n"), "{open_metrics}");
    for plain in ["application/openmetrics-text;q=0", "text/plain, application/openmetrics-text;version=1.0.0;q=0.5"] {
        assert!(!scrape(&metrics, plain).await.contains("# EOF"), "{plain}");
    }

    let settings = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: hero-teams\n  static_configs:\n  \
         - targets: ['{metrics}']\n"
    );
    fs::write(folder.join("prometheus.yml"), settings).expect("it is written");
    let prometheus = format!("127.0.0.1:{}", free_port());
    let _prometheus = Program(
        Command::new("prometheus")
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .arg(format!("--web.listen-address={prometheus}"))
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Prometheus runs"),
    );
    let ask = async |query: &str| -> Option<Value> {
        let query: String = query
            .bytes()
            .map(
                |byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") },
            )
            .collect();
        let (_, answer) = request_at(&prometheus, "GET", &format!("/api/v1/query?query={query}"), "", "").await?;
        serde_json::from_str(&answer).ok()
    };
    until(async || ask("up").await.is_some_and(|answer| answer["data"]["result"][0]["value"][1] == "1")).await;
    let mut all = Vec::new();
    queries(&serde_json::from_str(DASHBOARD).expect("it is JSON"), &mut all);
    assert!(all.len() > 30, "{all:?}");
    for query in all {
        let query = query.replace("$__rate_interval", "1m").replace("$instance", ".*");
        let has_value = !WITHOUT_VALUE.iter().any(|name| query.contains(name));
        // A rate takes two readings.
        until(async || {
            server.graphql("query List { heroes { id } }", json!({})).await.expect("it answers");
            let answer = ask(&query).await.unwrap_or_default();
            assert_ne!(answer["status"], "error", "{query}: {answer}");
            let results = answer["data"]["result"].as_array().map_or(0, Vec::len);
            results > 0 || (answer["status"] == "success" && !has_value)
        })
        .await;
    }
    server.stopped().await;
}
