//! How to reach the database.

use std::time::Duration;

use super::Migrations;
use crate::{
    config::{DatabaseSettings, DatabaseUrl, Pooler, PostgresUrl, Switch},
    telemetry::Telemetry,
};

/// How to reach the database.
#[derive(Clone, Debug)]
pub struct DbSettings {
    /// The migrations that make the tables.
    pub migrations: Migrations,
    pub url: DatabaseUrl,
    /// The maximum number of connections that read.
    pub read_connections: u32,
    /// The maximum number of connections that write. SQLite always has one.
    pub write_connections: u32,
    /// How long a request waits for a connection that is free.
    pub acquire_timeout: Duration,
    /// How long a commit is waited for past the deadline of its request, before its connection is given up.
    pub commit_timeout: Duration,
    /// How long a statement may take on PostgreSQL before it is cancelled. Zero for no end.
    pub statement_timeout: Duration,
    /// How long a statement may take before it is warned of. Zero for as long as it likes.
    pub slow_statement: Duration,
    /// Whether writes write their events, in the same transaction, if the migrations make the table for them.
    pub events: bool,
    /// Replicas of PostgreSQL that answer queries. With SQLite they are not used.
    pub replicas: Vec<PostgresUrl>,
    /// How far a replica may be behind before it is not asked.
    pub max_replica_lag: Duration,
    /// Whether a pooler is between the server and PostgreSQL, which gives each transaction another session.
    pub is_pooled: bool,
    /// Whether statements stay prepared on PostgreSQL.
    pub prepared_statements: bool,
    /// What is told of statements, connections and transactions.
    pub telemetry: Telemetry,
}

impl DbSettings {
    /// What the settings of a program say, for the migrations of its API.
    #[must_use]
    pub fn new(settings: &DatabaseSettings, migrations: Migrations, telemetry: Telemetry) -> Self {
        Self {
            migrations,
            telemetry,
            url: settings.database_url.clone(),
            read_connections: settings.read_connections,
            write_connections: settings.write_connections,
            acquire_timeout: settings.acquire_timeout,
            commit_timeout: settings.commit_timeout,
            statement_timeout: settings.statement_timeout,
            slow_statement: settings.slow_statement,
            events: settings.events == Switch::On,
            replicas: settings.read_urls.clone(),
            max_replica_lag: settings.max_replica_lag,
            is_pooled: settings.pooler == Pooler::Transaction,
            prepared_statements: !settings.no_prepared_statements,
        }
    }
}
