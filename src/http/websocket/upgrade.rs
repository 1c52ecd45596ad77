//! How a WebSocket begins.

use std::sync::Arc;

use async_graphql_axum::GraphQLProtocol;
use axum::{
    extract::{FromRequestParts as _, Request, State, WebSocketUpgrade},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{HOST, ORIGIN, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE},
        request::Parts,
        uri::Authority,
    },
    response::Response,
};

use super::socket::Socket;
use crate::{
    graphql::Code,
    http::{
        credential::{authenticate, credential},
        endpoint::Endpoint,
        refusal::refusal,
        session::OwnedCredential,
    },
    server::Connection,
};

/// The only subprotocol that is spoken.
const SUBPROTOCOL: &str = "graphql-transport-ws";
/// Bytes that are read at once. A socket that waits keeps them.
const READ_BUFFER: usize = 2 * 1024;

/// Whether a request asks to go on as a WebSocket.
#[must_use]
pub fn is_wanted(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(UPGRADE).iter().filter_map(|value| value.to_str().ok());
    values.any(|value| value.split(',').any(|name| name.trim().eq_ignore_ascii_case("websocket")))
}

/// Begins a WebSocket: `GET` with `Upgrade` on HTTP/1.1, `CONNECT` on HTTP/2 (RFC 8441).
///
/// # Errors
///
/// The answer to a request that is no WebSocket's, comes from a page of a foreign site, or has a credential that is not
/// accepted.
pub async fn open(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Result<Response, Response> {
    let (mut parts, _) = request.into_parts();
    if is_foreign(&parts.headers, parts.uri.authority().map(Authority::as_str), &endpoint) {
        let message = "pages of this origin may not use the API; --cors-origin lists those that may";
        return Err(refusal(StatusCode::FORBIDDEN, Code::Forbidden, message));
    }
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await.map_err(|rejection| {
        let message = format!("this is no WebSocket: {}", rejection.body_text());
        let mut refusal = refusal(rejection.status(), Code::BadUserInput, &message);
        // The version that would be accepted (RFC 6455, 4.2.2).
        refusal.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        refusal
    })?;
    let credential = credential(&endpoint.access, &parts.headers)?;
    let principal = authenticate(&endpoint.access, credential, endpoint.request_timeout).await?;
    let credential = credential.map(OwnedCredential::from);
    let protocol = subprotocol(&mut parts).await;
    let client = endpoint.client_name(&parts.headers);
    let bytes = endpoint.body.bytes;
    let mut upgrade = upgrade
        .protocols([SUBPROTOCOL])
        .max_message_size(bytes)
        .max_frame_size(bytes)
        .read_buffer_size(READ_BUFFER)
        // Each message is sent as a whole.
        .write_buffer_size(0);
    let offered = upgrade.requested_protocols().next().cloned();
    if let (None, Some(offered)) = (protocol, offered) {
        // Without one that it has offered, a client would close before it is told why.
        upgrade.set_selected_protocol(offered);
    }
    let permit = Arc::clone(&endpoint.sockets).try_acquire_owned().ok();
    let open = endpoint.lifetime.socket(parts.extensions.get::<Connection>());
    let measured = endpoint.measured(&[], &principal);
    let mut response = upgrade.on_upgrade(async move |frames| {
        Socket::new(frames, endpoint, client, permit, open).run(protocol, credential, principal).await;
    });
    response.extensions_mut().insert(measured);
    Ok(response)
}

/// Whether a request comes from a page of another site that may not use the API. Browsers do not ask first whether a
/// page may open a WebSocket.
fn is_foreign(headers: &HeaderMap, authority: Option<&str>, endpoint: &Endpoint) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let host = authority.or_else(|| headers.get(HOST)?.to_str().ok());
    let of_origin = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    let is_own = host.is_some() && host == of_origin;
    !is_own && !endpoint.origins.iter().any(|listed| listed.header() == origin)
}

/// The subprotocol that is spoken, as the library has it. None when the client does not offer it.
async fn subprotocol(parts: &mut Parts) -> Option<GraphQLProtocol> {
    let offered = parts.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let is_offered = offered.flat_map(|value| value.split(',')).any(|name| name.trim() == SUBPROTOCOL);
    if !is_offered {
        return None;
    }
    // The library would take another one that it knows.
    parts.headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    GraphQLProtocol::from_request_parts(parts, &()).await.ok()
}
