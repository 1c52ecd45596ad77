//! Who a client says it is in `connection_init`.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::protocol::Close;
use crate::{
    access::{Credential, Unauthenticated},
    http::{
        credential::bearer_token,
        endpoint::Endpoint,
        session::{OwnedCredential, Session},
    },
};

/// Why a client without a credential is refused.
const REQUIRED: &str = "authentication required";

/// Whom the credential of an initialisation names.
pub type Authenticating = BoxFuture<'static, Result<Session, Unauthenticated>>;

/// Looks at the credential in the payload of a `connection_init`, or without one at that of the upgrade.
pub fn initialize(
    endpoint: &Arc<Endpoint>,
    payload: Map<String, Value>,
    of_upgrade: Option<OwnedCredential>,
) -> Authenticating {
    let endpoint = Arc::clone(endpoint);
    async move {
        let access = &endpoint.access;
        if !access.is_set() {
            return Ok(Session::new(access, None, access.authenticate(None).await?));
        }
        let credential = of_payload(&payload)?.or(of_upgrade);
        let authenticated = access.authenticate(credential.as_ref().map(OwnedCredential::as_ref));
        let authenticated = timeout(endpoint.request_timeout, authenticated).await;
        let principal = authenticated.unwrap_or(Err(Unauthenticated::Unavailable))?;
        if principal.is_anonymous && principal.scopes.is_empty() {
            return Err(Unauthenticated::Invalid(REQUIRED));
        }
        Ok(Session::new(access, credential, principal))
    }
    .boxed()
}

/// The credential in the payload of a `connection_init`: `Authorization`, `X-API-Key` or `apiKey`, in any case of
/// letters, in the payload itself or in its `headers`.
fn of_payload(payload: &Map<String, Value>) -> Result<Option<OwnedCredential>, Unauthenticated> {
    let headers = payload.get("headers").and_then(Value::as_object);
    let mut found = None;
    for (name, value) in payload.iter().chain(headers.into_iter().flatten()) {
        let is_bearer = name.eq_ignore_ascii_case("authorization");
        let is_key = ["x-api-key", "apikey"].iter().any(|key| name.eq_ignore_ascii_case(key));
        if value.is_null() || !(is_bearer || is_key) {
            continue;
        }
        let text = value.as_str().ok_or(Unauthenticated::Invalid("a credential must be a string"))?;
        let credential = if is_bearer { bearer_token(text)? } else { Credential::ApiKey(text.trim()) };
        if found.replace(OwnedCredential::from(credential)).is_some() {
            return Err(Unauthenticated::Invalid("there must be one credential"));
        }
    }
    Ok(found)
}

/// The end of a socket whose credential is not accepted. Clients try again after it, perhaps with a fresh token.
pub fn forbidden(refused: &Unauthenticated) -> Close {
    match refused {
        Unauthenticated::Invalid(REQUIRED) => Close::new(4403, REQUIRED),
        Unauthenticated::Invalid(_) | Unauthenticated::Expired => Close::new(4403, "invalid token"),
        Unauthenticated::Unavailable => Close::new(1013, "the credential cannot be verified at the moment"),
    }
}
