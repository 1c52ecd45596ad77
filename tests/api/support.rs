//! The vocabulary of the tests: a server on a fresh database, spoken to as a client does.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, Response, StatusCode, header::CONTENT_TYPE},
};
use clap::Parser;
use hero_teams::{
    access::Access,
    config::{AccessSettings, Config, EventSettings, GraphQlSettings, Limits, ServeSettings},
    db::{Db, DbSettings},
    events::Events,
    graphql::Schema,
    http,
    schema::{Api, HeroTeams},
    server::Lifetime,
    store,
    telemetry::Telemetry,
};
use sea_orm::{ConnectionTrait, QueryResult, Statement};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tower::ServiceExt;

use crate::{
    databases::{POOLER_PORT, TestDatabase},
    logged,
};

/// Runs each test on SQLite and on PostgreSQL.
macro_rules! on_both_databases {
    ($($(#[$attribute:meta])* async fn $name:ident($app:ident: TestApp) $body:block)+) => {$(
        async fn $name($app: &TestApp) $body

        mod $name {
            use crate::{databases::TestDatabase, support::TestApp};

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                let app = TestApp::new(TestDatabase::sqlite()).await;
                super::$name(&app).await;
                app.close().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                if let Some(database) = TestDatabase::postgres_as_asked().await {
                    let app = TestApp::new(database).await;
                    super::$name(&app).await;
                    app.close().await;
                }
            }
        }
    )+};
}
pub(crate) use on_both_databases;

/// The settings of a server.
pub struct Settings {
    pub db: DbSettings,
    pub graphql: GraphQlSettings,
    pub serve: ServeSettings,
    pub access: AccessSettings,
    pub events: EventSettings,
    pub lifetime: Lifetime,
}

/// A router with the settings of a test over another database.
pub fn router(db: Db) -> Router {
    router_with(db, &[])
}

/// A router with the settings of a test, but for these flags.
pub fn router_with(db: Db, flags: &[&str]) -> Router {
    let settings = Settings { serve: settings(flags), ..Settings::new("sqlite://none.db") };
    let events = settings.events_of(&db);
    settings.router::<HeroTeams>(db, events, Access::open())
}

impl Settings {
    /// The events of a database.
    pub fn events_of(&self, db: &Db) -> Events {
        Events::new(db, &self.db.url, &self.events)
    }

    fn router<A: Api>(&self, db: Db, events_of: Events, access: Access) -> Router {
        let schema = Schema::new::<A>(db.clone(), &self.graphql).expect("the declarations make a schema");
        let schema = schema.with_events(events_of);
        let Self { serve, graphql, events, lifetime, .. } = self;
        http::router(http::Parts { db, schema, access, serve, graphql, events, lifetime })
    }

    /// Those that it has by itself, but for the number of rows, which some tests need to be large.
    fn new(url: &str) -> Self {
        let Config { serve, access, events, .. } = config(&[]);
        let (db, graphql) = (db_settings(url), graphql_settings());
        Self { db, graphql, serve, access, events, lifetime: Lifetime::default() }
    }
}

fn graphql_settings() -> GraphQlSettings {
    GraphQlSettings {
        limits: Limits { max_rows: usize::MAX, max_offset: u64::MAX, ..Limits::DEFAULT },
        ..GraphQlSettings::default()
    }
}

/// A server with the real router on a fresh, migrated database.
pub struct TestApp {
    pub router: Router,
    pub db: Db,
    pub database: TestDatabase,
    pub events: Events,
    pub lifetime: Lifetime,
    statements: Arc<Mutex<Vec<Statement>>>,
}

impl TestApp {
    /// A server with the settings of a test.
    pub async fn new(database: TestDatabase) -> Self {
        Self::with(database, |_| ()).await
    }

    /// A server with other settings.
    pub async fn with(database: TestDatabase, change: impl FnOnce(&mut Settings)) -> Self {
        Self::of::<HeroTeams>(database, change).await
    }

