//! Traces, as a collector of OpenTelemetry receives them.

use std::{
    collections::BTreeMap,
    io::Read as _,
    path::Path,
    process::Output,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header::SEC_WEBSOCKET_PROTOCOL},
    routing::post,
};
use flate2::read::GzDecoder;
use futures_util::{SinkExt as _, StreamExt as _};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value as Any},
    trace::v1::{Span, span::SpanKind},
};
use prost::Message;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message as Frame, client::IntoClientRequest as _},
};

use crate::{
    command_line::{Server, command, request_at, wrong_setting},
    databases::TestDatabase,
    support::until,
};

/// A collector on this machine, and whether what it gets is compressed.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>, Arc<AtomicBool>);

impl Collector {
    /// Starts one, and gives where it listens.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let router = Router::new().route("/v1/traces", post(receive)).with_state(collector.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move { axum::serve(listener, router).await });
        (collector, format!("http://{address}"))
    }

    fn spans(&self) -> Vec<Span> {
        let received = self.0.lock().expect("no test has panicked");
        let resources = received.iter().flat_map(|request| &request.resource_spans);
        resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
    }

    /// The attributes of what sends.
    fn resource(&self) -> BTreeMap<String, Value> {
        let received = self.0.lock().expect("no test has panicked");
        let resource = received[0].resource_spans[0].resource.as_ref().expect("it has one");
        attributes(&resource.attributes)
    }

    /// Waits for a trace with so many spans, by one of which it is known.
    async fn trace(&self, number: usize, is_it: impl Fn(&Span) -> bool) -> Vec<Span> {
        let mut trace = Vec::new();
        until(async || {
            let spans = self.spans();
            let id = spans.iter().find(|span| is_it(span)).map(|span| span.trace_id.clone());
            trace = spans.into_iter().filter(|span| Some(&span.trace_id) == id.as_ref()).collect();
            trace.len() >= number
        })
        .await;
        trace
    }
}

async fn receive(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut decoded = Vec::new();
    let body = match headers.get("content-encoding") {
        Some(coding) => {
            assert_eq!(coding, "gzip");
            GzDecoder::new(&*body).read_to_end(&mut decoded).expect("it is gzip");
            collector.1.store(true, Relaxed);
            Bytes::from(decoded)
        }
        None => body,
    };
    let request = ExportTraceServiceRequest::decode(body).expect("it is OTLP");
    collector.0.lock().expect("no test has panicked").push(request);
    StatusCode::OK
}

fn attributes(attributes: &[KeyValue]) -> BTreeMap<String, Value> {
    let value = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::IntValue(number)) => json!(number),
        Some(Any::BoolValue(value)) => json!(value),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), value(attribute))).collect()
}

/// The spans of a trace as a tree: names, and those below. A check is there only when it took a millisecond.
fn tree(spans: &[Span], parent: &[u8]) -> Value {
    let is_below = |span: &&Span| span.parent_span_id == parent && span.name != "check";
    let mut below: Vec<_> = spans.iter().filter(is_below).collect();
    below.sort_by_key(|span| span.start_time_unix_nano);
    let mut entries = Vec::new();
    for span in below {
        entries.push(json!(span.name));
        let below = tree(spans, &span.span_id);
        if below != json!([]) {
            entries.push(below);
        }
    }
    entries.into()
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name} in {spans:#?}"))
}

fn server(folder: &Path, collector: &str, flags: &[&str], variables: &[(&str, &str)]) -> Server {
    let mut command = command(folder, &[flags, &["--listen", "127.0.0.1:0"]].concat());
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector).env("OTEL_BSP_SCHEDULE_DELAY", "50");
    command.envs(variables.iter().copied());
    Server::spawn(command)
}

