//! What the server tells those who watch it, besides the log. It knows no other part of the server: each part notes
//! here what it does.

mod exposition;
mod metrics;
mod process;

use std::sync::Arc;

pub use self::{
    exposition::exposition,
    metrics::{Counted, HttpRequest, Metrics, OperationSeries, Outcome, PoolSeries, Statement, Taken, type_name},
};
use crate::config::TelemetrySettings;

/// What is told. A clone is the same; the default tells nothing.
#[derive(Clone, Debug, Default)]
pub struct Telemetry(Arc<Parts>);

#[derive(Debug, Default)]
struct Parts {
    metrics: Option<Metrics>,
}

impl Telemetry {
    /// What these settings ask for.
    #[must_use]
    pub fn new(settings: &TelemetrySettings) -> Self {
        let metrics = settings.metrics_listen.is_some().then(|| Metrics::new(settings.metrics_operations));
        Self(Arc::new(Parts { metrics }))
    }

    /// The metrics, if they are asked for.
    #[must_use]
    pub fn metrics(&self) -> Option<&Metrics> {
        self.0.metrics.as_ref()
    }
}
