//! The server that is asked: the real router on SQLite, where each request finds the tutorial's data and nothing else.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, header::CONTENT_TYPE},
};
use clap::Parser as _;
use cpu_time::ProcessTime;
use hero_teams::{
    access::Access,
    config::Config,
    db::{Db, DbSettings},
    graphql::Schema,
    http,
    schema::HeroTeams,
    server::Lifetime,
    store::{migrations, seed},
    telemetry::Telemetry,
};
use sea_orm::ConnectionTrait as _;
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;

use crate::Answer;

static SERVER: LazyLock<Server> = LazyLock::new(Server::start);

struct Server {
    runtime: Runtime,
    router: Router,
    db: Db,
    /// Whether the data may be other than the tutorial's.
    is_written: Arc<AtomicBool>,
    _folder: TempDir,
}

/// The answer to a request.
///
/// # Panics
///
/// When the server does not come up or panics itself.
pub fn ask(request: Request<Body>) -> Answer {
    SERVER.ask(request)
}

/// A document in the body of a POST.
///
/// # Panics
///
/// Never.
pub fn posted(document: &str) -> Request<Body> {
    let body = json!({"query": document}).to_string();
    Request::post("/graphql").header(CONTENT_TYPE, "application/json").body(Body::from(body)).expect("it is a request")
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("hero-teams-fuzz-").tempdir().expect("there is room");
        let url = format!("sqlite://{}", folder.path().join("heroes.db").display());
        let flags = ["hero-teams", "--database-url", &url, "--max-batch", "10"];
        let config = Config::try_parse_from(flags).expect("they are settings");
        // The stack of a worker is the one that requests have in the real server.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a thread starts");
        let is_written = Arc::new(AtomicBool::new(false));
        let (db, router) = runtime.block_on(async {
            let db = Db::connect(&DbSettings::new(&config.database, migrations::<HeroTeams>(), Telemetry::default()))
                .await
                .expect("the database opens");
            db.migrate().await.expect("the migrations apply");
            let (mut observed, is_written) = (db.clone(), Arc::clone(&is_written));
            observed.on_statement(move |statement| {
                is_written.fetch_or(!statement.sql.starts_with("SELECT"), Relaxed);
            });
            let schema = Schema::new::<HeroTeams>(observed.clone(), &config.graphql).expect("the schema is valid");
            let Config { serve, graphql, events, .. } = &config;
            let (access, lifetime) = (Access::open(), &Lifetime::default());
            (db, http::router(http::Parts { db: observed, schema, access, serve, graphql, events, lifetime }))
        });
        let server = Self { runtime, router, db, is_written, _folder: folder };
        server.runtime.block_on(server.restore());
        server
    }

    fn ask(&self, request: Request<Body>) -> Answer {
        let router = self.router.clone();
        // Its own time, as the machine may be busy. One that waits instead of working runs into its deadline.
        let start = ProcessTime::now();
        let answered = self.runtime.spawn(async move {
            let response = router.oneshot(request).await.expect("the router answers");
            let (status, body) = (response.status(), response.into_body());
            (status, to_bytes(body, usize::MAX).await.expect("the body arrives"))
        });
        let (status, body) = self.runtime.block_on(answered).expect("the server does not panic");
        let time: Duration = start.elapsed();
        if self.is_written.swap(false, Relaxed) {
            self.runtime.block_on(self.restore());
        }
        Answer { status, body, time }
    }

    /// Makes the data the tutorial's again, with the same ids.
    async fn restore(&self) {
        for sql in ["DELETE FROM hero", "DELETE FROM team", "DELETE FROM sqlite_sequence"] {
            self.db.write.execute_unprepared(sql).await.expect("the tables can be emptied");
        }
        seed::tutorial(&self.db).await.expect("the tables can be filled");
    }
}
