//! Automatic persisted queries: a document is sent once, and then by its hash (Apollo's protocol).

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::{
    document::DocumentId,
    error::{ApiError, Code},
    request::PersistedQuery,
};

/// The greatest number of hashes that are remembered. Their documents count in the cache of documents as well.
const MAX_HASHES: usize = 1_000;
/// The longest text that is remembered by its hash, in bytes, so that all of them together are bounded.
const MAX_TEXT: usize = 16 * 1024;

/// The documents that are known by their hashes.
pub struct PersistedQueries(Cache<DocumentId, Arc<str>>);

impl Default for PersistedQueries {
    fn default() -> Self {
        Self(Cache::new(MAX_HASHES))
    }
}

impl PersistedQueries {
    /// The text of the document with this hash, which may be sent along.
    ///
    /// # Errors
    ///
    /// `PERSISTED_QUERY_NOT_FOUND` when only a hash was sent and it is not known, or `BAD_USER_INPUT`.
    pub fn text(&self, persisted: &PersistedQuery, text: Option<&str>) -> Result<Arc<str>, ApiError> {
        let wrong = |message| Err(ApiError::new(Code::BadUserInput, message));
        if (persisted.version - 1.0).abs() > f64::EPSILON {
            return wrong("the version of `persistedQuery` must be 1");
        }
        let Ok(hash) = persisted.sha256_hash.parse::<DocumentId>() else {
            return wrong("`sha256Hash` must have 64 hexadecimal digits");
        };
        let Some(text) = text else {
            return self.0.get(&hash).ok_or_else(unknown_id);
        };
        if DocumentId::from_text(text) != hash {
            return wrong("`sha256Hash` is not the hash of `query`");
        }
        let text: Arc<str> = text.into();
        if text.len() <= MAX_TEXT {
            self.0.insert(hash, Arc::clone(&text));
        }
        Ok(text)
    }
}

/// What an id or a hash that is not known is answered with. Clients know the message from Apollo's protocol.
pub fn unknown_id() -> ApiError {
    ApiError::new(Code::PersistedQueryNotFound, "PersistedQueryNotFound")
}