const CREATE: &str = r#"mutation Create($secret: String!) {
    createHero(input: {name: "Nameless", secretName: $secret, teams: {connectOrCreate: [
        {name: "Teamless", headquarters: "Nowhere"}]}}) { hero { teams { name } } } }"#;
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_receives_what_a_request_does() {
    for database in [Some(TestDatabase::sqlite()), TestDatabase::postgres().await].into_iter().flatten() {
        let folder = tempfile::tempdir().expect("a folder");
        let (collector, address) = Collector::start().await;
        let flags = ["--database-url", &database.url, "--trace-documents"];
        let server = server(folder.path(), &address, &flags, &[("OTEL_TRACES_SAMPLER", "always_off")]);
        server.graphql("{ heroes { id } }", json!({})).await.expect("it answers");
        server.stopped().await;
        assert_eq!(collector.spans().len(), 0);

        // A client decides for its requests.
        let server = self::server(folder.path(), &address, &flags, &[("OTEL_SERVICE_NAME", "heroes")]);
        let body = json!({"query": CREATE, "variables": {"secret": "Sesame"}}).to_string();
        let lines = format!("traceparent: {PARENT}\r\n");
        let (status, answer) =
            request_at(server.address(), "POST", "/graphql", &lines, &body).await.expect("it answers");
        assert_eq!((status, answer.contains("Teamless")), (StatusCode::OK, true), "{answer}");
        let line = server.logged(&["answered"]);
        assert!(line.contains("trace_id=0af7651916cd43dd8448eb211c80319c"), "{line}");

        let trace = collector.trace(9, |span| span.name == "POST /graphql").await;
        let parent = [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31];
        assert_eq!(trace[0].trace_id[..3], [0x0a, 0xf7, 0x65]);
        // PostgreSQL cuts pages of links.
        let load = if database.is_postgres() { "SELECT hero_team_link" } else { "SELECT team" };
        let (insert, load) = ("INSERT hero", json!(["load Hero.teams", [load]]));
        let mutation =
            json!(["BEGIN", "SELECT team", "INSERT team", insert, "INSERT hero_team_link", "INSERT event", "COMMIT"]);
        let below: Vec<_> =
            [mutation, load].iter().flat_map(|part| part.as_array().cloned().expect("a list")).collect();
        assert_eq!(tree(&trace, &parent), json!(["POST /graphql", ["mutation", below]]));

        let request = named(&trace, "POST /graphql");
        assert_eq!(request.kind(), SpanKind::Server);
        let expected = json!({"http.request.method": "POST", "http.response.status_code": 200, "http.route": "/graphql",
            "network.protocol.version": "1.1", "url.path": "/graphql", "url.scheme": "http"});
        assert_eq!(json!(attributes(&request.attributes)), expected);
        let mut operation = attributes(&named(&trace, "mutation").attributes);
        let document = operation.remove("graphql.document").expect("it is asked for");
        let document = document.as_str().expect("it is text");
        assert!(document.contains("name: ?") && document.contains("secretName: $secret"), "{document}");
        assert_eq!(operation.remove("graphql.document.id").expect("it has one").as_str().map(str::len), Some(64));
        let expected = json!({"graphql.operation.name": "Create", "graphql.operation.type": "mutation",
            "hero_teams.rows": 1, "hero_teams.rows.estimated": operation["hero_teams.rows.estimated"], "hero_teams.statements": 6});
        assert_eq!(json!(operation), expected);
        assert_eq!(
            json!(attributes(&named(&trace, "load Hero.teams").attributes)),
            json!({"hero_teams.keys": 1, "hero_teams.rows": 1})
        );
        let statement = named(&trace, insert);
        let kind = if database.is_postgres() { SpanKind::Client } else { SpanKind::Internal };
        assert_eq!(statement.kind(), kind);
        let statement = attributes(&statement.attributes);
        let system = if database.is_postgres() { "postgresql" } else { "sqlite" };
        assert_eq!((&statement["db.system.name"], &statement["db.operation.name"]), (&json!(system), &json!("INSERT")));
        assert_eq!(
            (&statement["db.collection.name"], &statement["db.query.summary"]),
            (&json!("hero"), &json!(insert))
        );
        assert!(statement["db.query.text"].as_str().is_some_and(|sql| sql.starts_with("INSERT INTO \"hero\"")));
        assert!(statement["db.namespace"].as_str().is_some_and(|name| !name.is_empty() && !name.contains('/')));
        assert_eq!(statement.contains_key("server.port"), database.is_postgres());
        // Nothing of a variable, a literal or a row.
        let all = format!("{:?}", collector.spans());
        for value in ["Sesame", "Nameless", "Teamless", "Nowhere"] {
            assert!(!all.contains(value), "{value}");
        }
        let resource = collector.resource();
        assert_eq!((&resource["service.name"], &resource["service.version"]), (&json!("heroes"), &json!("0.1.0")));
        server.stopped().await;
        database.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_and_refusals_have_spans_and_the_last_ones_are_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let (collector, address) = Collector::start().await;
    let flags = ["--trace-operation-names"];
    let server = server(folder.path(), &address, &flags, &[("OTEL_TRACES_SAMPLER", "parentbased_always_on")]);
    server
        .graphql(r#"mutation Gone { deleteHero(input: {id: "Hero:9"}) { hero { id } } }"#, json!({}))
        .await
        .expect("an answer");
    server.graphql("query Large { heroes(limit: 1000) { teams(limit: 1000) { id } } }", json!({})).await.expect("one");
    let (status, _) = request_at(server.address(), "BREW", "/nowhere", "", "").await.expect("it answers");
    assert_eq!(status, StatusCode::NOT_FOUND);
    // What is not sent yet is sent at the end.
    server.stopped().await;
    let spans = collector.spans();
    let error = |name: &str| attributes(&named(&spans, name).attributes).remove("error.type");
    assert_eq!(error("mutation Gone"), Some(json!("NOT_FOUND")));
    assert_eq!(error("query Large"), Some(json!("QUERY_TOO_COMPLEX")));
    let unknown = attributes(&named(&spans, "HTTP").attributes);
    assert_eq!((&unknown["http.request.method"], unknown.contains_key("http.route")), (&json!("_OTHER"), false));
}

/// Who decides what is recorded: the client, or the sampler. The log names a trace if there is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_recorded_is_what_the_sampler_says() {
    const UNRECORDED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let folder = tempfile::tempdir().expect("a folder");
    for (sampler, argument, [alone, asked_for, declined]) in [
        ("", "0", [false, true, false]),
        ("", "1", [true, true, false]),
        ("always_on", "", [true, true, true]),
        ("always_off", "", [false, false, false]),
        ("traceidratio", "1", [true, true, true]),
        ("traceidratio", "0", [false, false, false]),
        ("parentbased_always_on", "", [true, true, false]),
        ("parentbased_always_off", "", [false, true, false]),
        ("parentbased_traceidratio", "0", [false, true, false]),
        ("parentbased_traceidratio", "1", [true, true, false]),
    ] {
        let (collector, address) = Collector::start().await;
        let variables = [("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)];
        let server = server(folder.path(), &address, &[], &variables);
        let body = json!({"query": "{ heroes { id } }"}).to_string();
        for parent in ["", "nonsense", PARENT, UNRECORDED] {
            let lines = if parent.is_empty() { String::new() } else { format!("traceparent: {parent}\r\n") };
            request_at(server.address(), "POST", "/graphql", &lines, &body).await.expect("it answers");
            let line = server.logged(&["answered"]);
            let is_named = line.contains("trace_id=0af7651916cd43dd8448eb211c80319c");
            assert_eq!(is_named, parent.starts_with("00-"), "{sampler} {argument} {parent}: {line}");
            // Those of the SDK have ids also when they are not recorded.
            let has_ids = is_named || alone || sampler == "traceidratio";
            assert_eq!(
                line.contains("trace_id=") && line.contains("span_id="),
                has_ids,
                "{sampler} {argument}: {line}"
            );
        }
        server.stopped().await;
        let spans = collector.spans();
        let is_asked = |span: &&Span| span.trace_id[..3] == [0x0a, 0xf7, 0x65];
        let statements: Vec<_> = spans.iter().filter(|span| span.name == "SELECT hero").collect();
        let requests: Vec<_> = spans.iter().filter(|span| span.name == "POST /graphql").collect();
        let expected = [2 * usize::from(alone), usize::from(asked_for) + usize::from(declined)];
        for spans in [requests, statements] {
            let asked = spans.iter().copied().filter(is_asked).count();
            assert_eq!([spans.len() - asked, asked], expected, "{sampler} {argument}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_over_a_websocket_begins_a_trace() {
    let folder = tempfile::tempdir().expect("a folder");
    let (collector, address) = Collector::start().await;
    let server = server(folder.path(), &address, &[], &[("OTEL_TRACES_SAMPLER", "parentbased_always_on")]);
    let mut request = format!("ws://{}/graphql", server.address()).into_client_request().expect("it is a request");
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("graphql-transport-ws"));
    let stream = TcpStream::connect(server.address()).await.expect("it accepts");
    let (mut socket, _) = client_async(request, stream).await.expect("it is upgraded");
    let subscribe = json!({"type": "subscribe", "id": "1", "payload": {"query": "{ heroes { id } }"}});
    for message in [json!({"type": "connection_init"}), subscribe] {
        socket.send(Frame::text(message.to_string())).await.expect("it is sent");
    }
    while !socket.next().await.expect("it goes on").expect("it is read").to_string().contains("complete") {}
    drop(socket);
    server.stopped().await;
    let spans = collector.spans();
    let operation = named(&spans, "query");
    assert_eq!((operation.kind(), operation.parent_span_id.len()), (SpanKind::Server, 0));
    assert_eq!(named(&spans, "SELECT hero").trace_id, operation.trace_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_the_requests_is_recorded() {
    let folder = tempfile::tempdir().expect("a folder");
    let (collector, address) = Collector::start().await;
    let server = server(folder.path(), &address, &[], &[("OTEL_TRACES_SAMPLER_ARG", "0.5")]);
    for _ in 0..200 {
        server.graphql("{ __typename }", json!({})).await.expect("it answers");
    }
    server.stopped().await;
    let recorded = collector.spans().iter().filter(|span| span.name == "POST /graphql").count();
    assert!((50..150).contains(&recorded), "{recorded}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attributes_are_decoded_and_batches_are_compressed() {
    let folder = tempfile::tempdir().expect("a folder");
    for (compression, is_compressed) in [("none", false), ("gzip", true)] {
        let (collector, address) = Collector::start().await;
        let attributes = "team=a%2Cb, service.name = he%20roes ,empty=,";
        let variables = [
            ("OTEL_TRACES_SAMPLER", "always_on"),
            ("OTEL_RESOURCE_ATTRIBUTES", attributes),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", compression),
            ("OTEL_PROPAGATORS", "tracecontext, baggage"),
        ];
        let server = server(folder.path(), &address, &[], &variables);
        server.graphql("{ __typename }", json!({})).await.expect("it answers");
        server.stopped().await;
        let resource = collector.resource();
        assert_eq!(
            (&resource["team"], &resource["service.name"], &resource["empty"]),
            (&json!("a,b"), &json!("he roes"), &json!(""))
        );
        assert_eq!(collector.1.load(Relaxed), is_compressed);
    }
}

#[test]
fn variables_that_are_not_possible_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |variables: &[(&str, &str)]| -> Output {
        let mut command = command(folder.path(), &["--listen", "unix:s"]);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1").envs(variables.iter().copied());
        command.output().expect("the binary runs")
    };
    for (name, value, expected) in [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "collector:4317",
            "a URL such as http://localhost:4318 is expected, without a user",
        ),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf is expected, which collectors take at port 4318"),
        ("OTEL_TRACES_SAMPLER", "sometimes", "one of always_on, always_off, traceidratio, parentbased_always_on, "),
        ("OTEL_TRACES_SAMPLER_ARG", "7", "a number from 0 to 1 is expected"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "otlp or none is expected"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "a number of milliseconds from 1 is expected"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:hunter2@127.0.0.1:4318", "a URL such as http://localhost:4318 is "),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "a number of milliseconds from 1 is expected"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "99999999999999", "a number from 1 to 1000000 is expected"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "a number from 1 to 1000000 is expected"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "-1", "a number from 1 to 1000000 is expected"),
        ("OTEL_BSP_SCHEDULE_DELAY", "abc", "a number from 1 to 3600000 is expected"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "0", "a number from 1 to 3600000 is expected"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "many", "a number from 0 to 4294967295 is expected"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=1, a b=c", "pairs such as name=value are expected"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "garbage", "pairs such as name=value are expected"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,garbage", "pairs such as name=value are expected"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=%ff", "pairs such as name=value are expected"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "gzip or none is expected"),
        ("OTEL_PROPAGATORS", "baggage", "tracecontext is expected, or tracecontext,baggage"),
        ("OTEL_PROPAGATORS", "tracecontext,b3", "tracecontext is expected, or tracecontext,baggage"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/a.pem", "certificates of one's own are not supported"),
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "bad",
            "a URL such as http://localhost:4318 is expected, without a user",
        ),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "-1", "a number of milliseconds from 1 is expected"),
    ] {
        let said = wrong_setting(&run(&[(name, value)]));
        assert!(said.starts_with(&format!("error: {name}: {expected}")), "{said}");
    }
}
