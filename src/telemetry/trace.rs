//! Traces, sent over OTLP to where the variables `OTEL_*` say.
//!
//! Spans are made by the API of OpenTelemetry and not out of those of `tracing`: whether a request is recorded is known
//! before its first span, and what is not recorded costs next to nothing.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, bail};
use hyper::{HeaderMap, header::HeaderName};
use opentelemetry::{
    Context, KeyValue, Value,
    context::{FutureExt as _, WithContext},
    propagation::TextMapPropagator as _,
    trace::{
        Link, Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceId, Tracer as _,
        TracerProvider as _,
    },
};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{BatchSpanProcessor, SdkTracer, SdkTracerProvider},
};
use tokio::{runtime::Handle, time::Instant};

use super::{
    otlp::OtlpClient,
    variables::{ENDPOINT, SERVICE, TRACES_ENDPOINT, batches, check, first_of, resource, sampler, timeout, variable},
};
use crate::config::http_url_without_user;

/// How long the end of the program waits for the last spans to be sent.
const MAX_FLUSH: Duration = Duration::from_secs(2);
/// Names the span of the client (W3C Trace Context).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What records traces.
#[derive(Debug)]
pub struct Tracer {
    provider: SdkTracerProvider,
    spans: SdkTracer,
    propagator: TraceContextPropagator,
    /// The part of the traces beginning here that is recorded, from 0 to 1; none where the sampler of the SDK decides.
    ratio: Option<f64>,
}

/// A span that has begun. A clone is the same one. It ends when it is said to, or all its clones are dropped.
#[derive(Clone, Debug)]
pub struct Span(Context);

/// Where the parent of a span is.
#[derive(Debug)]
pub enum Parent<'a> {
    /// The span that runs.
    Current,
    /// In the headers of a request, if they have one.
    Headers(&'a HeaderMap),
    /// Nowhere: it begins a trace. It may be linked to a span of another one.
    None(Option<SpanContext>),
}

impl Tracer {
    /// Begins to send, if the variables say where to. It must be called in the runtime.
    ///
    /// # Errors
    ///
    /// When a variable has a value that is not possible.
    pub fn start() -> anyhow::Result<Option<Self>> {
        let is_off = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if is_off {
            return Ok(None);
        }
        let Some((name, endpoint)) = first_of([TRACES_ENDPOINT, ENDPOINT]) else { return Ok(None) };
        match variable("OTEL_TRACES_EXPORTER").as_deref() {
            None | Some("otlp") => {}
            Some("none") => return Ok(None),
            Some(_) => bail!("OTEL_TRACES_EXPORTER: otlp or none is expected"),
        }
        let Some(mut endpoint) = http_url_without_user(&endpoint) else {
            bail!("{name}: a URL such as http://localhost:4318 is expected, without a user");
        };
        if name == ENDPOINT {
            endpoint.set_path(&format!("{}/v1/traces", endpoint.path().trim_end_matches('/')));
        }
        check()?;
        let (sampler, ratio) = sampler()?;
        let client = OtlpClient::new(Handle::current(), timeout()?);
        let exporter = SpanExporter::builder().with_http().with_http_client(client).with_endpoint(endpoint).build();
        let provider = SdkTracerProvider::builder()
            .with_sampler(sampler)
            .with_resource(resource())
            .with_span_processor(
                BatchSpanProcessor::builder(exporter.context(name)?).with_batch_config(batches()?).build(),
            )
            .build();
        let spans = provider.tracer(SERVICE);
        Ok(Some(Self { provider, spans, propagator: TraceContextPropagator::new(), ratio }))
    }

