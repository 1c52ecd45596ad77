//! What the server tells those who watch it, besides the log. Each part notes here what it does. Of the other parts it
//! knows only the settings and the HTTP client, which sends spans.

mod exposition;
mod handle;
mod metrics;
mod operation_names;
mod otlp;
mod process;
mod trace;
mod variables;

pub use opentelemetry::{
    KeyValue,
    trace::{SpanContext, SpanKind},
};

pub use self::{
    exposition::exposition,
    handle::Telemetry,
    metrics::{Counted, Metrics, OperationSeries, Outcome, PoolSeries, Taken},
    trace::{Ended, Parent, Span, Tracer, began, carried},
};
