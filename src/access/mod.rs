//! Who asks, and what they may do. It knows no GraphQL and no requests of clients; key sets come by `http_client`.

mod api_key;
mod scope;
mod token;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

pub use self::{
    api_key::{ApiKeys, NewApiKey, time},
    scope::{Scope, Scopes},
    token::Tokens,
};
use crate::{
    config::AccessSettings,
    db::{Db, StoreError},
    telemetry::Telemetry,
};

/// The last second of the year 9999, since 1970. Times after it cannot be printed, and are in milliseconds most likely.
const LATEST: Duration = Duration::from_secs(253_402_300_799);

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

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Whether no credential was sent.
    pub is_anonymous: bool,
    /// The id of the API key, or the subject of the token (`sub`), if it has one.
    pub name: Option<Arc<str>>,
    /// What they may do.
    pub scopes: Scopes,
    /// When the credential ends, if it does.
    pub expires_at: Option<SystemTime>,
}

impl Principal {
    /// Whoever sends no credential.
    #[must_use]
    pub const fn anonymous(scopes: Scopes) -> Self {
        Self { is_anonymous: true, name: None, scopes, expires_at: None }
    }

    /// Whether they may have documents executed that are not trusted. Whoever may do everything because nobody is asked
    /// who they are may not.
    #[must_use]
    pub const fn may_bypass_documents(&self) -> bool {
        self.scopes.has(Scope::DocumentsBypass) || (self.scopes.has(Scope::Admin) && !self.is_anonymous)
    }
}

/// Why a credential is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unauthenticated {
    /// It was valid once.
    Expired,
    /// It is none of this server. The reason is for the log, and never has the credential in it.
    Invalid(&'static str),
    /// It cannot be looked at for now: the database, or the issuer of tokens, does not answer.
    Unavailable,
}

/// Who may do what on this server. A clone is cheap.
#[derive(Clone, Debug)]
pub struct Access {
    /// None when no setting for access is given: then everybody may do everything, and credentials are not looked at.
    methods: Option<Arc<Methods>>,
}

/// The ways to authenticate.
#[derive(Debug)]
struct Methods {
    tokens: Option<Tokens>,
    api_keys: Option<ApiKeys>,
    /// What a request without a credential may do.
    anonymous: Scopes,
    telemetry: Telemetry,
}

impl Access {
    /// Everybody may do everything.
    #[must_use]
    pub const fn open() -> Self {
        Self { methods: None }
    }

    /// The access that these settings give.
    ///
    /// # Errors
    ///
    /// When a setting is missing, or a file of one cannot be read.
    pub async fn new(settings: &AccessSettings, db: &Db) -> anyhow::Result<Self> {
        let tokens = Tokens::new(settings, db.telemetry()).await?;
        if !settings.is_set() {
            return Ok(Self::open());
        }
        let methods = Methods {
            tokens,
            api_keys: settings.api_keys.then(|| ApiKeys::new(db)),
            anonymous: settings.anonymous.iter().copied().collect(),
            telemetry: db.telemetry().clone(),
        };
        Ok(Self { methods: Some(Arc::new(methods)) })
    }

    /// Reads the API keys, if they are accepted, so that a server which cannot does not start.
    ///
    /// # Errors
    ///
    /// When the database does not answer, or has no table for them.
    pub async fn read_api_keys(&self) -> Result<(), StoreError> {
        match self.methods.as_ref().and_then(|methods| methods.api_keys.as_ref()) {
            Some(api_keys) => api_keys.list().await.map(drop),
            None => Ok(()),
        }
    }

    /// Who asks with a credential, or without one.
    ///
    /// # Errors
    ///
    /// When the credential is not accepted. It is never taken for none.
    pub async fn authenticate(&self, credential: Option<Credential<'_>>) -> Result<Principal, Unauthenticated> {
        let Some(methods) = &self.methods else { return Ok(Principal::anonymous(Scopes::ALL)) };
        let authenticated = methods.authenticate(credential).await;
        if let Some(metrics) = methods.telemetry.metrics() {
            let method = match credential {
                None => "none",
                Some(Credential::Token(_)) => "token",
                Some(Credential::ApiKey(_)) => "api_key",
            };
            let result = match &authenticated {
                Ok(_) => "accepted",
                Err(Unauthenticated::Expired) => "expired",
                Err(Unauthenticated::Invalid(_)) => "invalid",
                Err(Unauthenticated::Unavailable) => "unavailable",
            };
            metrics.note_authentication(method, result);
        }
        authenticated
    }

    /// Brings the metrics of keys up to date.
    pub fn tell_state(&self) {
        let Some(methods) = &self.methods else { return };
        let age = methods.tokens.as_ref().and_then(Tokens::key_set_age);
        if let (Some(metrics), Some(age)) = (methods.telemetry.metrics(), age) {
            metrics.key_set_age.set(age.as_secs_f64());
        }
    }

    /// Whether credentials are looked at.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.methods.is_some()
    }
}

impl Methods {
    async fn authenticate(&self, credential: Option<Credential<'_>>) -> Result<Principal, Unauthenticated> {
        match credential {
            None => Ok(Principal::anonymous(self.anonymous)),
            Some(Credential::Token(token)) => match &self.tokens {
                Some(tokens) => tokens.verify(token).await,
                None => Err(Unauthenticated::Invalid("tokens are not accepted")),
            },
            Some(Credential::ApiKey(key)) => match &self.api_keys {
                Some(api_keys) => api_keys.verify(key).await,
                None => Err(Unauthenticated::Invalid("API keys are not accepted")),
            },
        }
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
