//! The settings of what the server tells those who watch it.

use clap::Args;

use super::{ListenAddress, Setting, number, parsed};

#[derive(Clone, Debug, Args)]
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
    /// Maximum number of operations that metrics tell apart by name; further ones are `other`
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_METRICS_OPERATIONS",
        default_value = "100",
        value_name = "NUMBER",
        value_parser = Setting(number::<usize>)
    )]
    pub metrics_operations: usize,
}

/// Nothing is told.
impl Default for TelemetrySettings {
    fn default() -> Self {
        Self { metrics_listen: None, metrics_operations: 0 }
    }
}
