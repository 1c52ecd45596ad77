//! The host names that the server answers for, besides localhost (`--allowed-host`).

use std::{borrow::Cow, net::IpAddr, str::FromStr};

use url::{Host, Url};

/// A name of the setting `--allowed-host`, as browsers send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

impl HostName {
    /// The name, in small letters, without a dot at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

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
        let host = Host::parse(text.strip_suffix('.').unwrap_or(text)).ok();
        if let Some(Host::Ipv4(address)) = host {
            // Nobody sends an address as 127.1 or as a number.
            return Err(format!("an address is expected as browsers send it: {address}"));
        }
        if let Some(name) = host.map(|host| host.to_string()).filter(|name| is_name(name)) {
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

/// Whether it is an address, or a name that may exist in the domain name system.
fn is_name(name: &str) -> bool {
    // Letters, digits and hyphens (RFC 952). Containers have names with underscores as well.
    let is_label = |label: &str| {
        let is_possible = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len())
            && label.bytes().all(is_possible)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.starts_with('[') || name.len() <= 253 && name.split('.').all(is_label)
}
