//! How requests come in and answers go out: the router and the life of the server.

mod endpoint;
mod health;
mod media_type;
mod params;
mod playground;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::{Router, extract::DefaultBodyLimit, routing};
use tokio::{net::TcpListener, signal, sync::oneshot};
use tower_http::trace::TraceLayer;

use self::endpoint::Endpoint;
use crate::{
    config::{GraphQlSettings, ServeSettings},
    graphql::Schema,
    store::Db,
};

/// Bytes in the body of a request, at most.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// All routes.
pub fn router(db: Db, graphql: &GraphQlSettings) -> Router {
    let endpoint = Endpoint { schema: Schema::new(db.clone(), graphql), max_batch: graphql.max_batch };
    Router::new()
        .route("/graphql", routing::get(endpoint::get).post(endpoint::post))
        .route("/schema.graphql", routing::get(endpoint::sdl))
        .with_state(Arc::new(endpoint))
        .merge(health::router(db))
        .merge(playground::router())
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(TraceLayer::new_for_http())
}

/// Prepares the database and serves until Ctrl-C or SIGTERM.
///
/// # Errors
///
/// When the database is outdated or fails, or the address cannot be listened on.
pub async fn serve(db: Db, settings: &ServeSettings, graphql: &GraphQlSettings) -> anyhow::Result<()> {
    // The address comes first: a server that cannot listen changes nothing.
    let listener =
        TcpListener::bind(settings.listen).await.with_context(|| format!("cannot listen on {}", settings.listen))?;
    prepare(&db, settings).await?;
    tracing::info!("listening on http://{}", listener.local_addr()?);

    let (stop, stopped) = oneshot::channel();
    let server = axum::serve(listener, router(db, graphql)).with_graceful_shutdown(async move {
        stop_requested().await;
        // The receiver lives as long as the server, so nothing is lost when it is gone.
        let _ = stop.send(());
    });
    tokio::select! {
        result = server => result.context("cannot serve"),
        () = deadline(stopped, settings.shutdown_timeout) => {
            tracing::warn!("requests that were still running have been cut off");
            Ok(())
        }
    }
}

async fn prepare(db: &Db, settings: &ServeSettings) -> anyhow::Result<()> {
    if !settings.no_migrate {
        return db.migrate().await.context("cannot apply the migrations");
    }
    let pending = db.pending_migrations().await.context("cannot read the state of the migrations")?;
    anyhow::ensure!(
        pending.is_empty(),
        "the database is outdated: run `hero-teams migrate` or leave out --no-migrate (pending: {})",
        pending.join(", ")
    );
    Ok(())
}

async fn stop_requested() {
    let terminated = async {
        match signal::unix::signal(signal::unix::SignalKind::terminate()) {
            Ok(mut terminate) => {
                terminate.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        result = signal::ctrl_c() => {
            if result.is_err() {
                std::future::pending::<()>().await;
            }
        }
        () = terminated => {}
    }
    tracing::info!("stopping: no new requests, running ones finish");
}

async fn deadline(stopped: oneshot::Receiver<()>, timeout: Duration) {
    if stopped.await.is_ok() {
        tokio::time::sleep(timeout).await;
    } else {
        std::future::pending::<()>().await;
    }
}
