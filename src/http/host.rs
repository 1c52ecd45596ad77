//! Which names the server answers for.
//!
//! A page on the web can let its own name mean 127.0.0.1, and its browser then lets it speak to this server as to its own. It
//! cannot change the name, which comes in each request. A server without authentication on a port that browsers can reach
//! therefore answers for names that no page on the web has, and for those that it was told.

use std::{borrow::Cow, net::IpAddr, str::FromStr, sync::Arc};

use axum::http::{HeaderValue, Request, Version, header::HOST, uri::Authority};
use url::{Host, Url};

use crate::config::ServeSettings;

/// A name of the setting `--allowed-host`, as browsers send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

impl FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(address.to_string()));
        }
        if text.contains('*') {
            return Err("a wildcard is not supported: list each name, such as heroes.example.com".to_owned());
        }
        let host = Host::parse(text.strip_suffix('.').unwrap_or(text)).map(|host| host.to_string());
        if let Some(name) = host.ok().filter(|name| is_name(name)) {
            return Ok(Self(name));
        }
        // What was meant may be in it.
        let url = if text.contains("://") { Cow::Borrowed(text) } else { Cow::Owned(format!("http://{text}")) };
        let meant =
            Url::parse(&url).ok().and_then(|url| url.host_str().map(str::to_owned)).filter(|name| is_name(name));
        let meant = meant.as_deref().unwrap_or("heroes.example.com");
        Err(format!("a name is expected, without scheme, user, port and path, such as {meant}"))
    }
}

/// Whether it is an address, or a name that there may be in the domain name system.
fn is_name(name: &str) -> bool {
    name.starts_with('[') || name.len() <= 253 && name.split('.').all(|label| (1..=63).contains(&label.len()))
}

/// The names that a request may be for.
#[derive(Clone, Debug)]
pub struct Hosts {
    is_checked: bool,
    listed: Arc<[HostName]>,
}

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

impl Hosts {
    /// Those that the settings allow: any, where the server does not listen on loopback and none are listed.
    #[must_use]
    pub fn new(settings: &ServeSettings) -> Self {
        let is_checked = settings.listen.is_loopback() || !settings.allowed_hosts.is_empty();
        Self { is_checked, listed: settings.allowed_hosts.clone().into() }
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
        is_local(name) || self.listed.iter().any(|listed| listed.0.eq_ignore_ascii_case(name))
    }
}

/// A host with its port, if there is one.
fn authority(host: &HeaderValue) -> Option<Authority> {
    let authority = Authority::try_from(host.as_bytes()).ok()?;
    // A user is part of an authority, and of no header.
    (!authority.as_str().contains('@')).then_some(authority)
}

/// An address, a name of `localhost`, or one without a dot, which only a local network knows.
fn is_local(name: &str) -> bool {
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let top = name.rsplit_once('.').map(|(_, top)| top);
    top.is_none_or(|top| top.eq_ignore_ascii_case("localhost")) || address.parse::<IpAddr>().is_ok()
}
