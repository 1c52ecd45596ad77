//! The headers of this server, and those that browsers and clients send besides the registered ones.

use axum::http::HeaderName;

/// The id of a request, in its answer and in the log.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The headers with which a client reads what it has written: the answer to a mutation names the transaction in the
/// first one, and the client sends that back in the second one with its next queries. They are answered by a replica
/// that has the transaction, or by the primary ([`Written`](crate::db::Written)).
pub const WRITTEN: HeaderName = HeaderName::from_static("x-hero-teams-written");
pub const AFTER: HeaderName = HeaderName::from_static("x-hero-teams-after");
