//! The settings of the database.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::{
    database_url::{DatabaseUrl, EXPECTED_POSTGRES, PostgresUrl, WHICH_HOST},
    events::Switch,
    setting::{Setting, WrongSetting, flag, number_from, one_of, parsed, seconds, some_seconds},
};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Database")]
pub struct DatabaseSettings {
    #[arg(
        long,
        help = "Database: sqlite://FILE, created if it does not exist, or postgres://USER:PASSWORD@HOST:PORT/DATABASE",
        global = true,
        env = "DATABASE_URL",
        hide_env_values = true,
        default_value = "sqlite://hero-teams.db",
        value_name = "URL",
        value_parser = Setting(parsed::<DatabaseUrl>)
    )]
    pub database_url: DatabaseUrl,
    /// File with the value of --database-url, such as a secret of a container or a credential of systemd
    #[arg(
        long,
        global = true,
        env = "DATABASE_URL_FILE",
        value_name = "FILE",
        conflicts_with = "database_url",
        value_parser = Setting(parsed::<PathBuf>)
    )]
    pub database_url_file: Option<PathBuf>,
    /// Maximum number of connections that read
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_READ_CONNECTIONS",
        default_value = "8",
        value_name = "NUMBER",
        value_parser = Setting(connections)
    )]
    pub read_connections: u32,
    /// Maximum number of connections that write; SQLite always has one
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_WRITE_CONNECTIONS",
        default_value = "8",
        value_name = "NUMBER",
        value_parser = Setting(connections)
    )]
    pub write_connections: u32,
    /// Replica of PostgreSQL that answers queries, as postgres://USER:PASSWORD@HOST:PORT/DATABASE; one or several with
    /// commas, repeatable
    #[arg(
        long = "read-url",
        global = true,
        env = "HERO_TEAMS_READ_URLS",
        hide_env_values = true,
        value_name = "URL",
        value_delimiter = ',',
        value_parser = Setting(replica)
    )]
    pub read_urls: Vec<PostgresUrl>,
    /// File with the values of --read-url, with commas or one in a line
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_READ_URLS_FILE",
        value_name = "FILE",
        conflicts_with = "read_urls",
        value_parser = Setting(parsed::<PathBuf>)
    )]
    pub read_url_file: Option<PathBuf>,
    /// Seconds that a replica may be behind; one that is further behind answers nothing until it has caught up
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_MAX_REPLICA_LAG",
        default_value = "5",
        value_name = "SECONDS",
        value_parser = Setting(some_seconds)
    )]
    pub max_replica_lag: Duration,
    /// Pooler between the server and PostgreSQL: none, or transaction for one such as PgBouncer, in any of its modes
    /// but statement
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_POOLER",
        default_value = "none",
        value_name = "KIND",
        value_parser = Setting(one_of::<Pooler>)
    )]
    pub pooler: Pooler,
    /// Prepare each statement anew, for a pooler that keeps no prepared statements, such as PgBouncer before 1.21
    #[arg(long, global = true, env = "HERO_TEAMS_NO_PREPARED_STATEMENTS", value_parser = Setting(flag))]
    pub no_prepared_statements: bool,
    /// Seconds to wait for a connection to the database
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_ACQUIRE_TIMEOUT",
        default_value = "5",
        value_name = "SECONDS",
        value_parser = Setting(some_seconds)
    )]
    pub acquire_timeout: Duration,
    /// Seconds to wait for a commit after the deadline of its request; then its connection is given up
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_COMMIT_TIMEOUT",
        default_value = "5",
        value_name = "SECONDS",
        value_parser = Setting(seconds)
    )]
    pub commit_timeout: Duration,
    /// Seconds after which PostgreSQL cancels a statement; 0 for never
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_STATEMENT_TIMEOUT",
        default_value = "10",
        value_name = "SECONDS",
        value_parser = Setting(seconds)
    )]
    pub statement_timeout: Duration,
    /// Seconds after which the log warns of a statement; 0 for never
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_SLOW_STATEMENT",
        default_value = "0.5",
        value_name = "SECONDS",
        value_parser = Setting(seconds)
    )]
    pub slow_statement: Duration,
    /// Write an event for each change, for subscriptions: on or off
    #[arg(
        long = "events",
        global = true,
        env = "HERO_TEAMS_EVENTS",
        default_value = "on",
        value_name = "WHETHER",
        value_parser = Setting(one_of::<Switch>)
    )]
    pub events: Switch,
    /// Log each SQL statement and its time
    #[arg(long, global = true, env = "HERO_TEAMS_LOG_SQL", value_parser = Setting(flag))]
    pub log_sql: bool,
}

impl DatabaseSettings {
    /// Checks that none of some flags is given with SQLite, which has no use for them.
    ///
    /// # Errors
    ///
    /// The first one that is.
    pub fn refuse_with_sqlite(&self, flags: &[(&str, bool)]) -> Result<(), WrongSetting> {
        match flags.iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) if matches!(self.database_url, DatabaseUrl::Sqlite(_)) => {
                Err(WrongSetting(format!("{flag} needs PostgreSQL as the database")))
            }
            _ => Ok(()),
        }
    }
}

/// What is between the server and PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pooler {
    /// Nothing
    None,
    /// A pooler that may give each transaction another session
    Transaction,
}

pub fn replica(text: &str) -> Result<PostgresUrl, String> {
    match text.parse::<PostgresUrl>() {
        Ok(url) if url.hosts.len() == 1 && !url.must_write => Ok(url),
        Err(fault) if fault != WHICH_HOST => Err(fault),
        _ => Err(format!("{EXPECTED_POSTGRES}, with one host")),
    }
}

fn connections(text: &str) -> Result<u32, String> {
    number_from(text, 1..=1_000)
}
