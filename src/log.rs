//! The log: what the server tells those who run it, on the standard error output.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{LogFormat, LogLevel, LogSettings};

/// Starts the log, which also tells of panics: within the span of their request, if there is one.
pub fn init(settings: &LogSettings, log_sql: bool) {
    let level = match settings.log_level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    // Statements are logged when they are asked for, whatever the level of the rest.
    let statements = if log_sql { "debug" } else { "off" };
    let filter = EnvFilter::new(format!("{level},hero_teams::sql={statements}"));
    let log = fmt().with_env_filter(filter).with_ansi(stderr().is_terminal()).with_writer(stderr);
    match settings.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, cause = panic.payload_as_str(), "a panic");
    }));
}
