//! Signs of life, for those who restart servers and send them requests.

use axum::{Router, extract::State, http::StatusCode, routing};

use crate::store::Db;

/// `GET /health/live`: the process answers. `GET /health/ready`: the database does, too.
pub fn router(db: Db) -> Router {
    Router::new().route("/health/live", routing::get("live")).route("/health/ready", routing::get(ready)).with_state(db)
}

async fn ready(State(db): State<Db>) -> (StatusCode, &'static str) {
    match db.ping().await {
        Ok(()) => (StatusCode::OK, "ready"),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer")
        }
    }
}
