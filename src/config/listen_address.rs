//! The address that the server listens on: an IP address with a port, or a socket file.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

/// The setting `--listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `127.0.0.1:8000`
    Tcp(SocketAddr),
    /// `unix:/run/hero-teams.sock`
    Unix(PathBuf),
}

impl ListenAddress {
    /// Whether only programs on this machine can reach the address.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.is_loopback() || matches!(self, Self::Unix(_))
    }

    /// Whether it is a port that a browser on this machine can reach, and with it every page that the browser shows.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        matches!(self, Self::Tcp(address) if address.ip().to_canonical().is_loopback())
    }
}

impl FromStr for ListenAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some("") => Err("a path is expected after unix:"),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp).map_err(|_| "ADDRESS:PORT or unix:PATH is expected"),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
