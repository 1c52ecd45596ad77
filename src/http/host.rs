//! Which names the server answers for.
//!
//! A page on the web can let its own name mean 127.0.0.1, and its browser then lets it speak to this server as to its own. It
//! cannot change the name, which comes in each request. A server without authentication on a port that browsers can reach
//! therefore answers for names that no page on the web has, and for those that it was told.

use std::{net::IpAddr, sync::Arc};

use axum::http::{Request, Version, header::HOST, uri::Authority};

use crate::config::ServeSettings;

/// The names that a request may be for.
#[derive(Clone, Debug)]
pub struct Hosts {
    is_checked: bool,
    listed: Arc<[String]>,
}

/// Marks a request over HTTP/1.1 that does not have one header `Host`, which it must (RFC 9112, 3.2). hyper lets it pass.
#[derive(Clone, Copy, Debug)]
pub struct UnclearHost;

impl UnclearHost {
    /// Marks a request as it comes from a connection.
    pub fn mark<B>(request: &mut Request<B>) {
        if request.version() == Version::HTTP_11 && request.headers().get_all(HOST).iter().count() != 1 {
            request.extensions_mut().insert(Self);
        }
    }
}

impl Hosts {
    /// Those that the settings allow: any, where the server does not listen on loopback and none are listed.
    #[must_use]
    pub fn new(settings: &ServeSettings) -> Self {
        let is_checked = settings.listen.is_loopback() || !settings.allowed_hosts.is_empty();
        Self { is_checked, listed: settings.allowed_hosts.clone().into() }
    }

    /// The first host of a request that the server does not answer for. A request need not have one: browsers name it.
    #[must_use]
    pub fn foreign<'a, B>(&self, request: &'a Request<B>) -> Option<&'a str> {
        if !self.is_checked {
            return None;
        }
        let in_headers = request.headers().get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default());
        let in_target = request.uri().authority().map(Authority::as_str);
        in_headers.chain(in_target).find(|host| !self.is_allowed(host))
    }

    fn is_allowed(&self, host: &str) -> bool {
        // With the port, if there is one, and never with a user.
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = authority.host();
        let name = name.strip_suffix('.').unwrap_or(name);
        is_local(name) || self.listed.iter().any(|listed| listed.eq_ignore_ascii_case(name))
    }
}

/// An address, a name of `localhost`, or one without a dot, which only a local network knows.
fn is_local(name: &str) -> bool {
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let top = name.rsplit_once('.').map(|(_, top)| top);
    top.is_none_or(|top| top.eq_ignore_ascii_case("localhost")) || address.parse::<IpAddr>().is_ok()
}
