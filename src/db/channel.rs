//! How servers on one PostgreSQL tell each other that something was committed.
//!
//! A NOTIFY in each transaction would have the commits wait for each other. So the servers send it on a connection of
//! its own, after the commits, and for many of them at once. It carries nothing: whoever hears it looks for events.

use std::{sync::Arc, time::Duration};

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
/// One connection to listen, and one to notify.
const CONNECTIONS: u32 = 2;

/// The channel of the servers on one database.
#[derive(Clone, Debug)]
pub struct Channel(PgPool);

impl Channel {
    /// The channel of the servers on this database; none on SQLite. Connections are opened when they are needed.
    #[must_use]
    pub fn new(url: &DatabaseUrl) -> Option<Self> {
        let DatabaseUrl::Postgres(options) = url else { return None };
        Some(Self(PgPoolOptions::new().max_connections(CONNECTIONS).connect_lazy_with(named(options))))
    }

    /// Tells all servers. One that is not reached finds out by itself a moment later.
    pub async fn notify(&self) {
        if let Err(error) = self.0.execute(AssertSqlSafe(format!("NOTIFY {CHANNEL}"))).await {
            tracing::debug!(%error, "other servers could not be told of events");
            sleep(BACKOFF).await;
        }
    }

    /// Notes whenever another server has told something, or may have told something that was not heard.
    pub async fn listen(&self, heard: Arc<Notify>) {
        loop {
            if let Err(error) = self.hear(&heard).await {
                tracing::debug!(%error, "the notifications of other servers are not heard at the moment");
            }
            sleep(BACKOFF).await;
        }
    }

    async fn hear(&self, heard: &Notify) -> Result<(), sea_orm::sqlx::Error> {
        let mut listener = PgListener::connect_with(&self.0).await?;
        listener.listen(CHANNEL).await?;
        heard.notify_one();
        loop {
            // None when the connection was lost and another one has been opened.
            listener.try_recv().await?;
            heard.notify_one();
        }
    }
}
