//! The settings of events and subscriptions.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::{
    database_url::PostgresUrl,
    setting::{Setting, parsed, seconds, some_number, some_seconds},
};

/// Whether something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// It is done
    On,
    /// It is not done
    Off,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Subscriptions")]
pub struct EventSettings {
    /// Database for LISTEN and NOTIFY, when --database-url leads to a pooler:
    /// postgres://USER:PASSWORD@HOST:PORT/DATABASE
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_EVENTS_URL",
        hide_env_values = true,
        value_name = "URL",
        value_parser = Setting(parsed::<PostgresUrl>)
    )]
    pub events_url: Option<PostgresUrl>,
    /// File with the value of --events-url
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_EVENTS_URL_FILE",
        value_name = "FILE",
        conflicts_with = "events_url",
        value_parser = Setting(parsed::<PathBuf>)
    )]
    pub events_url_file: Option<PathBuf>,
    /// Seconds between two looks for events that nobody has told of, while somebody listens
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_EVENTS_POLL",
        default_value = "1",
        value_name = "SECONDS",
        value_parser = Setting(some_seconds)
    )]
    pub events_poll: Duration,
    /// Seconds for which events are kept, so that a subscription can go on after one of them
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_EVENT_RETENTION",
        default_value = "3600",
        value_name = "SECONDS",
        value_parser = Setting(some_seconds)
    )]
    pub event_retention: Duration,
    /// Maximum number of subscriptions; more are refused
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_MAX_SUBSCRIPTIONS",
        default_value = "10000",
        value_name = "NUMBER",
        value_parser = Setting(some_number::<usize>)
    )]
    pub max_subscriptions: usize,
    /// Maximum number of operations at once on one WebSocket; more are refused
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_MAX_SUBSCRIPTIONS_PER_CONNECTION",
        default_value = "100",
        value_name = "NUMBER",
        value_parser = Setting(some_number::<usize>)
    )]
    pub max_subscriptions_per_connection: usize,
    /// Maximum number of open WebSocket connections; more are closed with 1013
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_MAX_SOCKETS",
        default_value = "1024",
        value_name = "NUMBER",
        value_parser = Setting(some_number::<usize>)
    )]
    pub max_sockets: usize,
    /// Seconds for a client to send `connection_init` after its WebSocket is open
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_WS_INIT_TIMEOUT",
        default_value = "3",
        value_name = "SECONDS",
        value_parser = Setting(some_seconds)
    )]
    pub ws_init_timeout: Duration,
    /// Seconds between two pings of a WebSocket; a client that does not answer one within 10 seconds is disconnected
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_PING_INTERVAL",
        default_value = "15",
        value_name = "SECONDS",
        value_parser = Setting(some_seconds)
    )]
    pub ping_interval: Duration,
    /// Seconds after which a subscription ends; 0 for never
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_MAX_SUBSCRIPTION_TIME",
        default_value = "0",
        value_name = "SECONDS",
        value_parser = Setting(seconds)
    )]
    pub max_subscription_time: Duration,
}
