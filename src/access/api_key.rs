//! API keys: credentials of programs, kept in the database.

use super::{Principal, Unauthenticated};
use crate::db::Db;

/// What every API key begins with.
pub const PREFIX: &str = "ht_";

/// The API keys of the database.
#[derive(Debug)]
pub struct ApiKeys {
    db: Db,
}

impl ApiKeys {
    /// The keys of a database.
    #[must_use]
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    /// Whose key it is.
    ///
    /// # Errors
    ///
    /// When it is not accepted.
    pub async fn verify(&self, _key: &str) -> Result<Principal, Unauthenticated> {
        let _ = &self.db;
        Err(Unauthenticated::Invalid("not known"))
    }
}
