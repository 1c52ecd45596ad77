//! What a client has written, so that it can ask to read it.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// What tells the number of a cluster of PostgreSQL, and when its server was started.
pub const SYSTEM: &str = "(SELECT system_identifier FROM pg_control_system())::text";
pub const STARTED: &str = "(EXTRACT(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint::text";

/// A transaction that was committed: what a client sends to read what it has written.
///
/// As text it is `system_identifier:started:xid8` in base64url, without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The number of the cluster.
    pub system: u64,
    /// When the server was started that has committed it, in microseconds since 1970. After a failover other
    /// transactions may have the same numbers.
    pub started: u64,
    /// The number of the transaction.
    pub xid: u64,
}

impl Written {
    /// The number of a transaction whose commit was not answered. Only the primary is sure to have it.
    pub const UNKNOWN: u64 = u64::MAX;

    /// Whether it is not known which transaction it is.
    #[must_use]
    pub fn is_unknown(self) -> bool {
        self.xid == Self::UNKNOWN
    }
}

impl fmt::Display for Written {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { system, started, xid } = self;
        formatter.write_str(&URL_SAFE_NO_PAD.encode(format!("{system}:{started}:{xid}")))
    }
}

impl FromStr for Written {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let decoded = URL_SAFE_NO_PAD.decode(text).map_err(drop)?;
        let mut numbers = str::from_utf8(&decoded).map_err(drop)?.split(':');
        let mut number = || numbers.next().ok_or(())?.parse().map_err(drop);
        let written = Self { system: number()?, started: number()?, xid: number()? };
        numbers.next().is_none().then_some(written).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::Written;

    #[test]
    fn texts() {
        let written = Written { system: 7_300_000_000_000_000_001, started: 1_764_324_000_000_000, xid: 12_345 };
        let text = "NzMwMDAwMDAwMDAwMDAwMDAwMToxNzY0MzI0MDAwMDAwMDAwOjEyMzQ1";
        assert_eq!((written.to_string(), text.parse()), (text.to_owned(), Ok(written)));
        for text in [
            "",
            "x",
            "NzMw",
            "NzMwMDAwMDAwMDAwMDAwMDAwMToxNzY0MzI0MDAwMDAwMDAwOjEyMzQ1==",
            "NzMwMDAwMDAwMDAwMDAwMDAwMToxMjM0NQ",
            "MToyOiAz",
            "LTE6MTox",
            "MTo6",
            "OjE6MQ",
            "MToxOjE6MQ",
            "MToxOjE6",
        ] {
            assert_eq!(text.parse::<Written>(), Err(()), "{text}");
        }
    }
}
