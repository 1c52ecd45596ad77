//! The settings of the log.

use clap::{Args, ValueEnum};

use super::setting::{Setting, one_of};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Log")]
pub struct LogSettings {
    /// Level of the log: error, warn, info, debug or trace
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_LOG_LEVEL",
        default_value = "info",
        value_name = "LEVEL",
        value_parser = Setting(one_of::<LogLevel>)
    )]
    pub log_level: LogLevel,
    /// Format of the log: text, or json with one object a line
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT",
        value_parser = Setting(one_of::<LogFormat>)
    )]
    pub log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line for people
    Text,
    /// One JSON object a line
    Json,
}
