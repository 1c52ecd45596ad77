//! Who asks, and what they may do.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::schema::{Scope, Scopes};

/// The last second of the year 9999, since 1970. Times after it cannot be printed, and are in milliseconds most likely.
pub(super) const LATEST: Duration = Duration::from_secs(253_402_300_799);

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
