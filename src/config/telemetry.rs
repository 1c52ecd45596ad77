//! The settings of what the server tells those who watch it.

use std::time::Duration;

use clap::Args;

use super::{
    listen_address::ListenAddress,
    setting::{Setting, flag, number, parsed, seconds},
};

#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[command(next_help_heading = "Telemetry")]
pub struct TelemetrySettings {
    /// Address and port for metrics, which are at /metrics there, or unix:PATH for a socket file; none if absent
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_METRICS_LISTEN",
        value_name = "ADDRESS:PORT",
        value_parser = Setting(parsed::<ListenAddress>)
    )]
    pub metrics_listen: Option<ListenAddress>,
    /// Maximum number of operations that metrics and comments in SQL tell apart by name; further ones are `other`
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_METRICS_OPERATIONS",
        default_value = "100",
        value_name = "NUMBER",
        value_parser = Setting(number::<usize>)
    )]
    pub metrics_operations: usize,
    /// Add documents to traces, with ? for each literal
    #[arg(long, global = true, env = "HERO_TEAMS_TRACE_DOCUMENTS", value_parser = Setting(flag))]
    pub trace_documents: bool,
    /// Name spans of operations by type and name, such as `query HeroList`, and not by type alone
    #[arg(long, global = true, env = "HERO_TEAMS_TRACE_OPERATION_NAMES", value_parser = Setting(flag))]
    pub trace_operation_names: bool,
    /// Seconds after which the log warns of an operation, with its statements; 0 for never
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_SLOW_OPERATION",
        default_value = "1",
        value_name = "SECONDS",
        value_parser = Setting(seconds)
    )]
    pub slow_operation: Duration,
    /// Log the plan of the slowest statement of a slow operation as well, at most once a minute
    #[arg(long, global = true, env = "HERO_TEAMS_EXPLAIN_SLOW", value_parser = Setting(flag))]
    pub explain_slow: bool,
    /// End SQL statements with a comment that has the name of the operation
    #[arg(long, global = true, env = "HERO_TEAMS_SQL_COMMENTS", value_parser = Setting(flag))]
    pub sql_comments: bool,
}

/// Nothing is told.
impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            metrics_listen: None,
            metrics_operations: 100,
            trace_documents: false,
            trace_operation_names: false,
            slow_operation: Duration::ZERO,
            explain_slow: false,
            sql_comments: false,
        }
    }
}
