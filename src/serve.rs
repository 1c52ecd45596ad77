//! From an open database to a server that answers, until it is stopped.

use std::{
    future::pending,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use sd_notify::NotifyState;
use url::Url;

use crate::{
    access::Access,
    config::{AccessSettings, Config, Introspection, ListenAddress, ServeSettings, WrongSetting},
    db::Db,
    events::Events,
    graphql::Schema,
    http::{Parts, READY, Sources, metrics_router, router},
    http_client,
    schema::{Api, Scope},
    server::{Lifetime, Listener, serve_until},
    stop::stop_requested,
    telemetry::Telemetry,
};

/// Checks that the settings of a server go together, before it has a database.
///
/// # Errors
///
/// What contradicts what.
pub fn check(config: &Config) -> Result<(), WrongSetting> {
    let Config { serve: settings, graphql, access, events, database, .. } = config;
    let address = &settings.listen;
    if !address.is_local() && !settings.insecure {
        let checked = check_access(access).with_context(|| format!("cannot listen on {address}"));
        checked.map_err(WrongSetting::from)?;
    }
    if matches!(graphql.introspection(), Introspection::Authenticated) && !access.authenticates() {
        let message = "--introspection authenticated needs a way to authenticate: --api-keys, --jwt-issuer, --jwks or \
                       --jwt-secret-file";
        return Err(WrongSetting(message.to_owned()));
    }
    database.refuse_with_sqlite(&[("--events-url", events.events_url.is_some())])
}

/// Prepares the database and serves until a signal ends the program.
///
/// # Errors
///
/// When the address must not or cannot be listened on, settings contradict each other, the declarations make no
/// schema, or the database is outdated or fails.
pub async fn serve<A: Api>(db: Db, config: &Config) -> anyhow::Result<()> {
    let Config { serve: settings, graphql, access, events, database, telemetry, .. } = config;
    let address = &settings.listen;
    // Before the migrations: a wrong setting, or an address that is taken, changes nothing.
    let access = Access::new(access, &db).await?;
    let event_log = Events::new(&db, &database.database_url, events);
    let schema = Schema::new::<A>(db.clone(), graphql)?.with_events(event_log.clone());
    let listener = Listener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let metrics = match &telemetry.metrics_listen {
        Some(address) => {
            let listener = Listener::bind(address).await;
            Some((address, listener.with_context(|| format!("cannot listen on {address} for --metrics-listen"))?))
        }
        None => None,
    };
    prepare(&db, settings).await?;
    access.read_api_keys().await.context("cannot read the API keys")?;
    // Whoever reads that the server listens may stop it.
    let told = stop_requested(graphql.documents.documents.is_empty()).context("cannot receive signals")?;
    let stop = async move {
        told.await;
        tracing::info!("stopping: no new requests, running ones finish");
        notify(NotifyState::Stopping);
    };
    tracing::info!("listening on {}", listener.url()?);
    notify(NotifyState::Ready);
    let documents = schema.clone();
    let sources = Sources { db: db.clone(), schema: schema.clone(), access: access.clone() };
    let watching = async {
        let Some((address, listener)) = metrics else { return pending().await };
        tracing::info!("metrics at {}/metrics", listener.url()?);
        let router = metrics_router(sources, address);
        // It ends with the server.
        let (lifetime, telemetry) = (Lifetime::default(), Telemetry::default());
        serve_until(pending(), listener, router, settings, &lifetime, &telemetry).await
    };
    let (lifetime, telemetry) = (&Lifetime::default(), db.telemetry().clone());
    let router = router(Parts { db, schema, access, serve: settings, graphql, events, lifetime });
    let serving = serve_until(stop, listener, router, settings, lifetime, &telemetry);
    tokio::select! {
        served = serving => served.context("cannot serve"),
        served = watching => served.context("cannot serve metrics"),
        () = documents.follow_documents() => Ok(()),
        () = event_log.tell(), if event_log.are_written() => Ok(()),
    }
}

/// How long a server may take to say whether it is ready.
const MAX_HEALTH: Duration = Duration::from_secs(10);

/// Asks a server whether it is ready: at a URL, or where this one listens.
///
/// # Errors
///
/// When it is not, or does not answer.
pub async fn check_health(url: Option<&Url>, listen: &ListenAddress) -> anyhow::Result<()> {
    let (mut url, socket) = match (url, listen) {
        (Some(url), _) => (url.clone(), None),
        (None, ListenAddress::Tcp(address)) => {
            let ip = match address.ip() {
                // Any address of this machine is one of it.
                IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from(Ipv4Addr::LOCALHOST),
                IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from(Ipv6Addr::LOCALHOST),
                ip => ip,
            };
            (format!("http://{}", SocketAddr::new(ip, address.port())).parse()?, None)
        }
        (None, ListenAddress::Unix(path)) => ("http://localhost".parse()?, Some(path)),
    };
    // A proxy may have the server below a path.
    if !url.path().ends_with(READY) {
        url.set_path(&format!("{}{READY}", url.path().trim_end_matches('/')));
    }
    let request = hyper::Request::get("/").body(hyper::body::Bytes::new())?;
    let answer = match socket {
        None => http_client::send(&url, request, MAX_HEALTH).await,
        Some(path) => http_client::send_to_socket(path, &url, request, MAX_HEALTH).await,
    };
    let answer = answer.context("the server does not answer")?;
    let said = String::from_utf8_lossy(answer.body()).into_owned();
    ensure!(answer.status() == hyper::StatusCode::OK, "the server is not ready: {said}");
    Ok(())
}

/// Checks that a server which other machines can reach asks them who they are.
fn check_access(access: &AccessSettings) -> anyhow::Result<()> {
    ensure!(
        access.authenticates(),
        "there is no authentication, so whoever reaches that address could read and write everything; set --api-keys, \
         --jwt-issuer, --jwks or --jwt-secret-file, listen on 127.0.0.1 or unix:PATH, or say --insecure"
    );
    let scope = access.anonymous.iter().find(|scope| matches!(scope, Scope::Write | Scope::Admin));
    if let Some(scope) = scope {
        bail!(
            "--anonymous has the scope {scope}, so whoever reaches that address could write; leave it out, listen on \
             127.0.0.1 or unix:PATH, or say --insecure"
        );
    }
    Ok(())
}

async fn prepare(db: &Db, settings: &ServeSettings) -> anyhow::Result<()> {
    if !settings.no_migrate {
        return db.migrate().await.context("cannot apply the migrations");
    }
    ensure_current(db, " or leave out --no-migrate").await
}

/// Checks that all migrations are applied. The message says what to do, and this besides.
///
/// # Errors
///
/// When some are not, or the database does not answer.
pub async fn ensure_current(db: &Db, remedy: &str) -> anyhow::Result<()> {
    let pending = db.pending_migrations().await.context("cannot read the state of the migrations")?;
    let names = pending.join(", ");
    ensure!(pending.is_empty(), "the database is outdated: run the command `migrate`{remedy} (pending: {names})");
    Ok(())
}

/// Tells systemd what the server does (`sd_notify`), if it has started it.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "cannot tell systemd");
    }
}
