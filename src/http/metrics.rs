//! The metrics, for Prometheus. They have a listener of their own, so nobody is asked who they are.

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::get,
};

use super::{
    host::Hosts,
    layers::{compression, misdirected},
    media_type::accept,
};
use crate::{access::Access, config::ListenAddress, db::Db, graphql::Schema, telemetry::exposition};

/// What metrics are about.
#[derive(Clone, Debug)]
pub struct Sources {
    pub db: Db,
    pub schema: Schema,
    pub access: Access,
}

/// `GET /metrics`, for a listener at this address.
pub fn router(observed: Sources, listen: &ListenAddress) -> Router {
    let hosts = Hosts::new(listen, &[]);
    Router::new()
        .route("/metrics", get(metrics))
        .with_state(observed)
        .layer((from_fn_with_state(hosts, check_host), compression()))
}

/// Pages on the web must not read them by a name of their own.
async fn check_host(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    match misdirected(&hosts, &request) {
        Some(refusal) => refusal,
        None => next.run(request).await,
    }
}

async fn metrics(State(Sources { db, schema, access }): State<Sources>, headers: HeaderMap) -> Response {
    db.tell_state();
    schema.tell_state();
    access.tell_state();
    match db.telemetry().metrics().map(|metrics| exposition(metrics, prefers_open_metrics(&headers))) {
        Some(Ok((content_type, text))) => ([(CONTENT_TYPE, content_type)], text).into_response(),
        Some(Err(_)) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Whether a client names `OpenMetrics`, and likes plain text no better.
fn prefers_open_metrics(headers: &HeaderMap) -> bool {
    let accepted: Vec<_> = accept(headers).collect();
    let quality = |name: &str| {
        let named = accepted.iter().filter(|accepted| accepted.name.eq_ignore_ascii_case(name));
        named.map(|accepted| accepted.quality).max()
    };
    let open_metrics = quality("application/openmetrics-text").unwrap_or(0);
    // The range counts that says most exactly what is meant (RFC 9110, 12.5.1).
    let plain = ["text/plain", "text/*", "*/*"].into_iter().find_map(quality).unwrap_or(0);
    open_metrics > 0 && open_metrics >= plain
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header::ACCEPT};

    use super::prefers_open_metrics;

    #[test]
    fn what_a_client_likes() {
        for (accept, expected) in [
            // Prometheus 2 and 3.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
              text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                true,
            ),
            ("text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.4", false),
            ("Application/OpenMetrics-Text", true),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text;q=0.5, */*;q=0.9", false),
            ("application/openmetrics-text;q=0.5, text/plain;q=0, */*;q=0.9", true),
            ("*/*", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(prefers_open_metrics(&headers), expected, "{accept}");
        }
    }
}