    /// A server of an API with other settings.
    pub async fn of<A: Api>(database: TestDatabase, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::new(&database.url);
        settings.db.migrations = store::migrations::<A>();
        change(&mut settings);
        let mut db = Db::connect(&settings.db).await.expect("the database opens");
        db.migrate().await.expect("the migrations apply");
        let statements = Arc::new(Mutex::new(Vec::<Statement>::new()));
        let seen = Arc::clone(&statements);
        db.on_statement(move |statement| seen.lock().expect("no test has panicked").push(statement.clone()));
        let access = Access::new(&settings.access, &db).await.expect("the settings for access are right");
        let events = settings.events_of(&db);
        let router = settings.router::<A>(db.clone(), events.clone(), access);
        Self { router, db, database, events, lifetime: settings.lifetime, statements }
    }

    /// The whole answer to a query.
    pub async fn graphql(&self, query: &str) -> Value {
        self.graphql_with(query, json!({})).await
    }

    /// The whole answer to a query with variables.
    pub async fn graphql_with(&self, query: &str, variables: Value) -> Value {
        graphql(&self.router, query, variables).await
    }

    /// The answer to a query that must not fail.
    pub async fn data(&self, query: &str, variables: Value) -> Value {
        let mut answer = self.graphql_with(query, variables).await;
        assert_eq!(answer.get("errors"), None, "{answer}");
        answer["data"].take()
    }

    /// The statements that a query costs, without those that only begin and end transactions.
    pub async fn statements_of(&self, query: &str, variables: Value) -> Vec<String> {
        self.statements_with_values_of(query, variables).await.into_iter().map(|statement| statement.sql).collect()
    }

    /// The last statement of a query, with its values.
    pub async fn last_statement_of(&self, query: &str, variables: Value) -> Statement {
        self.statements_with_values_of(query, variables).await.pop().expect("there is one")
    }

    /// The number of statements that the server has sent since this was asked last.
    pub fn seen(&self) -> usize {
        self.take_statements().len()
    }

    /// The statements that the server has sent since this was asked last.
    pub fn take_statements(&self) -> Vec<Statement> {
        std::mem::take(&mut *self.statements.lock().expect("no test has panicked"))
    }

    async fn statements_with_values_of(&self, query: &str, variables: Value) -> Vec<Statement> {
        self.take_statements();
        self.data(query, variables).await;
        self.take_statements()
    }

    /// Everything that is in the tables.
    pub async fn rows(&self) -> Value {
        let query = "{ heroes(limit: 1000) { id name secretName age teams(limit: 1000) { id } }
                       teams(limit: 1000) { id name headquarters heroes(limit: 1000) { id } } }";
        self.data(query, json!({})).await
    }

    /// The number of heroes, teams and links, at one moment.
    pub async fn counts(&self) -> [i64; 3] {
        let tables = ["hero", "team", "hero_team_link"];
        let count = |table: &str| format!("(SELECT COUNT(*) FROM {table}) AS {table}");
        let row = self.row(&format!("SELECT {}", tables.map(count).join(", "))).await;
        tables.map(|table| row.try_get("", table).expect("it is a number"))
    }

    /// The one number that a statement gives.
    pub async fn count(&self, sql: &str) -> i64 {
        self.row(sql).await.try_get_by_index(0).expect("it is a number")
    }

    async fn row(&self, sql: &str) -> QueryResult {
        let statement = Statement::from_string(self.db.read.get_database_backend(), sql);
        self.db.read.query_one_raw(statement).await.expect("the statement runs").expect("there is a row")
    }

    /// Runs a statement behind the server's back.
    pub async fn execute(&self, sql: &str) {
        self.db.write.execute_unprepared(sql).await.expect("the statement runs");
    }

    pub async fn get(&self, path: &str) -> Response<Body> {
        let request = Request::get(path).body(Body::empty()).expect("it is a request");
        self.router.clone().oneshot(request).await.expect("the router answers")
    }

    pub async fn close(self) {
        self.db.close().await.expect("the database closes");
        self.database.remove().await;
    }
}

