//! Requests whose header `Host` is missing, given twice, or not a host. They are answered with 400.

use axum::http::{HeaderValue, Request, Version, header::HOST, uri::Authority};

/// Marks a request over HTTP/1.1 that does not have one header `Host`, with a host or empty, which it must (RFC 9112,
/// 3.2). hyper lets it pass.
#[derive(Clone, Copy, Debug)]
pub struct UnclearHost;

impl UnclearHost {
    /// Marks a request as it comes from a connection.
    pub fn mark<B>(request: &mut Request<B>) {
        let mut hosts = request.headers().get_all(HOST).iter();
        let is_clear = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.is_empty() || authority(host).is_some(),
            (None, None) => request.version() != Version::HTTP_11,
            _ => false,
        };
        if !is_clear {
            request.extensions_mut().insert(Self);
        }
    }
}

/// A host with its port, if there is one.
#[must_use]
pub fn authority(host: &HeaderValue) -> Option<Authority> {
    let authority = Authority::try_from(host.as_bytes()).ok()?;
    // A user is part of an authority, and of no header.
    (!authority.as_str().contains('@')).then_some(authority)
}
