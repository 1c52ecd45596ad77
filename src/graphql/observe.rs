//! What is told of operations to those who watch: metrics, spans, and reports of slow ones.

use std::time::{Duration, SystemTime};

use tracing::Instrument as _;

use super::{
    checked_request::CheckedRequest,
    document::{type_name, without_literals},
    error::code,
    loaders::count,
    request::{Answer, Outcome, RequestedOperation},
};
use crate::{
    db::{Db, Ran},
    telemetry::{self, Ended, KeyValue, OperationSeries, Parent, Span, SpanKind, Telemetry, began},
};

/// A check that took longer than this has a span of its own.
const MIN_CHECK: Duration = Duration::from_millis(1);
/// The greatest number of statements in the report of a slow operation, and of characters of each.
const MAX_REPORTED: usize = 10;

/// Notes an answer in the metrics.
pub fn note(telemetry: &Telemetry, series: Option<&OperationSeries>, answer: &Answer) {
    let (Some(metrics), Some(series)) = (telemetry.metrics(), series) else { return };
    let outcome = match &answer.outcome {
        Outcome::Executed(_) if answer.errors.is_empty() => telemetry::Outcome::Ok,
        Outcome::Executed(_) => telemetry::Outcome::Partial,
        _ => telemetry::Outcome::Refused,
    };
    series.note(outcome, answer.timing.check + answer.timing.execution);
    if let (Outcome::Executed(_), Some(operation)) = (&answer.outcome, &answer.operation) {
        metrics.note_taken(type_name(operation.ty), answer.taken, answer.usage.statements);
    }
    answer.errors.iter().filter_map(code).for_each(|code| metrics.note_error(code));
}

/// Begins the span of a request that is about to be executed, if it is recorded.
pub fn begin_span(telemetry: &Telemetry, request: &CheckedRequest) -> Option<Span> {
    let tracer = telemetry.tracer()?;
    let (kind, parent) = match Span::current() {
        Some(span) if !span.is_recorded() => return None,
        Some(_) => (SpanKind::Internal, Parent::Current),
        None if request.begins_trace => (SpanKind::Server, Parent::None(None)),
        None => return None,
    };
    let CheckedRequest { requested, start, check, document, .. } = request;
    let span = tracer.begin(|| span_name(telemetry, requested).into(), kind, parent, Some(*start));
    if span.is_recorded() {
        span.set_all(attributes(requested));
        if telemetry.settings().trace_documents {
            span.set("graphql.document", without_literals(&document.valid));
        }
        if *check >= MIN_CHECK {
            tracer.record(&span, Ended::new("check", SpanKind::Internal, began(*start)));
        }
    }
    Some(span)
}

/// Ends the span of a request with its answer.
pub fn end_span(answer: &Answer) {
    let Some(span) = &answer.span else { return };
    span.set("hero_teams.rows", count(answer.taken.rows));
    span.set("hero_teams.rows.estimated", i64::try_from(answer.taken.rows_estimated).unwrap_or(i64::MAX));
    span.set("hero_teams.statements", i64::from(answer.usage.statements));
    if let Some(code) = answer.errors.iter().find_map(code) {
        span.fail(code);
    }
    span.end();
}

/// Records the span of a request that is not executed.
pub fn record_refused(telemetry: &Telemetry, answer: &Answer) {
    let (Some((tracer, parent)), Some(requested)) = (telemetry.recorded(), &answer.operation) else { return };
    let start = SystemTime::now() - answer.timing.check;
    tracer.record(
        &parent,
        Ended {
            attributes: attributes(requested),
            error: answer.errors.iter().find_map(code),
            ..Ended::new(span_name(telemetry, requested), SpanKind::Internal, start)
        },
    );
}

fn span_name(telemetry: &Telemetry, requested: &RequestedOperation) -> String {
    match &requested.name {
        Some(name) if telemetry.settings().trace_operation_names => {
            format!("{} {name}", type_name(requested.ty))
        }
        _ => type_name(requested.ty).to_owned(),
    }
}

/// Warns of an operation that was slow.
pub fn report_slow(requested: &RequestedOperation, time: Duration, answer: &Answer, db: &Db) {
    let telemetry = db.telemetry();
    if telemetry.slow().is_none_or(|slow| time < slow) {
        return;
    }
    let ran = db.ran();
    let check = answer.timing.check;
    tracing::warn!(
        operation = requested.name.as_deref(),
        ty = type_name(requested.ty),
        document = requested.document.short(),
        ms = milliseconds(time),
        check_ms = milliseconds(check),
        execute_ms = milliseconds(time.saturating_sub(check)),
        statement_ms = milliseconds(answer.usage.time),
        rows = answer.taken.rows,
        bytes = answer.taken.bytes,
        statements = ran.iter().take(MAX_REPORTED).map(reported).collect::<Vec<_>>().join("; "),
        "a slow operation"
    );
    let Some(slowest) = ran.into_iter().next() else { return };
    if telemetry.takes_plan() {
        let db = db.uncounted();
        tokio::spawn(async move { explain(&db, &slowest).await }.in_current_span());
    }
}

async fn explain(db: &Db, slowest: &Ran) {
    match db.explain(slowest).await {
        Ok(plan) => tracing::warn!(sql = &*slowest.sql, plan = plan.join("\n"), "the plan of a slow statement"),
        Err(error) => tracing::warn!(%error, sql = &*slowest.sql, "a slow statement cannot be explained"),
    }
}

/// A statement in the report of a slow operation: `2 x SELECT hero 31.07 ms 2 rows`.
fn reported(ran: &Ran) -> String {
    let Ran { number, time, rows, .. } = ran;
    format!("{number} x {} {} ms {rows} rows", ran.summary(), milliseconds(*time))
}

/// With two digits after the point.
#[must_use]
pub fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 100_000.0).round() / 100.0
}

/// The attributes of the span of an operation (semantic conventions of OpenTelemetry for GraphQL).
#[must_use]
pub fn attributes(requested: &RequestedOperation) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("graphql.operation.type", type_name(requested.ty)),
        KeyValue::new("graphql.document.id", requested.document.to_string()),
    ];
    attributes.extend(requested.name.as_ref().map(|name| KeyValue::new("graphql.operation.name", name.to_string())));
    attributes
}
