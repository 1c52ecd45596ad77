//! Signs of life, for those who restart servers and send them requests.

use axum::{Router, extract::State, http::StatusCode, routing};

use crate::db::Db;

/// Where a server says whether it is ready.
pub const READY: &str = "/health/ready";

/// `GET /health/live`: the process answers. `GET /health/ready`: the database can be read and written.
pub fn router(db: Db) -> Router {
    Router::new().route("/health/live", routing::get("live")).route(READY, routing::get(ready)).with_state(db)
}

/// Whether a path is one of these.
pub fn is_probe(path: &str) -> bool {
    path.starts_with("/health/")
}

async fn ready(State(db): State<Db>) -> (StatusCode, &'static str) {
    let (error, message) = match tokio::join!(db.check_read(), db.check_write()) {
        (Ok(()), Ok(())) => return (StatusCode::OK, "ready"),
        (Err(error), _) => (error, "the database does not answer"),
        (Ok(()), Err(error)) => (error, "the database cannot be written"),
    };
    tracing::warn!(%error, "not ready");
    (StatusCode::SERVICE_UNAVAILABLE, message)
}
