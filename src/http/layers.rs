//! What all requests and answers have in common.

use std::{
    any::Any,
    convert::Infallible,
    future::ready,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{ACCEPT_ENCODING, CACHE_CONTROL, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
    },
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use futures_util::FutureExt as _;
use tower::{Layer as _, ServiceExt as _, service_fn, util::option_layer};
use tower_http::{
    CompressionLevel,
    catch_panic::CatchPanicLayer,
    compression::{
        CompressionLayer, Predicate,
        predicate::{NotForContentType, SizeAbove},
    },
};
use tracing::Instrument;

use super::{
    client::{Client, TrustedProxies},
    coding,
    cors::cors,
    credential::has_credential,
    headers::X_REQUEST_ID,
    health,
    host::Hosts,
    log::{Asked, Measured},
    observed::{Observed, begin_span},
    refusal::refusal,
};
use crate::{
    config::ServeSettings,
    graphql::Code,
    server::UnclearHost,
    telemetry::{Span, Telemetry},
};

/// The greatest number of characters of an id that a client gives its request.
const MAX_REQUEST_ID: usize = 128;
/// Bytes from which on an answer is worth compressing.
const MIN_COMPRESSED: u64 = 1024;

/// Headers of each answer that does not set them itself.
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    // It is about embedding. Sites that `--cors-origin` lists fetch, and are not asked for it.
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

/// Puts the layers around all routes that there are.
pub fn with_layers(router: Router, settings: &ServeSettings, telemetry: Telemetry) -> Router {
    router.layer((
        from_fn_with_state(Edge::new(settings, telemetry), edge),
        option_layer(cors(&settings.cors_origins)),
        CatchPanicLayer::custom(panicked),
    ))
}

/// What is known at the edge.
#[derive(Clone, Debug)]
struct Edge {
    hosts: Hosts,
    proxies: TrustedProxies,
    /// Whether a credential that everybody on its way could read has been warned of.
    has_warned: Arc<AtomicBool>,
    telemetry: Telemetry,
}

impl Edge {
    fn new(settings: &ServeSettings, telemetry: Telemetry) -> Self {
        let proxies = TrustedProxies::new(&settings.trusted_proxies);
        let hosts = Hosts::new(&settings.listen, &settings.allowed_hosts);
        Self { hosts, proxies, has_warned: Arc::default(), telemetry }
    }

    /// Warns, once, of a credential that comes over plain HTTP from another machine.
    fn warn_of_plain_http(&self, client: Client, headers: &HeaderMap) {
        if !client.is_private && has_credential(headers) && !self.has_warned.swap(true, Relaxed) {
            tracing::warn!(
                "a credential came over plain HTTP from another machine, where others can read it; put a proxy that \
                 speaks TLS before the server, and list it in --trusted-proxy"
            );
        }
    }
}

/// Gives each request an id, a span and a line in the log, and each answer its headers.
async fn edge(State(state): State<Edge>, mut request: Request, next: Next) -> Response {
    let start = Instant::now();
    let id = request_id(request.headers());
    let client = state.proxies.client(&request);
    let asked = Asked::new(&request, client.address);
    // An id is visible ASCII. The span exists whatever the level, so that an error names its request.
    let traced = begin_span(&state.telemetry, &request);
    let observed = Observed::new(&state.telemetry, &request, traced.as_ref());
    let ids = traced.as_ref().and_then(Span::ids);
    let span = tracing::error_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        trace_id = ids.map(|(trace, _)| tracing::field::display(trace)),
        span_id = ids.map(|(_, span)| tracing::field::display(span)),
    );
    let misdirected = misdirected(&state.hosts, &request);
    if let Some(metrics) = state.telemetry.metrics().filter(|_| misdirected.is_some()) {
        metrics.note_refused("host");
    }
    let refused = unclear(&request).or(misdirected).or_else(|| not_acceptable(&mut request));
    let answer = pin!(
        async {
            state.warn_of_plain_http(client, request.headers());
            let mut response = match refused {
                Some(refusal) => refusal,
                None => compressed(request, next).await,
            };
            if let Some(observed) = observed {
                observed.answered(response.status(), start.elapsed());
            }
            let measured = response.extensions_mut().remove::<Measured>();
            if let Some(asked) = asked {
                asked.log(response.status(), start.elapsed(), measured.as_ref());
            }
            let headers = response.headers_mut();
            for (name, value) in HEADERS {
                headers.entry(name).or_insert(value);
            }
            headers.insert(X_REQUEST_ID, id);
            response
        }
        .instrument(span)
    );
    match traced.filter(Span::is_recorded) {
        Some(traced) => traced.scope(answer).await,
        None => answer.await,
    }
}

