//! Which names the server answers for.
//!
//! A page on the web can let its own name mean 127.0.0.1, and its browser then lets it speak to this server as to its
//! own. It cannot change the name, which comes in each request. A server without authentication on a port that browsers
//! can reach therefore answers for names that no page on the web has, and for those that it was told.

use std::{net::IpAddr, sync::Arc};

use axum::http::{Request, header::HOST, uri::Authority};

use crate::{
    config::{HostName, ListenAddress},
    server::authority,
};

/// The names that a request may be for.
#[derive(Clone, Debug)]
pub struct Hosts {
    is_checked: bool,
    listed: Arc<[HostName]>,
}

impl Hosts {
    /// Those that the settings allow: any, where the server does not listen on loopback and none are listed.
    #[must_use]
    pub fn new(listen: &ListenAddress, allowed: &[HostName]) -> Self {
        Self { is_checked: listen.is_loopback() || !allowed.is_empty(), listed: allowed.into() }
    }

    /// The first host of a request that the server does not answer for. A request need not have one, and it may be
    /// empty: browsers name it.
    #[must_use]
    pub fn foreign<B>(&self, request: &Request<B>) -> Option<String> {
        if !self.is_checked {
            return None;
        }
        let in_headers = request.headers().get_all(HOST).iter().filter(|host| !host.is_empty());
        let mut in_headers = in_headers.map(|host| (host.as_bytes(), authority(host)));
        let foreign = in_headers.find(|(_, host)| host.as_ref().is_none_or(|host| !self.is_allowed(host)));
        if let Some((host, _)) = foreign {
            return Some(String::from_utf8_lossy(host).into_owned());
        }
        request.uri().authority().filter(|host| !self.is_allowed(host)).map(ToString::to_string)
    }

    fn is_allowed(&self, host: &Authority) -> bool {
        let name = host.host();
        let name = name.strip_suffix('.').unwrap_or(name);
        is_local(name) || self.listed.iter().any(|listed| listed.as_str().eq_ignore_ascii_case(name))
    }
}

/// An address, a name of `localhost`, or one without a dot, which only a local network knows.
fn is_local(name: &str) -> bool {
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let top = name.rsplit_once('.').map(|(_, top)| top);
    top.is_none_or(|top| top.eq_ignore_ascii_case("localhost")) || address.parse::<IpAddr>().is_ok()
}
