//! A client that stays: whether its credential is still accepted.

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until};

use crate::{
    access::{Access, Credential, Principal, Unauthenticated},
    graphql::{Answer, Code},
};

/// How often a credential is looked at again: it may have been revoked.
const INTERVAL: Duration = Duration::from_secs(10);
/// The same, of one that has expired.
const LEEWAY_INTERVAL: Duration = Duration::from_secs(1);

/// The credential of a client that stays, and whom it names.
#[derive(Debug)]
pub struct Session {
    access: Access,
    credential: Option<OwnedCredential>,
    pub principal: Principal,
    /// When it is looked at again.
    due: Instant,
}

/// A credential that outlives its request.
#[derive(Clone)]
pub enum OwnedCredential {
    Token(String),
    ApiKey(String),
}

impl OwnedCredential {
    /// The credential as it is looked at.
    #[must_use]
    pub fn as_ref(&self) -> Credential<'_> {
        match self {
            Self::Token(token) => Credential::Token(token),
            Self::ApiKey(key) => Credential::ApiKey(key),
        }
    }
}

impl From<Credential<'_>> for OwnedCredential {
    fn from(credential: Credential<'_>) -> Self {
        match credential {
            Credential::Token(token) => Self::Token(token.to_owned()),
            Credential::ApiKey(key) => Self::ApiKey(key.to_owned()),
        }
    }
}

impl std::fmt::Debug for OwnedCredential {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_ref().fmt(formatter)
    }
}

impl Session {
    /// The session of a client whose credential has just been accepted.
    #[must_use]
    pub fn new(access: &Access, credential: Option<OwnedCredential>, principal: Principal) -> Self {
        let due = due(&principal);
        Self { access: access.clone(), credential, principal, due }
    }

    /// Waits until the credential is not accepted any more. Without one it never ends.
    pub async fn refused(&mut self) -> Unauthenticated {
        let Some(credential) = &self.credential else { return std::future::pending().await };
        loop {
            sleep_until(self.due).await;
            match self.access.authenticate(Some(credential.as_ref())).await {
                Ok(principal) => self.due = due(&principal),
                Err(refused) => return refused,
            }
        }
    }

    /// The same, with the answer that tells the client.
    pub async fn ended(&mut self) -> Answer {
        let (code, message) = match self.refused().await {
            Unauthenticated::Expired => (Code::Unauthenticated, "the credential has expired"),
            Unauthenticated::Invalid(_) => (Code::Unauthenticated, "the credential is not valid any more"),
            Unauthenticated::Unavailable => (Code::Unavailable, "the credential cannot be verified at the moment"),
        };
        Answer::from_error(code, message)
    }
}

/// When to look at a credential again: soon, or when it expires, if that is sooner.
fn due(principal: &Principal) -> Instant {
    // One that has expired may be accepted for some time more, because clocks differ.
    let until = |end: SystemTime| end.duration_since(SystemTime::now()).unwrap_or(LEEWAY_INTERVAL);
    Instant::now() + principal.expires_at.map_or(INTERVAL, |end| INTERVAL.min(until(end) + Duration::from_millis(1)))
}
