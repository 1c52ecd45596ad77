//! Metrics: every name, its labels, and what it means.
//!
//! A label has few values whatever clients send: each is from a list that the program has, except for the names of
//! operations, which are bounded by a setting.

use std::{borrow::Cow, fmt, sync::atomic::AtomicU64, time::Duration};

use hyper::StatusCode;
use parking_lot::RwLock;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::Histogram,
        info::Info,
    },
    registry::{Metric, Registry, Unit},
};

use super::process::Process;

/// The types of operations, as documents have them.
const OPERATION_TYPES: [&str; 3] = ["query", "mutation", "subscription"];

/// Seconds of requests and operations (semantic conventions of OpenTelemetry, `http.server.request.duration`).
const REQUEST_SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// Seconds of statements (the same, `db.client.operation.duration`).
const STATEMENT_SECONDS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];
/// Seconds from the writing of an event to its reading. Events have whole seconds.
const EVENT_SECONDS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0];
const ROWS: &[f64] = &[0.0, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 2.5e5, 1e6];
const STATEMENTS: &[f64] = &[0.0, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0];
const BYTES: &[f64] = &[256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 33_554_432.0];

/// The commit that the program was built from, if the build says so.
const COMMIT: &str = match option_env!("HERO_TEAMS_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// A metric for each value of one label.
type By<V, M> = Family<[(&'static str, V); 1], M>;
type Histograms<L> = Family<L, Histogram, Buckets>;
type Seconds = Gauge<f64, AtomicU64>;

/// All metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    operations: Histograms<Operation>,
    taken: [TakenSeries; 3],
    http_requests: Histograms<HttpRequest>,
    first_http_requests: FirstSeries<HttpRequest>,
    active_requests: By<&'static str, Gauge>,
    pub connections: Gauge,
    errors: By<String, Counter>,
    documents: [(&'static str, Counter); DOCUMENTS.len()],
    pub document_bytes: Gauge,
    statements: Histograms<Statement>,
    first_statements: FirstSeries<Statement>,
    pool_connections: Family<PoolState, Gauge>,
    pool_pending: By<String, Gauge>,
    pool_waits: Histograms<[(&'static str, String); 1]>,
    pool_timeouts: By<String, Counter>,
    retries: By<&'static str, Counter>,
    pub conflicts: Counter,
    pub exclusive: Counter,
    refused: By<&'static str, Counter>,
    subscriptions: By<&'static str, Gauge>,
    sockets: By<&'static str, Gauge>,
    socket_closes: By<Cow<'static, str>, Counter>,
    events: By<String, Counter>,
    event_delay: Histogram,
    pub event_backlog: Gauge,
    authentications: Family<[(&'static str, &'static str); 2], Counter>,
    pub key_set_age: Seconds,
    key_set_fetches: By<&'static str, Counter>,
    replica_lag: By<u32, Seconds>,
    replica_up: By<u32, Gauge>,
    read_your_writes: By<&'static str, Counter>,
    shared_reads: Counter,
}

/// The upper bounds of a histogram.
#[derive(Clone, Copy, Debug)]
struct Buckets(&'static [f64]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

/// The series that came first, which are those of almost all that comes. They are found by comparing: there are few,
/// and to hash the texts of their labels takes longer.
#[derive(Debug)]
struct FirstSeries<L>(RwLock<Vec<(L, Histogram)>>);

/// The greatest number of series that are found by comparing.
const MAX_FIRST: usize = 32;

impl<L: EncodeLabelSet + Clone + std::hash::Hash + Eq> FirstSeries<L> {
    fn observe(&self, all: &Histograms<L>, is_it: impl Fn(&L) -> bool, labels: impl FnOnce() -> L, time: Duration) {
        let seconds = time.as_secs_f64();
        let has_room = {
            let first = self.0.read();
            if let Some((_, series)) = first.iter().find(|(labels, _)| is_it(labels)) {
                return series.observe(seconds);
            }
            first.len() < MAX_FIRST
        };
        let labels = labels();
        let series = all.get_or_create_owned(&labels);
        series.observe(seconds);
        if !has_room {
            return;
        }
        let mut first = self.0.write();
        if first.len() < MAX_FIRST && !first.iter().any(|(other, _)| *other == labels) {
            first.push((labels, series));
        }
    }
}

impl<L> Default for FirstSeries<L> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

/// What can come of the look for a document.
const DOCUMENTS: [&str; 4] = ["hit", "miss", "persisted", "trusted"];

/// A request of HTTP.
#[expect(clippy::struct_field_names, reason = "they are the names of the labels")]
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HttpRequest {
    http_request_method: &'static str,
    /// None when no route is for it.
    http_route: Option<String>,
    http_response_status_code: u16,
    network_protocol_version: &'static str,
    /// The status, if it is a fault of the server.
    error_type: Option<u16>,
}

/// A statement.
#[expect(clippy::struct_field_names, reason = "they are the names of the labels")]
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Statement {
    db_system_name: &'static str,
    db_operation_name: &'static str,
    db_collection_name: String,
    /// The SQLSTATE, or the result code of SQLite; none after success.
    db_response_status_code: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    graphql_operation_type: &'static str,
    graphql_operation_name: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolState {
    db_client_connection_pool_name: String,
    db_client_connection_state: &'static str,
}

/// What came of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was executed.
    Ok,
    /// It was executed, and the answer has errors.
    Partial,
    /// It was not executed.
    Refused,
}

/// What an operation has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    pub rows: usize,
    pub rows_estimated: u64,
    pub bytes: usize,
}

/// Histograms of what operations of one type take.
#[derive(Debug)]
struct TakenSeries {
    rows: Histogram,
    rows_estimated: Histogram,
    bytes: Histogram,
    statements: Histogram,
}

/// How long the operations with one name take, by what came of them.
#[derive(Clone, Debug)]
pub struct OperationSeries {
    ok: Histogram,
    partial: Histogram,
    refused: Histogram,
}

/// What is measured of a pool of connections to the database.
#[derive(Clone, Debug)]
pub struct PoolSeries {
    /// Seconds until there was a connection.
    pub waits: Histogram,
    /// How often there was none in time.
    pub timeouts: Counter,
}

/// Counts something that goes on, until it is dropped.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    /// Counts in a gauge.
    #[must_use]
    pub fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for Metrics {
    #[expect(clippy::too_many_lines, reason = "one entry for each metric")]
    fn default() -> Self {
        let mut registry = Registry::default();
        let r = &mut registry;
        let info = [("version", env!("CARGO_PKG_VERSION")), ("commit", COMMIT)];
        r.register("hero_teams_build", "The program", Info::new(info));
        r.register_collector(Box::new(Process));
        let taken = {
            let mut of = |name: &str, help: &str, buckets| -> Histograms<[(&'static str, &'static str); 1]> {
                register(r, name, help, Family::new_with_constructor(Buckets(buckets)))
            };
            let rows = of("graphql_server_rows", "Rows in the answer of an operation", ROWS);
            let estimated = of("graphql_server_rows_estimated", "Rows of an operation, as estimated before", ROWS);
            let bytes = of("graphql_server_answer_bytes", "Bytes of the answer of an operation", BYTES);
            let statements = of("graphql_server_statements", "SQL statements of an operation", STATEMENTS);
            OPERATION_TYPES.map(|ty| {
                let labels = [("graphql_operation_type", ty)];
                TakenSeries {
                    rows: rows.get_or_create_owned(&labels),
                    rows_estimated: estimated.get_or_create_owned(&labels),
                    bytes: bytes.get_or_create_owned(&labels),
                    statements: statements.get_or_create_owned(&labels),
                }
            })
        };
        Self {
            taken,
            operations: seconds(
                r,
                "graphql_server_operation_duration",
                "Time of operations, from the document to the answer",
                REQUEST_SECONDS,
            ),
            http_requests: seconds(
                r,
                "http_server_request_duration",
                "Time of HTTP requests, until the head of the answer",
                REQUEST_SECONDS,
            ),
            first_http_requests: FirstSeries::default(),
            active_requests: new(r, "http_server_active_requests", "HTTP requests that are worked on"),
            connections: new(r, "http_server_connections", "Open connections of clients"),
            errors: new(r, "graphql_server_errors", "Errors in answers"),
            documents: {
                let help =
                    "Documents that were asked for: hit and miss in the cache by text, persisted and trusted by id";
                let documents: By<&str, Counter> = new(r, "graphql_server_document_cache", help);
                DOCUMENTS.map(|result| (result, documents.get_or_create_owned(&[("result", result)])))
            },
            document_bytes: new(r, "graphql_server_document_cache_bytes", "Bytes of the cache of documents"),
            statements: seconds(r, "db_client_operation_duration", "Time of SQL statements", STATEMENT_SECONDS),
            first_statements: FirstSeries::default(),
            pool_connections: new(r, "db_client_connections", "Connections to the database"),
            pool_pending: new(
                r,
                "db_client_connection_pending_requests",
                "Statements and transactions that wait for a connection to the database",
            ),
            pool_waits: seconds(
                r,
                "db_client_connection_wait_time",
                "Time until there was a connection to the database",
                STATEMENT_SECONDS,
            ),
            pool_timeouts: new(
                r,
                "db_client_connection_timeouts",
                "Times that there was no connection to the database in time",
            ),
            retries: new(
                r,
                "hero_teams_transaction_retries",
                "Transactions that were repeated, by the SQLSTATE that they were given up with",
            ),
            conflicts: new(
                r,
                "hero_teams_transaction_conflicts",
                "Transactions that were given up for good, because others were in the way",
            ),
            exclusive: new(
                r,
                "hero_teams_transaction_exclusive",
                "Attempts at transactions that had all writers of this server to themselves",
            ),
            refused: new(r, "hero_teams_refused", "Requests that were refused at a limit"),
            subscriptions: new(r, "hero_teams_subscriptions", "Subscriptions"),
            sockets: new(r, "hero_teams_sockets", "Open WebSockets and streams of events"),
            socket_closes: new(
                r,
                "hero_teams_socket_closes",
                "WebSockets that were closed, by the code of the server, or `client`",
            ),
            events: new(r, "hero_teams_events", "Events that were read for subscriptions, by their table"),
            event_delay: register_seconds(
                r,
                "hero_teams_event_delay",
                "Time from the writing of an event to its reading, in whole seconds",
                Buckets(EVENT_SECONDS).new_metric(),
            ),
            event_backlog: new(
                r,
                "hero_teams_event_backlog",
                "Events that are committed and wait for an earlier transaction to end",
            ),
            authentications: new(r, "hero_teams_auth", "Requests and sockets, by their credential"),
            key_set_age: register_seconds(
                r,
                "hero_teams_jwks_age",
                "Time since the oldest key set was fetched",
                Gauge::default(),
            ),
            key_set_fetches: new(r, "hero_teams_jwks_fetches", "Fetches of key sets"),
            replica_lag: register_seconds(
                r,
                "hero_teams_replica_lag",
                "How far a replica is behind the primary; infinite when that is not known",
                Family::default(),
            ),
            replica_up: new(r, "hero_teams_replica_up", "Whether a replica answers queries: 1 when it does"),
            read_your_writes: new(
                r,
                "hero_teams_read_your_writes",
                "Queries that ask for what was written, by who answers: a replica, one that was waited for, or the \
                 primary",
            ),
            shared_reads: new(
                r,
                "hero_teams_shared_reads",
                "Reads of requests that statements of other requests have answered",
            ),
            registry,
        }
    }
}

impl Metrics {
    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What is measured of the operations of a type with a name.
    pub(super) fn operation(&self, graphql_operation_type: &'static str, name: &str) -> OperationSeries {
        let of = |outcome| {
            let graphql_operation_name = name.to_owned();
            let labels = Operation { graphql_operation_type, graphql_operation_name, outcome };
            self.operations.get_or_create_owned(&labels)
        };
        OperationSeries { ok: of("ok"), partial: of("partial"), refused: of("refused") }
    }

    /// Notes what an operation of a type (`query`, `mutation` or `subscription`) has taken, and the number of its
    /// statements.
    pub fn note_taken(&self, ty: &str, taken: Taken, statements: u32) {
        let Taken { rows, rows_estimated, bytes } = taken;
        let series = self.taken.iter().zip(OPERATION_TYPES).find(|(_, other)| *other == ty);
        let Some((series, _)) = series else { return };
        series.rows.observe(float(rows as u64));
        series.rows_estimated.observe(float(rows_estimated));
        series.bytes.observe(float(bytes as u64));
        series.statements.observe(statements.into());
    }

    /// Notes an error in an answer.
    pub fn note_error(&self, code: String) {
        self.errors.get_or_create(&[("code", code)]).inc();
    }

    /// Notes a document that was asked for: `hit`, `miss`, `persisted` or `trusted`.
    pub fn note_document(&self, result: &'static str) {
        if let Some((_, counter)) = self.documents.iter().find(|(name, _)| *name == result) {
            counter.inc();
        }
    }

    /// Notes a request and its time.
    pub fn note_http_request(
        &self,
        method: &'static str,
        route: Option<&str>,
        status: StatusCode,
        version: &'static str,
        time: Duration,
    ) {
        let code = status.as_u16();
        let is_it = |labels: &HttpRequest| {
            labels.http_response_status_code == code
                && labels.http_request_method == method
                && labels.http_route.as_deref() == route
                && labels.network_protocol_version == version
        };
        let labels = || HttpRequest {
            http_request_method: method,
            http_route: route.map(str::to_owned),
            http_response_status_code: code,
            network_protocol_version: version,
            error_type: status.is_server_error().then_some(code),
        };
        self.first_http_requests.observe(&self.http_requests, is_it, labels, time);
    }

    /// Counts a request while it is worked on.
    #[must_use]
    pub fn active_request(&self, method: &'static str) -> Counted {
        Counted::new(self.active_requests.get_or_create_owned(&[("http_request_method", method)]))
    }

    /// Notes a statement and its time.
    pub fn note_statement(
        &self,
        system: &'static str,
        operation: &'static str,
        table: &str,
        code: Option<String>,
        time: Duration,
    ) {
        let is_it = |labels: &Statement| {
            labels.db_collection_name == table
                && labels.db_operation_name == operation
                && labels.db_response_status_code == code
                && labels.db_system_name == system
        };
        let labels = || Statement {
            db_system_name: system,
            db_operation_name: operation,
            db_collection_name: table.to_owned(),
            db_response_status_code: code.clone(),
        };
        self.first_statements.observe(&self.statements, is_it, labels, time);
    }

    /// What is measured of a pool.
    #[must_use]
    pub fn pool(&self, name: &str) -> PoolSeries {
        let labels = [("db_client_connection_pool_name", name.to_owned())];
        PoolSeries {
            waits: self.pool_waits.get_or_create_owned(&labels),
            timeouts: self.pool_timeouts.get_or_create_owned(&labels),
        }
    }

    /// Sets how many connections of a pool are used and idle, and how many wait for one.
    pub fn set_pool(&self, name: &str, used: usize, idle: usize, pending: usize) {
        for (db_client_connection_state, number) in [("used", used), ("idle", idle)] {
            let db_client_connection_pool_name = name.to_owned();
            let state = PoolState { db_client_connection_pool_name, db_client_connection_state };
            self.pool_connections.get_or_create(&state).set(gauge(number));
        }
        self.pool_pending.get_or_create(&[("db_client_connection_pool_name", name.to_owned())]).set(gauge(pending));
    }

    /// Notes a transaction that is repeated.
    pub fn note_retry(&self, sqlstate: &'static str) {
        self.retries.get_or_create(&[("sqlstate", sqlstate)]).inc();
    }

    /// Notes a request that was refused at a limit.
    pub fn note_refused(&self, reason: &'static str) {
        self.refused.get_or_create(&[("reason", reason)]).inc();
    }

    /// Counts a subscription while it goes on: by `websocket` or `sse`.
    #[must_use]
    pub fn subscription(&self, transport: &'static str) -> Counted {
        Counted::new(self.subscriptions.get_or_create_owned(&[("transport", transport)]))
    }

    /// Counts a WebSocket or a stream of events while it is open: `websocket` or `sse`.
    #[must_use]
    pub fn socket(&self, transport: &'static str) -> Counted {
        Counted::new(self.sockets.get_or_create_owned(&[("transport", transport)]))
    }

    /// Notes a WebSocket that has ended: the code with which the server closed it, `client` or `lost`.
    pub fn note_socket_close(&self, code: Cow<'static, str>) {
        self.socket_closes.get_or_create(&[("code", code)]).inc();
    }

    /// Notes an event of a table that was read so many seconds after it was written.
    pub fn note_event(&self, table: &str, seconds: u32) {
        self.events.get_or_create(&[("kind", table.to_owned())]).inc();
        self.event_delay.observe(seconds.into());
    }

    /// Notes a credential that was looked at: `none`, `token` or `api_key`.
    pub fn note_authentication(&self, method: &'static str, result: &'static str) {
        self.authentications.get_or_create(&[("method", method), ("result", result)]).inc();
    }

    /// Notes a fetch of a key set: `ok` or `error`.
    pub fn note_key_set_fetch(&self, result: &'static str) {
        self.key_set_fetches.get_or_create(&[("result", result)]).inc();
    }

    /// Sets whether a replica is asked, and how far it is behind, which may not be known.
    pub fn set_replica(&self, replica: u32, is_up: bool, lag: Option<Duration>) {
        self.replica_up.get_or_create(&[("replica", replica)]).set(i64::from(is_up));
        let lag = lag.map_or(f64::INFINITY, |lag| lag.as_secs_f64());
        self.replica_lag.get_or_create(&[("replica", replica)]).set(lag);
    }

    /// Notes a read that a statement of another request has answered.
    pub fn note_shared_read(&self) {
        self.shared_reads.inc();
    }

    /// Notes who answers a query that asks for what was written: `replica`, `waited` or `primary`.
    pub fn note_read_your_writes(&self, result: &'static str) {
        self.read_your_writes.get_or_create(&[("result", result)]).inc();
    }
}

impl OperationSeries {
    /// Notes the time of an operation.
    pub fn note(&self, outcome: Outcome, time: Duration) {
        let series = match outcome {
            Outcome::Ok => &self.ok,
            Outcome::Partial => &self.partial,
            Outcome::Refused => &self.refused,
        };
        series.observe(time.as_secs_f64());
    }
}

fn register<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

fn register_seconds<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
    metric
}

fn new<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    register(registry, name, help, M::default())
}

fn seconds<L>(registry: &mut Registry, name: &str, help: &str, buckets: &'static [f64]) -> Histograms<L>
where
    L: EncodeLabelSet + Clone + std::hash::Hash + Eq + fmt::Debug + Send + Sync + 'static,
{
    register_seconds(registry, name, help, Family::new_with_constructor(Buckets(buckets)))
}

/// A number for a gauge.
fn gauge(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number for a histogram, which has no exact ones above 2^53.
#[expect(clippy::cast_precision_loss, reason = "a histogram counts in buckets")]
fn float(number: u64) -> f64 {
    number as f64
}
