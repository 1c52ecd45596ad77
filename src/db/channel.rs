//! How servers on one PostgreSQL tell each other that something was committed.
//!
//! A NOTIFY in each transaction would have the commits wait for each other. So the servers send it on a connection of
//! its own, after the commits, and for many of them at once. It carries nothing: whoever hears it looks for events.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use sea_orm::sqlx::{
    AssertSqlSafe, Executor as _, PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{sync::Notify, time::sleep};

use super::{DatabaseUrl, connector::named};

/// The name of the channel.
const CHANNEL: &str = "hero_teams";
/// How long to wait before the next attempt when PostgreSQL does not answer.
const BACKOFF: Duration = Duration::from_secs(1);
/// How long to wait for a connection.
const MAX_CONNECT: Duration = Duration::from_secs(5);
/// One connection to listen, and one to notify.
const CONNECTIONS: u32 = 2;

/// The channel of the servers on one database.
#[derive(Clone, Debug)]
pub struct Channel(Arc<Hosts>);

#[derive(Debug)]
struct Hosts {
    pools: Vec<PgPool>,
    /// The host that is talked to. One that can only be read has no channels.
    current: AtomicUsize,
}

impl Channel {
    /// The channel of the servers on this database; none on SQLite. Connections are opened when they are needed.
    #[must_use]
    pub fn new(url: &DatabaseUrl) -> Option<Self> {
        let DatabaseUrl::Postgres(url) = url else { return None };
        let pool = |host| {
            let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(MAX_CONNECT);
            pool.connect_lazy_with(named(host))
        };
        Some(Self(Arc::new(Hosts { pools: url.hosts.iter().map(pool).collect(), current: AtomicUsize::new(0) })))
    }

    /// Tells all servers. One that is not reached finds out by itself a moment later.
    pub async fn notify(&self) {
        let (pool, current) = self.0.current();
        if let Err(error) = pool.execute(AssertSqlSafe(format!("NOTIFY {CHANNEL}"))).await {
            tracing::debug!(%error, "other servers could not be told of events");
            self.0.pass_over(current);
            sleep(BACKOFF).await;
        }
    }

    /// Notes whenever another server has told something, or may have told something that was not heard.
    pub async fn listen(&self, heard: Arc<Notify>) {
        loop {
            let (pool, current) = self.0.current();
            if let Err(error) = hear(pool, &heard).await {
                tracing::debug!(%error, "the notifications of other servers are not heard at the moment");
                self.0.pass_over(current);
            }
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

async fn hear(pool: &PgPool, heard: &Notify) -> Result<(), sea_orm::sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    heard.notify_one();
    loop {
        // None when the connection was lost and another one has been opened.
        listener.try_recv().await?;
        heard.notify_one();
    }
}
