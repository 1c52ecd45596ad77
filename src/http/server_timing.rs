//! How long the parts of a request took, for administrators and for whoever is on this machine (`Server-Timing`).

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header::FORWARDED};

use crate::{access::Principal, graphql::Answer, schema::Scope, server::Peer};

/// Whether the client wants to know the times.
const WANTED: HeaderName = HeaderName::from_static("x-hero-teams-timing");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The header with the times.
pub const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Whether a client asks for the times of its request, and may know them.
#[must_use]
pub fn is_wanted(headers: &HeaderMap, peer: Option<&Peer>, principal: &Principal) -> bool {
    let is_asked = headers.get(WANTED).is_some_and(|value| value == "1");
    // What comes through a proxy on this machine comes from somewhere else.
    let is_here = || {
        let is_proxied = headers.contains_key(FORWARDED) || headers.contains_key(X_FORWARDED_FOR);
        !is_proxied && peer.is_none_or(|Peer(address)| address.to_canonical().is_loopback())
    };
    is_asked && (principal.scopes.allow(Scope::Admin) || is_here())
}

/// The times of answers, together, in milliseconds: `parse`, which is all that comes before the execution, `execute`,
/// and the statements in it, `db`.
#[must_use]
pub fn server_timing(answers: &[Answer]) -> Option<HeaderValue> {
    let sum = |time: fn(&Answer) -> Duration| answers.iter().map(time).sum::<Duration>().as_secs_f64() * 1_000.0;
    let parse = sum(|answer| answer.timing.check);
    let execute = sum(|answer| answer.timing.execution);
    let db = sum(|answer| answer.usage.time);
    HeaderValue::try_from(format!("parse;dur={parse:.3}, execute;dur={execute:.3}, db;dur={db:.3}")).ok()
}
