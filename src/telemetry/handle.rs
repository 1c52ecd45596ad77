//! What each part of the server notes for those who watch it, and where.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{
    metrics::{Metrics, OperationSeries},
    operation_names::OperationNames,
    trace::{Span, Tracer},
};
use crate::config::{TelemetrySettings, WrongSetting};

/// Metrics and traces. Clones share them; the default records nothing.
#[derive(Clone, Debug, Default)]
pub struct Telemetry(Arc<Parts>);

#[derive(Debug, Default)]
struct Parts {
    names: OperationNames,
    metrics: Option<Metrics>,
    tracer: Option<Tracer>,
    settings: TelemetrySettings,
    /// When a plan was logged last.
    explained: Mutex<Option<Instant>>,
}

/// The time from one plan in the log to the next.
const EXPLAIN_AFTER: Duration = Duration::from_mins(1);

impl Telemetry {
    /// What these settings, and the variables of OpenTelemetry, ask for. It must be called in the runtime.
    ///
    /// # Errors
    ///
    /// When a variable has a value that is not possible.
    pub fn new(settings: &TelemetrySettings) -> Result<Self, WrongSetting> {
        Ok(Self(Arc::new(Parts {
            names: OperationNames::default(),
            metrics: settings.metrics_listen.is_some().then(Metrics::default),
            tracer: Tracer::start().map_err(WrongSetting::from)?,
            settings: settings.clone(),
            explained: Mutex::default(),
        })))
    }

    /// The metrics, if they are asked for.
    #[must_use]
    pub fn metrics(&self) -> Option<&Metrics> {
        self.0.metrics.as_ref()
    }

    /// What records traces, if they are asked for.
    #[must_use]
    pub fn tracer(&self) -> Option<&Tracer> {
        self.0.tracer.as_ref()
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &TelemetrySettings {
        &self.0.settings
    }

    /// The time from which on an operation is slow; none when nobody wants to know.
    #[must_use]
    pub fn slow(&self) -> Option<Duration> {
        Some(self.settings().slow_operation).filter(|time| !time.is_zero())
    }

    /// Whether the plan of a slow statement is logged now: plans are asked for, and there was none in the last minute.
    #[must_use]
    pub fn takes_plan(&self) -> bool {
        if !self.settings().explain_slow {
            return false;
        }
        let mut last = self.0.explained.lock();
        let is_due = last.is_none_or(|last| last.elapsed() >= EXPLAIN_AFTER);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }

    /// The span that runs, if it is recorded.
    #[must_use]
    pub fn recorded(&self) -> Option<(&Tracer, Span)> {
        let tracer = self.tracer()?;
        Some((tracer, Span::recorded()?))
    }

    /// The name by which an operation of a valid document is told from others: its own, unless there are too many.
    #[must_use]
    pub fn operation_name<'a>(&self, name: Option<&'a str>) -> &'a str {
        self.0.names.note(name, self.settings().metrics_operations)
    }

    /// Has an operation told from others by its name, however many there are.
    pub fn trust_operation_name(&self, name: &str) {
        self.0.names.trust(name);
    }

    /// What is measured of an operation of a type (`query`, `mutation` or `subscription`) of a valid document.
    #[must_use]
    pub fn series(&self, ty: &'static str, name: Option<&str>) -> Option<OperationSeries> {
        Some(self.metrics()?.operation(ty, self.operation_name(name)))
    }

    /// What is measured of an operation that comes with this name, before its document is known to be valid.
    #[must_use]
    pub fn unknown_series(&self, name: Option<&str>) -> Option<OperationSeries> {
        Some(self.metrics()?.operation("unknown", self.0.names.known(name)))
    }

    /// Sends what is still to be sent.
    pub async fn stop(&self) {
        let telemetry = self.clone();
        if self.tracer().is_some() {
            // It waits for the runtime, whose thread must not wait for it.
            let stopping = tokio::task::spawn_blocking(move || telemetry.tracer().map(Tracer::stop));
            // A panic is in the log.
            let _ = stopping.await;
        }
    }
}
