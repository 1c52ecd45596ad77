//! Metrics as Prometheus reads them.

use std::fmt;

use prometheus_client::encoding::{prometheus_text, text};

use super::Metrics;

/// The media type of `OpenMetrics`.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The text of all metrics, with its media type: `OpenMetrics`, or the older format of Prometheus, which `promtool`
/// checks.
///
/// # Errors
///
/// None: a text can always be written to.
pub fn exposition(metrics: &Metrics, is_open_metrics: bool) -> Result<(&'static str, String), fmt::Error> {
    let mut exposition = String::new();
    if is_open_metrics {
        text::encode(&mut exposition, metrics.registry())?;
        return Ok((OPEN_METRICS, exposition));
    }
    prometheus_text::encode(&mut exposition, metrics.registry())?;
    Ok((prometheus_text::CONTENT_TYPE, exposition))
}
