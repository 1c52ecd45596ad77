//! The origins whose pages may use the API (`--cors-origin`).

use std::str::FromStr;

use hyper::header::HeaderValue;
use url::Url;

/// A site of the setting `--cors-origin`, as browsers send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

impl Origin {
    /// The value of the header `Origin`.
    #[must_use]
    pub fn header(&self) -> &HeaderValue {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        // All of them, `*`, would let every page on the web use an API that asks nobody who they are.
        if text.contains('*') {
            return Err("a wildcard is not supported: list each origin, such as https://example.org".to_owned());
        }
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(url) = url else {
            return Err("an origin is expected, such as https://example.org or http://localhost:3000".to_owned());
        };
        let origin = url.origin().ascii_serialization();
        let is_origin = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        match HeaderValue::from_str(&origin) {
            Ok(header) if is_origin => Ok(Self(header)),
            _ => Err(format!("an origin is expected, with nothing but scheme, host and port, such as {origin}")),
        }
    }
}
