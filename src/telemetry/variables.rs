//! The variables of OpenTelemetry (`OTEL_*`) that say how traces are made and sent.
//!
//! The SDK ignores what it cannot read, such as a header with the key of a collector. Here it is an error.

use std::{env, fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration};

use anyhow::{Context as _, bail, ensure};
use hyper::header::{HeaderName, HeaderValue};
use opentelemetry::KeyValue;
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfig, BatchConfigBuilder, Sampler},
};
use percent_encoding::percent_decode_str;

/// The name of the service, unless a variable says another one.
pub const SERVICE: &str = "hero-teams";
/// The part of the requests that are recorded, unless a variable says another one, or the client has decided.
const RATIO: f64 = 0.01;
/// The address of a collector for traces, and the one for all signals, which each have a path there.
pub const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
pub const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// How the trace of a client is named in its request.
const PROPAGATORS: &str = "OTEL_PROPAGATORS";
/// The greatest number of spans that wait.
const MAX_SPANS: usize = 1_000_000;
/// The greatest number of milliseconds: an hour.
const MAX_MILLISECONDS: u64 = 3_600_000;

/// The first of these variables that is not empty, with its value.
pub fn first_of(names: [&'static str; 2]) -> Option<(&'static str, String)> {
    names.into_iter().find_map(|name| Some((name, variable(name)?)))
}

/// The value of a variable, unless it is empty.
pub fn variable(name: &str) -> Option<String> {
    let value = env::var_os(name)?.to_string_lossy().trim().to_owned();
    Some(value).filter(|value| !value.is_empty())
}

/// The sampler of the SDK, and the part of the traces beginning here for which it is asked, from 0 to 1; none for all
/// of them.
///
/// Most requests begin a trace that is not recorded. It is decided on before it has ids and a span, which take longer.
///
/// # Errors
///
/// When a variable has a value that is not possible.
pub fn sampler() -> anyhow::Result<(Sampler, Option<f64>)> {
    let name = variable("OTEL_TRACES_SAMPLER");
    let argument = variable("OTEL_TRACES_SAMPLER_ARG");
    let ratio = || -> anyhow::Result<f64> {
        let default = if name.is_some() { 1.0 } else { RATIO };
        let ratio = argument.as_deref().map_or(Ok(default), str::parse).ok();
        let ratio = ratio.filter(|ratio| (0.0..=1.0).contains(ratio));
        ratio.context("OTEL_TRACES_SAMPLER_ARG: a number from 0 to 1 is expected")
    };
    let based_with = |ratio| (Sampler::ParentBased(Box::new(Sampler::AlwaysOn)), Some(ratio));
    Ok(match name.as_deref() {
        Some("always_on") => (Sampler::AlwaysOn, None),
        Some("always_off") => (Sampler::AlwaysOff, Some(0.0)),
        // Whether a trace of a client is recorded depends on its id.
        Some("traceidratio") => (Sampler::TraceIdRatioBased(ratio()?), None),
        Some("parentbased_always_on") => based_with(1.0),
        Some("parentbased_always_off") => based_with(0.0),
        None | Some("parentbased_traceidratio") => based_with(ratio()?),
        Some(_) => bail!(
            "OTEL_TRACES_SAMPLER: one of always_on, always_off, traceidratio, parentbased_always_on, \
             parentbased_always_off, parentbased_traceidratio is expected"
        ),
    })
}

/// How long a batch of spans may take to be sent.
///
/// # Errors
///
/// When it is no time.
pub fn timeout() -> anyhow::Result<Duration> {
    let given = first_of(["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]);
    let Some((name, milliseconds)) = given else { return Ok(Duration::from_secs(10)) };
    let milliseconds = milliseconds.parse().ok().filter(|milliseconds| *milliseconds > 0);
    let expected = || format!("{name}: a number of milliseconds from 1 is expected");
    Ok(Duration::from_millis(milliseconds.with_context(expected)?))
}

/// How many spans wait to be sent, and when a batch of them is.
///
/// # Errors
///
/// When a number is not possible.
pub fn batches() -> anyhow::Result<BatchConfig> {
    let milliseconds = 1..=MAX_MILLISECONDS;
    let mut config = BatchConfigBuilder::default();
    if let Some(size) = number("OTEL_BSP_MAX_QUEUE_SIZE", 1..=MAX_SPANS)? {
        config = config.with_max_queue_size(size);
    }
    if let Some(size) = number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1..=MAX_SPANS)? {
        config = config.with_max_export_batch_size(size);
    }
    if let Some(delay) = number("OTEL_BSP_SCHEDULE_DELAY", milliseconds.clone())? {
        config = config.with_scheduled_delay(Duration::from_millis(delay));
    }
    // A batch has the time that its request has.
    number("OTEL_BSP_EXPORT_TIMEOUT", milliseconds)?;
    Ok(config.build())
}

/// Checks what the SDK reads by itself.
///
/// # Errors
///
/// What is wrong.
pub fn check() -> anyhow::Result<()> {
    if let Some((name, protocol)) = first_of(["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"]) {
        ensure!(protocol == "http/protobuf", "{name}: http/protobuf is expected, which collectors take at port 4318");
    }
    for name in ["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_EVENT_COUNT_LIMIT", "OTEL_SPAN_LINK_COUNT_LIMIT"] {
        number(name, 0..=u32::MAX)?;
    }
    for name in ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"] {
        let is_header = |(name, value): &(String, String)| {
            name.parse::<HeaderName>().is_ok() && HeaderValue::from_str(value).is_ok()
        };
        ensure!(pairs(name)?.iter().all(is_header), wrong_pairs(name));
    }
    pairs("OTEL_RESOURCE_ATTRIBUTES")?;
    let compression = first_of(["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"]);
    if let Some((name, compression)) = compression {
        ensure!(["gzip", "none"].contains(&&*compression), "{name}: gzip or none is expected");
    }
    if let Some(propagators) = variable(PROPAGATORS) {
        let is_known = |name: &str| ["tracecontext", "baggage"].contains(&name.trim());
        let has_trace = propagators.split(',').any(|name| name.trim() == "tracecontext");
        ensure!(
            has_trace && propagators.split(',').all(is_known),
            "{PROPAGATORS}: tracecontext is expected, or tracecontext,baggage"
        );
    }
    let unused = |kind| {
        [format!("OTEL_EXPORTER_OTLP_TRACES_{kind}"), format!("OTEL_EXPORTER_OTLP_{kind}")]
            .into_iter()
            .find(|name| variable(name).is_some())
    };
    match ["CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"].into_iter().find_map(unused) {
        Some(name) => bail!("{name}: certificates of one's own are not supported; those of the system are used"),
        None => Ok(()),
    }
}

/// The pairs of a variable, decoded.
fn pairs(name: &str) -> anyhow::Result<Vec<(String, String)>> {
    let Some(value) = variable(name) else { return Ok(Vec::new()) };
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let [name, value] = [name, value].map(|text| percent_decode_str(text.trim()).decode_utf8());
        Some((name.ok()?.into_owned(), value.ok()?.into_owned())).filter(|(name, _)| !name.is_empty())
    };
    let pairs: Option<_> = value.split_terminator(',').map(pair).collect();
    pairs.with_context(|| wrong_pairs(name))
}

fn wrong_pairs(name: &str) -> String {
    format!("{name}: pairs such as name=value are expected, with commas between them and other characters as %XX")
}

fn number<T: FromStr + PartialOrd + Display>(name: &str, range: RangeInclusive<T>) -> anyhow::Result<Option<T>> {
    let Some(value) = variable(name) else { return Ok(None) };
    let number = value.parse().ok().filter(|number| range.contains(number));
    let (min, max) = range.into_inner();
    number.map(Some).with_context(|| format!("{name}: a number from {min} to {max} is expected"))
}

/// What the spans are of.
#[must_use]
pub fn resource() -> Resource {
    let builder = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    // The SDK reads them as well, and leaves their values as they are.
    let attributes = pairs("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let is_named = attributes.iter().any(|(name, _)| name == "service.name");
    let attributes = attributes.into_iter().map(|(name, value)| KeyValue::new(name, value));
    let builder = builder.with_attributes(attributes);
    match variable("OTEL_SERVICE_NAME") {
        // It comes before the attribute (OpenTelemetry, General SDK Configuration).
        Some(name) => builder.with_service_name(name).build(),
        None if is_named => builder.build(),
        None => builder.with_service_name(SERVICE).build(),
    }
}
