//! Which client a request comes from, when it may come through proxies.

use std::{net::IpAddr, sync::Arc};

use axum::http::{HeaderMap, HeaderName, Request, header::FORWARDED};
use ipnet::IpNet;

use crate::server::Peer;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies whose headers count.
#[derive(Clone, Debug)]
pub struct TrustedProxies(Arc<[IpNet]>);

/// The client of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its address. None on a Unix socket, and when a trusted proxy does not tell it.
    pub address: Option<IpAddr>,
    /// Whether it comes from this machine or through a trusted proxy.
    pub is_private: bool,
}

impl TrustedProxies {
    /// Those in these networks.
    #[must_use]
    pub fn new(networks: &[IpNet]) -> Self {
        Self(networks.into())
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client of a request: the last address that is not of a trusted proxy. What it says itself of earlier ones
    /// does not count.
    #[must_use]
    pub fn client<B>(&self, request: &Request<B>) -> Client {
        let Some(Peer(peer)) = request.extensions().get() else { return Client { address: None, is_private: true } };
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return Client { address: Some(peer), is_private: peer.is_loopback() };
        }
        let mut address = Some(peer);
        for hop in addresses(request.headers()).into_iter().rev() {
            address = hop;
            if !hop.is_some_and(|address| self.trusts(address)) {
                break;
            }
        }
        Client { address, is_private: true }
    }
}

/// The addresses in `Forwarded` (RFC 7239), or without it in `X-Forwarded-For`, from the first to the last. None for
/// one that a proxy does not tell.
fn addresses(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    if !headers.contains_key(FORWARDED) {
        return list(headers, &X_FORWARDED_FOR).map(address).collect();
    }
    let address_of = |element: &str| {
        let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
        let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
        address(node.trim().trim_matches('"'))
    };
    list(headers, &FORWARDED).map(address_of).collect()
}

/// The entries of a header that is a list.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// An address, perhaps with a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`.
fn address(node: &str) -> Option<IpAddr> {
    let in_brackets = node.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(address, _)| address);
    let before_port = || node.rsplit_once(':').map_or(node, |(address, _)| address);
    let address = in_brackets.map_or_else(|| node.parse().or_else(|_| before_port().parse()), str::parse::<IpAddr>);
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::{Client, Peer, TrustedProxies};

    fn client(peer: &str, headers: &[(&str, &str)]) -> (Option<String>, bool) {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().expect("a network"));
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).expect("a request");
        request.extensions_mut().insert(Peer(peer.parse().expect("an address")));
        let Client { address, is_private } = TrustedProxies::new(&trusted).client(&request);
        (address.map(|address| address.to_string()), is_private)
    }

    #[test]
    fn the_last_address_that_is_not_of_a_trusted_proxy_is_the_client() {
        let is = |address: &str, is_private| (Some(address.to_owned()), is_private);
        let spoofed = [("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=1.1.1.1")];
        assert_eq!(client("203.0.113.7", &spoofed), is("203.0.113.7", false));
        assert_eq!(client("127.0.0.1", &spoofed), is("127.0.0.1", true));
        assert_eq!(client("10.0.0.1", &[]), is("10.0.0.1", true));
        let chain = "1.1.1.1, 203.0.113.7, 10.2.2.2";
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", chain)]), is("203.0.113.7", true));
        let two = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "203.0.113.7:4711")];
        assert_eq!(client("::ffff:10.0.0.1", &two), is("203.0.113.7", true));
        let forwarded = "for=1.1.1.1, proto=https; For=\"[2001:db8::1]:4711\" ;by=10.0.0.1";
        assert_eq!(client("fd00::1", &[("forwarded", forwarded)]), is("2001:db8::1", true));
        assert_eq!(client("10.0.0.1", &[("forwarded", "for=_hidden;proto=https")]), (None, true));
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", "10.3.3.3")]), is("10.3.3.3", true));
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", "nonsense")]), (None, true));
    }
}
