//! How servers on one PostgreSQL tell each other that something was committed.
//!
//! A NOTIFY in each transaction would have the commits wait for each other. So the servers send it on a connection of
//! its own, after the commits, and for many of them at once. It carries nothing: whoever hears it looks for events.

use std::{
    convert::Infallible,
    mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use sea_orm::sqlx::{
    self, AssertSqlSafe, Executor as _, PgPool,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{connector::named, pool::no_answer};
use crate::config::PostgresUrl;

/// The name of the channel.
const CHANNEL: &str = "hero_teams";
/// How long to wait before the next attempt when PostgreSQL does not answer.
const BACKOFF: Duration = Duration::from_secs(1);
/// How long to wait for a connection, and for an answer of one.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// After how long a connection on which nothing is heard is asked whether it stands.
const QUIET: Duration = Duration::from_secs(5);

/// The channel of the servers on one database.
#[derive(Clone, Debug)]
pub struct Channel(Arc<Hosts>);

#[derive(Debug)]
struct Hosts {
    /// The connections that notify.
    pools: Vec<PgPool>,
    /// The host that is talked to. One that can only be read has no channels.
    current: AtomicUsize,
}

impl Channel {
    /// The channel of the servers on this database. Connections are opened when they are needed.
    #[must_use]
    pub fn new(url: &PostgresUrl) -> Self {
        let pools = url.hosts.iter().map(|host| pool(named(host))).collect();
        Self(Arc::new(Hosts { pools, current: AtomicUsize::new(0) }))
    }

    /// Tells all servers, and gives whether that went well.
    pub async fn notify(&self) -> bool {
        let (pool, current) = self.0.current();
        let Err(error) = notify(pool).await else { return true };
        tracing::debug!(%error, "other servers could not be told of events");
        self.0.pass_over(current);
        sleep(BACKOFF).await;
        false
    }

    /// Notes whenever another server has told something, or may have told something that was not heard.
    pub async fn listen(&self, heard: Arc<Notify>) {
        // Once, until they are heard again.
        let mut is_heard = true;
        loop {
            let (pool, current) = self.0.current();
            let begun = || {
                if !mem::replace(&mut is_heard, true) {
                    tracing::info!("other servers are heard again");
                }
            };
            let Err(error) = hear(pool.connect_options(), &heard, begun).await;
            if mem::take(&mut is_heard) {
                tracing::warn!(%error, "other servers are not heard; --events-poll finds their events");
            }
            self.0.pass_over(current);
            sleep(BACKOFF).await;
        }
    }
}

impl Hosts {
    fn current(&self) -> (&PgPool, usize) {
        let current = self.current.load(Relaxed);
        (&self.pools[current], current)
    }

    /// Goes on with the next host, unless that was done.
    fn pass_over(&self, host: usize) {
        let next = (host + 1) % self.pools.len();
        // If another one was faster, that is as well.
        let _ = self.current.compare_exchange(host, next, Relaxed, Relaxed);
    }
}

fn pool(options: PgConnectOptions) -> PgPool {
    // While one is replaced by another, there are two.
    PgPoolOptions::new().max_connections(2).acquire_timeout(MAX_WAIT).connect_lazy_with(options)
}

async fn notify(pool: &PgPool) -> Result<(), sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let notify = connection.execute(AssertSqlSafe(format!("NOTIFY {CHANNEL}")));
    if let Ok(notified) = timeout(MAX_WAIT, notify).await {
        return notified.map(drop);
    }
    // The pool would wait for its answer.
    drop(connection.detach());
    Err(no_answer())
}

async fn hear(
    options: Arc<PgConnectOptions>,
    heard: &Notify,
    mut begun: impl FnMut(),
) -> Result<Infallible, sqlx::Error> {
    // The library waits for the answer of a connection that it gives up, so the next one comes from another pool.
    let mut listener = PgListener::connect_with(&pool(PgConnectOptions::clone(&options))).await?;
    timeout(MAX_WAIT, listener.listen(CHANNEL)).await.unwrap_or_else(|_| Err(no_answer()))?;
    begun();
    loop {
        // Something was told, or may have been before this connection took the place of one that was lost.
        heard.notify_one();
        if let Ok(received) = timeout(QUIET, listener.try_recv()).await {
            received?;
        } else {
            // A line that was lost without a word looks like one on which nobody speaks.
            timeout(MAX_WAIT, listener.execute("SELECT 1")).await.unwrap_or_else(|_| Err(no_answer()))?;
        }
    }
}
