//! Which sites' pages may use the API.

use std::{str::FromStr, time::Duration};

use axum::http::{HeaderName, HeaderValue, Method, header::RETRY_AFTER};
use tower_http::cors::{AllowHeaders, CorsLayer};
use url::Url;

use super::layers::X_REQUEST_ID;

/// How long a browser may remember what it was told about another site's requests.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_hours(1);
/// The headers of an answer that a page may read, besides those that it always may.
const EXPOSED: [HeaderName; 2] = [X_REQUEST_ID, RETRY_AFTER];

/// A site of the setting `--cors-origin`, as browsers send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        // All of them, `*`, would let every page on the web use an API that asks nobody who they are.
        if text.contains('*') {
            return Err("a wildcard is not supported: list each origin, such as https://example.org".to_owned());
        }
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(url) = url else {
            return Err("an origin is expected, such as https://example.org or http://localhost:3000".to_owned());
        };
        let origin = url.origin().ascii_serialization();
        let is_origin = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        match HeaderValue::from_str(&origin) {
            Ok(header) if is_origin => Ok(Self(header)),
            _ => Err(format!("an origin is expected, with nothing but scheme, host and port, such as {origin}")),
        }
    }
}

/// Lets pages of these sites send what they want and read the answers; none, where there are none.
pub fn cors(origins: &[Origin]) -> Option<CorsLayer> {
    let layer = || {
        CorsLayer::new()
            .allow_origin(origins.iter().map(|origin| origin.0.clone()).collect::<Vec<_>>())
            .allow_methods([Method::GET, Method::POST])
            // Each client and each library of traces has headers of its own, and none of them lets a page do more.
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(EXPOSED)
            .max_age(PREFLIGHT_MAX_AGE)
    };
    (!origins.is_empty()).then(layer)
}
