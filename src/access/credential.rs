//! What a request says who it is with.

use std::fmt;

use super::api_key;

/// What a request says who it is with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credential<'a> {
    /// A JSON Web Token (RFC 7519).
    Token(&'a str),
    /// An API key.
    ApiKey(&'a str),
}

impl<'a> Credential<'a> {
    /// The credential in a bearer token (RFC 6750).
    #[must_use]
    pub fn bearer(token: &'a str) -> Self {
        if token.starts_with(api_key::PREFIX) { Self::ApiKey(token) } else { Self::Token(token) }
    }
}

/// Without the credential.
impl fmt::Debug for Credential<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Token(_) => "Token",
            Self::ApiKey(_) => "ApiKey",
        })
    }
}