    /// Begins a span, which may have begun a moment ago. What begins a trace that is not recorded has no place in one,
    /// and nothing below it is recorded either.
    #[must_use]
    pub fn begin(
        &self,
        name: impl FnOnce() -> Cow<'static, str>,
        kind: SpanKind,
        parent: Parent<'_>,
        start: Option<Instant>,
    ) -> Span {
        let (parent, link) = match parent {
            Parent::Current => (Context::current(), None),
            Parent::Headers(headers) if headers.contains_key(TRACEPARENT) => {
                (self.propagator.extract_with_context(&Context::new(), &HeaderExtractor(headers)), None)
            }
            Parent::Headers(_) => (Context::new(), None),
            Parent::None(link) => (Context::new(), link),
        };
        if !parent.has_active_span() && self.ratio.is_some_and(|ratio| fastrand::f64() >= ratio) {
            return Span(Context::new().with_telemetry_suppressed());
        }
        let mut builder = self.spans.span_builder(name()).with_kind(kind);
        builder.start_time = start.map(began);
        builder.links = link.map(|link| vec![Link::with_context(link)]);
        Span(Context::new().with_span(self.spans.build_with_context(builder, &parent)))
    }

    /// Records a span that has ended, below a span that is recorded.
    pub fn record(&self, parent: &Span, span: Ended) {
        let Ended { name, kind, start, attributes, error } = span;
        let builder = self.spans.span_builder(name).with_kind(kind).with_start_time(start);
        let mut span = self.spans.build_with_context(builder.with_attributes(attributes), &parent.0);
        if let Some(error) = error {
            span.set_attribute(KeyValue::new("error.type", error));
            span.set_status(Status::error(""));
        }
        span.end();
    }

    /// Sends what has been recorded, and ends.
    pub fn stop(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(MAX_FLUSH) {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }
}

/// A span that has ended.
#[derive(Debug)]
pub struct Ended {
    pub name: String,
    pub kind: SpanKind,
    pub start: SystemTime,
    pub attributes: Vec<KeyValue>,
    pub error: Option<String>,
}

impl Ended {
    /// A span that has ended now.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: SpanKind, start: SystemTime) -> Self {
        Self { name: name.into(), kind, start, attributes: Vec::new(), error: None }
    }
}

impl Span {
    /// The span that runs, if there is one.
    #[must_use]
    pub fn current() -> Option<Self> {
        Context::map_current(|context| context.has_active_span().then(|| Self(context.clone())))
    }

    /// The same, if it is recorded.
    #[must_use]
    pub fn recorded() -> Option<Self> {
        Context::map_current(|context| {
            (context.has_active_span() && context.span().is_recording()).then(|| Self(context.clone()))
        })
    }

    /// Whether it is recorded.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.0.span().is_recording()
    }

    /// Sets an attribute.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        self.0.span().set_attribute(KeyValue::new(key, value));
    }

    /// Sets several attributes.
    pub fn set_all(&self, attributes: Vec<KeyValue>) {
        self.0.span().set_attributes(attributes);
    }

    /// Notes that something happened.
    pub fn event(&self, name: &'static str, attributes: Vec<KeyValue>) {
        self.0.span().add_event(name, attributes);
    }

    /// Notes that what it stands for has failed.
    pub fn fail(&self, error: impl Into<Value>) {
        self.set("error.type", error);
        self.0.span().set_status(Status::error(""));
    }

    /// Ends it.
    pub fn end(&self) {
        self.0.span().end();
    }

    /// Runs a future with this as the span that runs.
    pub fn scope<F: Future>(&self, future: F) -> WithContext<F> {
        future.with_context(self.0.clone())
    }

    /// What tells it from all others, if it has a place in a trace.
    #[must_use]
    pub fn context(&self) -> Option<SpanContext> {
        let span = self.0.span();
        Some(span.span_context()).filter(|context| context.is_valid()).cloned()
    }

    /// The ids of its trace and its own, in hexadecimal digits, if it has a place in a trace.
    #[must_use]
    pub fn ids(&self) -> Option<(TraceId, SpanId)> {
        self.context().map(|context| (context.trace_id(), context.span_id()))
    }
}

/// Carries the span that runs into a future that is to run elsewhere.
pub fn carried<F: Future>(future: F) -> WithContext<F> {
    future.with_current_context()
}

/// When something began that has taken this time.
#[must_use]
pub fn began(start: Instant) -> SystemTime {
    SystemTime::now() - start.elapsed()
}