/// The id that the client has given its request, or another.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let is_sane =
        |id: &&HeaderValue| (1..=MAX_REQUEST_ID).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic);
    match headers.get(X_REQUEST_ID).filter(is_sane) {
        Some(id) => id.clone(),
        None => new_request_id(),
    }
}

fn new_request_id() -> HeaderValue {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut random = fastrand::u64(..);
    let id: [u8; 12] = std::array::from_fn(|_| {
        let digit = DIGITS[(random % 32) as usize];
        random /= 32;
        digit
    });
    HeaderValue::from_bytes(&id).unwrap_or(HeaderValue::from_static("0"))
}

fn unclear(request: &Request) -> Option<Response> {
    let is_unclear = request.extensions().get::<UnclearHost>().is_some();
    let message = "a request must have one header Host, with a host and perhaps a port";
    is_unclear.then(|| refusal(StatusCode::BAD_REQUEST, Code::BadUserInput, message))
}

/// The answer to a request for a host that the server does not answer for.
pub fn misdirected(hosts: &Hosts, request: &Request) -> Option<Response> {
    // Those who look whether the server lives have names of their own for it, and are told nothing else.
    if health::is_probe(request.uri().path()) {
        return None;
    }
    let host = hosts.foreign(request)?;
    let message = format!(
        "this server does not answer for the host {host:?}; --allowed-host lets it answer for other names than \
         localhost"
    );
    Some(refusal(StatusCode::MISDIRECTED_REQUEST, Code::BadUserInput, &message))
}

fn not_acceptable(request: &mut Request) -> Option<Response> {
    let message = "answers come compressed with br or gzip, or not at all: Accept-Encoding must not exclude all three";
    let refused = || refusal(StatusCode::NOT_ACCEPTABLE, Code::BadUserInput, message);
    (!coding::choose(request.headers_mut())).then(refused)
}

/// Compresses answers, unless they are short or come piece by piece.
pub fn compression() -> CompressionLayer<impl Predicate> {
    // Answers are made for one client each, so they are compressed fast rather than well.
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(compressible())
}

/// Which answers are compressed.
fn compressible() -> impl Predicate {
    SizeAbove::new(MIN_COMPRESSED).and(NotForContentType::IMAGES).and(NotForContentType::SSE)
}

/// What the routes answer, in a coding that the client accepts.
///
/// The layer is not around all routes: it makes a body of six kilobytes also of an answer that it leaves as it is, and
/// that is copied several times.
async fn compressed(request: Request, next: Next) -> Response {
    let accepted = request.headers().get_all(ACCEPT_ENCODING).iter().cloned().collect::<Vec<_>>();
    let response = next.run(request).await;
    if !compressible().should_compress(&response) {
        return response;
    }
    let mut request = Request::new(response);
    request.headers_mut().extend(accepted.into_iter().map(|accepted| (ACCEPT_ENCODING, accepted)));
    let answer = service_fn(|request: Request<Response>| ready(Ok::<_, Infallible>(request.into_body())));
    let compressed = compression().layer(answer).oneshot(request);
    compressed.map(|Ok(response)| response.map(Body::new)).boxed().await
}

/// The panic itself is in the log already, by `log::init`.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    refusal(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, "the server failed to do this; its log has the reason")
}
