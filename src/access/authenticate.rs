//! From credentials to principals.

use std::sync::Arc;

use super::{ApiKeys, Credential, Principal, Tokens, Unauthenticated};
use crate::{
    config::AccessSettings,
    db::{Db, StoreError},
    schema::Scopes,
    telemetry::Telemetry,
};

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
