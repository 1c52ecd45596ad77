//! From an open database to a server that answers, until it is stopped.

use std::io;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    config::{GraphQlSettings, ServeSettings},
    graphql::Schema,
    http::router,
    schema::Api,
    server::{Listener, serve_until},
    store::Db,
};

/// Prepares the database and serves until Ctrl-C or SIGTERM.
///
/// # Errors
///
/// When the address must not or cannot be listened on, or the database is outdated or fails.
pub async fn serve<A: Api>(db: Db, settings: &ServeSettings, graphql: &GraphQlSettings) -> anyhow::Result<()> {
    let address = &settings.listen;
    anyhow::ensure!(
        address.is_local() || settings.insecure,
        "cannot listen on {address}: there is no authentication, so whoever reaches that address could read and write \
         everything; listen on 127.0.0.1 or unix:PATH, or say --insecure"
    );
    // The address comes first: a server that cannot listen changes nothing.
    let listener = Listener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    prepare(&db, settings).await?;
    let schema = Schema::new::<A>(db.clone(), graphql)?;
    // Whoever reads that the server listens may stop it.
    let stop = stop_requested().context("cannot receive signals")?;
    tracing::info!("listening on {}", listener.url()?);
    serve_until(stop, listener, router(db, schema, settings, graphql), settings).await.context("cannot serve")
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

fn stop_requested() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: no new requests, running ones finish");
    })
}
