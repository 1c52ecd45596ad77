//! A request of HTTP, as metrics have it (semantic conventions of OpenTelemetry for HTTP servers).

use std::time::Duration;

use axum::{
    extract::MatchedPath,
    http::{Method, Request, StatusCode, Version},
};

use crate::telemetry::{Counted, HttpRequest, Metrics};

/// A request that is worked on.
#[derive(Debug)]
pub struct Observed<'a> {
    metrics: &'a Metrics,
    method: &'static str,
    route: Option<String>,
    version: &'static str,
    _active: Counted,
}

impl<'a> Observed<'a> {
    /// A request that has come.
    #[must_use]
    pub fn new<B>(metrics: &'a Metrics, request: &Request<B>) -> Self {
        let method = method(request.method());
        let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
        Self { metrics, method, route, version: version(request.version()), _active: metrics.active_request(method) }
    }

    /// Notes its answer.
    pub fn answered(self, status: StatusCode, time: Duration) {
        let Self { metrics, method, route, version, .. } = self;
        let request = HttpRequest {
            http_request_method: method,
            http_route: route,
            http_response_status_code: status.as_u16(),
            network_protocol_version: version,
            error_type: status.is_server_error().then(|| status.as_u16()),
        };
        metrics.note_http_request(&request, time);
    }
}

/// The name of a method. Those that are not known have one name.
fn method(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}
