//! One line in the log for each request.

use std::{net::IpAddr, time::Duration};

use axum::http::{Method, Request, StatusCode};

use super::health::is_probe;
use crate::{
    access::Principal,
    graphql::{Code, RequestedOperation, milliseconds},
    telemetry::Span,
};

/// The greatest number of characters of a path that are logged.
const MAX_PATH: usize = 200;

/// What the endpoint tells about a request, in an extension of its response.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// The operation that was asked for.
    pub operation: Option<RequestedOperation>,
    /// Rows and bytes of the answer.
    pub rows: usize,
    pub bytes: usize,
    /// Statements that the request cost.
    pub statements: u32,
    /// The time that they took, together.
    pub statement_time: Duration,
    /// The number of the replica that has answered; none where the primary has.
    pub replica: Option<u32>,
    /// The codes of the errors in the answer.
    pub error_codes: Vec<String>,
    /// The span of an operation that came over a WebSocket. A request has one around its line.
    pub span: Option<Span>,
    /// Who asked, if that is asked.
    pub principal: Option<Principal>,
    /// Why the credential was refused, if it was.
    pub refused: Option<&'static str>,
}

impl Measured {
    /// A request whose credential was refused.
    #[must_use]
    pub fn refused(code: Code, reason: &'static str) -> Self {
        Self { error_codes: vec![code.as_str().to_owned()], refused: Some(reason), ..Self::default() }
    }
}

/// What a request asked for, as far as it is logged.
#[derive(Debug)]
pub struct Asked {
    method: Method,
    path: String,
    /// The address of the client.
    client: Option<IpAddr>,
}

impl Asked {
    /// What is to be logged of a request, if it will be.
    #[must_use]
    pub fn new<B>(request: &Request<B>, client: Option<IpAddr>) -> Option<Self> {
        let path = request.uri().path();
        let is_logged = if is_probe(path) {
            tracing::enabled!(tracing::Level::DEBUG)
        } else {
            tracing::enabled!(tracing::Level::INFO)
        };
        let path = &path[..path.floor_char_boundary(MAX_PATH)];
        is_logged.then(|| Self { method: request.method().clone(), path: path.to_owned(), client })
    }

    /// Writes the line.
    pub fn log(&self, status: StatusCode, time: Duration, measured: Option<&Measured>) {
        // Probes come every few seconds and say nothing new.
        if is_probe(&self.path) {
            let (status, ms) = (status.as_u16(), milliseconds(time));
            tracing::debug!(method = %self.method, path = self.path, status, ms, "answered");
            return;
        }
        line(Some((self, status)), time, measured);
    }
}

/// Writes the line of a query or a mutation that came over a WebSocket.
pub fn log_operation(measured: &Measured, time: Duration) {
    line(None, time, Some(measured));
}

/// Writes the line of a request with its status, or of an operation of a WebSocket.
fn line(request: Option<(&Asked, StatusCode)>, time: Duration, measured: Option<&Measured>) {
    let codes = measured.map(|measured| measured.error_codes.join(",")).filter(|codes| !codes.is_empty());
    let principal = measured.and_then(|measured| measured.principal.as_ref());
    let asked = request.map(|(asked, _)| asked);
    let operation = measured.and_then(|measured| measured.operation.as_ref());
    let trace = measured.filter(|_| request.is_none()).and_then(|measured| measured.span.as_ref()?.ids());
    tracing::info!(
        protocol = request.is_none().then_some("graphql-transport-ws"),
        method = asked.map(|asked| tracing::field::display(&asked.method)),
        path = asked.map(|asked| asked.path.as_str()),
        client = asked.and_then(|asked| asked.client).map(tracing::field::display),
        status = request.map(|(_, status)| status.as_u16()),
        ms = milliseconds(time),
        operation = operation.and_then(|operation| operation.name.as_deref()),
        document = operation.map(|operation| operation.document.short()),
        rows = operation.and(measured).map(|measured| measured.rows),
        bytes = operation.and(measured).map(|measured| measured.bytes),
        statements = measured.map(|measured| measured.statements),
        statement_ms = measured.map(|measured| milliseconds(measured.statement_time)),
        replica = measured.and_then(|measured| measured.replica),
        errors = codes,
        trace_id = trace.map(|(trace, _)| tracing::field::display(trace)),
        principal = principal.and_then(|principal| principal.name.as_deref()),
        scopes = principal.map(|principal| tracing::field::display(principal.scopes)),
        credential_refused = measured.and_then(|measured| measured.refused),
        "answered"
    );
}
