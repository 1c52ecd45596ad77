//! A request of HTTP, as those who watch have it (semantic conventions of OpenTelemetry for HTTP servers).

use std::time::Duration;

use axum::{
    extract::MatchedPath,
    http::{Method, Request, StatusCode, Version},
};

use crate::telemetry::{Counted, Parent, Span, SpanKind, Telemetry};

/// The greatest number of bytes of a path that are told.
const MAX_PATH: usize = 200;

/// A request that is worked on.
#[derive(Debug)]
pub struct Observed {
    telemetry: Telemetry,
    method: &'static str,
    route: Option<MatchedPath>,
    version: &'static str,
    /// Its span, if it is recorded.
    span: Option<Span>,
    _active: Option<Counted>,
}

/// Begins the span of a request that has come, if traces are asked for.
#[must_use]
pub fn begin_span<B>(telemetry: &Telemetry, request: &Request<B>) -> Option<Span> {
    let name = || {
        let method = method(request.method());
        let verb = if method == OTHER { "HTTP" } else { method };
        let route = request.extensions().get::<MatchedPath>();
        route.map_or(verb.into(), |route| format!("{verb} {}", route.as_str()).into())
    };
    Some(telemetry.tracer()?.begin(name, SpanKind::Server, Parent::Headers(request.headers()), None))
}

impl Observed {
    /// A request that has come, with its span; none when nobody watches it.
    #[must_use]
    pub fn new<B>(telemetry: &Telemetry, request: &Request<B>, span: Option<&Span>) -> Option<Self> {
        let span = span.filter(|span| span.is_recorded()).cloned();
        if telemetry.metrics().is_none() && span.is_none() {
            return None;
        }
        let method = method(request.method());
        let route = request.extensions().get::<MatchedPath>().cloned();
        let version = version(request.version());
        if let Some(span) = &span {
            span.set("http.request.method", method);
            if method == OTHER {
                span.set("http.request.method_original", shortened(request.method().as_str()));
            }
            if let Some(route) = &route {
                span.set("http.route", route.as_str().to_owned());
            }
            span.set("url.path", shortened(request.uri().path()));
            // TLS ends before this server.
            span.set("url.scheme", "http");
            span.set("network.protocol.version", version);
        }
        let active = telemetry.metrics().map(|metrics| metrics.active_request(method));
        Some(Self { telemetry: telemetry.clone(), method, route, version, span, _active: active })
    }

    /// Notes its answer.
    pub fn answered(self, status: StatusCode, time: Duration) {
        let Self { telemetry, method, route, version, span, .. } = self;
        if let Some(span) = span {
            span.set("http.response.status_code", i64::from(status.as_u16()));
            if status.is_server_error() {
                span.fail(status.as_str().to_owned());
            }
            span.end();
        }
        if let Some(metrics) = telemetry.metrics() {
            metrics.note_http_request(method, route.as_ref().map(MatchedPath::as_str), status, version, time);
        }
    }
}

/// The name of all methods that are not known.
const OTHER: &str = "_OTHER";

/// The name of a method.
fn method(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or(OTHER)
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_PATH)].to_owned()
}
