//! What a client has written, so that it can ask to read it.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// A transaction that was committed: what a client sends to read what it has written.
///
/// As text it is `system_identifier:xid8` in base64url, without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The number of the cluster.
    pub system: u64,
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
        formatter.write_str(&URL_SAFE_NO_PAD.encode(format!("{}:{}", self.system, self.xid)))
    }
}

impl FromStr for Written {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let decoded = URL_SAFE_NO_PAD.decode(text).map_err(drop)?;
        let (system, xid) = str::from_utf8(&decoded).map_err(drop)?.split_once(':').ok_or(())?;
        Ok(Self { system: system.parse().map_err(drop)?, xid: xid.parse().map_err(drop)? })
    }
}

#[cfg(test)]
mod tests {
    use super::Written;

    #[test]
    fn texts() {
        let written = Written { system: 7_300_000_000_000_000_001, xid: 12_345 };
        assert_eq!(written.to_string(), "NzMwMDAwMDAwMDAwMDAwMDAwMToxMjM0NQ");
        assert_eq!(written.to_string().parse(), Ok(written));
        for text in ["", "x", "NzMw", "NzMwMDAwMDAwMDAwMDAwMDAwMToxMjM0NQ==", "MTox MjM", "LTE6MQ", "MTo", "OjE"] {
            assert_eq!(text.parse::<Written>(), Err(()), "{text}");
        }
    }
}