/// The settings that these flags make. Whoever has a time by default has as much as a busy machine may need.
pub fn settings(flags: &[&str]) -> ServeSettings {
    config(flags).serve
}

/// All settings that these flags make. Whoever has a time by default has as much as a busy machine may need.
pub fn config(flags: &[&str]) -> Config {
    logged::listen();
    let times = ["--header-timeout", "--body-timeout", "--request-timeout", "--write-timeout"];
    let times = times.into_iter().filter(|time| !flags.contains(time)).flat_map(|time| [time, "600"]);
    let arguments = ["hero-teams"].into_iter().chain(times).chain(flags.iter().copied());
    Config::try_parse_from(arguments).expect("they are settings")
}

/// A database with few connections, so that many tests can run at once.
pub async fn connect(url: &str) -> Db {
    Db::connect(&db_settings(url)).await.expect("the database opens")
}

/// The settings of a database for a test.
pub fn db_settings(url: &str) -> DbSettings {
    logged::listen();
    let is_pooled = url.contains(&format!(":{POOLER_PORT}/"));
    DbSettings {
        migrations: store::migrations::<HeroTeams>(),
        url: url.parse().expect("the URL of a database"),
        read_connections: 4,
        write_connections: 8,
        acquire_timeout: Duration::from_mins(1),
        commit_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_mins(1),
        slow_statement: Duration::ZERO,
        events: true,
        replicas: Vec::new(),
        max_replica_lag: Duration::from_secs(5),
        is_pooled,
        // PgBouncer keeps those of a session, and of a transaction if it is new enough.
        prepared_statements: !is_pooled || std::env::var("TEST_POSTGRES").is_ok_and(|mode| mode == "session"),
        telemetry: Telemetry::default(),
    }
}

/// Waits until something is so, for longer than a busy machine may take.
pub async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(5);
    while !is_so().await {
        assert!(Instant::now() < deadline, "what is waited for does not come");
        sleep(Duration::from_millis(2)).await;
    }
}

/// A port for a program that cannot take one by itself, where the system takes none for clients.
///
/// Port 0 would give one from the range of clients, and one of their connections may have it when the program starts.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 15_000 + u16::try_from(std::process::id() % 10_000).expect("it is small");
    let ports = std::iter::repeat_with(|| first + NEXT.fetch_add(1, Relaxed) % 5_000);
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.take(5_000).find(free).expect("a port is free")
}

/// What comes of an attempt that has a deadline after it has come to a certain point: as late a one as this machine
/// needs to come there. An attempt gives nothing when it was too early.
pub async fn in_enough_time<T>(mut attempt: impl AsyncFnMut(Instant) -> Option<T>) -> T {
    let mut time = Duration::from_millis(500);
    loop {
        match attempt(Instant::now() + time).await {
            Some(outcome) => return outcome,
            None => time *= 2,
        }
    }
}

/// The whole answer to a query with variables.
pub async fn graphql(router: &Router, query: &str, variables: Value) -> Value {
    let response = post(router, "application/json", json!({"query": query, "variables": variables}).to_string()).await;
    assert_eq!(response.status(), StatusCode::OK);
    json_body(response).await
}

pub async fn post(router: &Router, content_type: &str, body: String) -> Response<Body> {
    let request = Request::post("/graphql").header(CONTENT_TYPE, content_type).body(Body::from(body));
    let answer = router.clone().oneshot(request.expect("it is a request"));
    // A server runs each connection in a task of the runtime.
    tokio::spawn(answer).await.expect("the router does not panic").expect("the router answers")
}

pub async fn json_body(response: Response<Body>) -> Value {
    serde_json::from_str(&text_body(response).await).expect("the answer is JSON")
}

pub async fn text_body(response: Response<Body>) -> String {
    let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("the body arrives");
    String::from_utf8(bytes.into()).expect("the body is text")
}
