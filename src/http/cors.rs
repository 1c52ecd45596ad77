//! Which sites' pages may use the API.

use std::time::Duration;

use axum::http::{
    HeaderName, Method,
    header::{RETRY_AFTER, WWW_AUTHENTICATE},
};
use tower_http::cors::{AllowHeaders, CorsLayer};

use super::headers::{WRITTEN, X_REQUEST_ID};
use crate::config::Origin;

/// How long a browser may remember what it was told about another site's requests.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_hours(1);
/// The headers of an answer that a page may read, besides those that it always may.
const EXPOSED: [HeaderName; 4] = [X_REQUEST_ID, RETRY_AFTER, WWW_AUTHENTICATE, WRITTEN];

/// Lets pages of these sites send what they want and read the answers. None if no site is listed.
pub fn cors(origins: &[Origin]) -> Option<CorsLayer> {
    let layer = || {
        CorsLayer::new()
            .allow_origin(origins.iter().map(|origin| origin.header().clone()).collect::<Vec<_>>())
            .allow_methods([Method::GET, Method::POST])
            // Each client and each library of traces has headers of its own, and none of them lets a page do more.
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(EXPOSED)
            .max_age(PREFLIGHT_MAX_AGE)
    };
    (!origins.is_empty()).then(layer)
}
