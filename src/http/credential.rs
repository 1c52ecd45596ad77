//! The credential of a request: in `Authorization` (RFC 6750) or in `X-API-Key`, and nowhere else.

use std::time::Duration;

use axum::{
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{AUTHORIZATION, WWW_AUTHENTICATE},
    },
    response::Response,
};
use tokio::time::timeout;

use super::{
    log::Measured,
    refusal::{refusal, unavailable},
};
use crate::{
    access::{Access, Credential, Principal, Unauthenticated},
    graphql::Code,
};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What a request without a credential is told (RFC 9110, 11.6.1).
pub const CHALLENGE: HeaderValue = HeaderValue::from_static(r#"Bearer realm="hero-teams""#);
/// The same for a credential that does not have the scopes (RFC 6750, 3.1).
pub const INSUFFICIENT_SCOPE: HeaderValue =
    HeaderValue::from_static(r#"Bearer realm="hero-teams", error="insufficient_scope""#);

/// Whom a credential names, which may take some time to find out.
///
/// # Errors
///
/// The answer to a request whose credential is not accepted: 401; 503 when it cannot be looked at for now.
pub async fn authenticate(
    access: &Access,
    credential: Option<Credential<'_>>,
    time: Duration,
) -> Result<Principal, Response> {
    let authenticated = timeout(time, access.authenticate(credential)).await;
    authenticated.unwrap_or(Err(Unauthenticated::Unavailable)).map_err(refused)
}

/// The credential in the headers of a request. None when nobody is asked for one.
///
/// # Errors
///
/// The answer to a request with something else there: 401; or with two credentials: 400.
#[expect(clippy::result_large_err, reason = "the answer is sent as it is")]
pub fn credential<'a>(access: &Access, headers: &'a HeaderMap) -> Result<Option<Credential<'a>>, Response> {
    if !access.is_set() {
        return Ok(None);
    }
    let mut credentials = headers.get_all(AUTHORIZATION).iter().map(bearer);
    let mut api_keys = headers.get_all(X_API_KEY).iter().map(api_key);
    match (credentials.next(), api_keys.next()) {
        (None, None) => Ok(None),
        (Some(credential), None) | (None, Some(credential)) if credentials.next().or(api_keys.next()).is_none() => {
            credential.map(Some).map_err(refused)
        }
        _ => Err(two()),
    }
}

/// Whether a request has something that may be a credential.
#[must_use]
pub fn has_credential(headers: &HeaderMap) -> bool {
    headers.contains_key(AUTHORIZATION) || headers.contains_key(X_API_KEY)
}

fn bearer(header: &HeaderValue) -> Result<Credential<'_>, Unauthenticated> {
    bearer_token(header.to_str().unwrap_or_default())
}

/// The credential in the value of an `Authorization`.
///
/// # Errors
///
/// When it is no bearer token.
pub fn bearer_token(authorization: &str) -> Result<Credential<'_>, Unauthenticated> {
    match authorization.trim().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Credential::bearer(token.trim_start())),
        _ => Err(Unauthenticated::Invalid("the header Authorization has no bearer token")),
    }
}

fn api_key(header: &HeaderValue) -> Result<Credential<'_>, Unauthenticated> {
    let text = header.to_str().map_err(|_| Unauthenticated::Invalid("the header X-API-Key is not ASCII"))?;
    Ok(Credential::ApiKey(text.trim()))
}

fn two() -> Response {
    let message = "a request must have one credential: one header Authorization, or one header X-API-Key";
    let mut response = refusal(StatusCode::BAD_REQUEST, Code::BadUserInput, message);
    let challenge = HeaderValue::from_static(r#"Bearer realm="hero-teams", error="invalid_request""#);
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

/// The answer to a credential that is not accepted. The reason is for the log.
fn refused(why: Unauthenticated) -> Response {
    let (message, challenge, reason) = match why {
        Unauthenticated::Unavailable => {
            let message = "the credential cannot be verified at the moment; try again later";
            let mut response = unavailable(message);
            response.extensions_mut().insert(Measured::refused(Code::Unavailable, "it cannot be verified"));
            return response;
        }
        Unauthenticated::Expired => (
            "the credential has expired",
            r#"Bearer realm="hero-teams", error="invalid_token", error_description="expired""#,
            "it has expired",
        ),
        Unauthenticated::Invalid(reason) => {
            ("the credential is not valid", r#"Bearer realm="hero-teams", error="invalid_token""#, reason)
        }
    };
    let mut response = refusal(StatusCode::UNAUTHORIZED, Code::Unauthenticated, message);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response.extensions_mut().insert(Measured::refused(Code::Unauthenticated, reason));
    response
}
