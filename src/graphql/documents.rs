//! The documents of the server: by their texts or ids, checked once and kept for the next request.

use std::sync::Arc;

use quick_cache::{Weighter, sync::Cache};

use super::{
    definition::Definition,
    document::{Checked, Document, DocumentId, Validator, canonical},
    error::{ApiError, Code},
    persisted::{PersistedQueries, unknown_id},
    request::{Answer, Params},
    trusted::{TrustedDocuments, not_trusted},
};
use crate::{access::Principal, config::GraphQlSettings, telemetry::Telemetry};

/// The documents of the server.
pub struct Documents {
    pub validator: Validator,
    cache: Option<Cache<Arc<str>, Checked, Bytes>>,
    persisted: PersistedQueries,
    telemetry: Telemetry,
    pub trusted: TrustedDocuments,
}

/// What a request asks for.
#[derive(Debug)]
pub struct Requested {
    pub document: Arc<Document>,
    /// Whether it was asked for by the id of a trusted document.
    pub is_by_id: bool,
}

impl Documents {
    #[must_use]
    pub fn new(definition: Arc<Definition>, settings: &GraphQlSettings, telemetry: Telemetry) -> Self {
        let bytes = settings.document_cache;
        // A cache is divided for about this many documents.
        let cache = (bytes > 0).then(|| Cache::with_weighter(1_000, bytes, Bytes));
        Self {
            validator: Validator::new(definition, settings, telemetry.clone()),
            cache,
            persisted: PersistedQueries::default(),
            telemetry,
            trusted: TrustedDocuments::new(&settings.documents),
        }
    }

    /// The document that a principal asks for.
    ///
    /// # Errors
    ///
    /// The answer that says what is wrong with it, that its id or its hash is not known, or that it is not trusted.
    pub fn requested(&self, params: &Params, principal: &Principal) -> Result<Requested, Box<Answer>> {
        let refused = |error: ApiError| Box::new(Answer::from(error));
        let persisted = params.persisted_query().map_err(refused)?;
        // Libraries that insist on a text send an empty one with an id.
        let has_id = params.document_id.is_some() || persisted.is_some();
        let text = params.query.as_deref().filter(|text| !has_id || !text.is_empty());
        let id = match (&params.document_id, &persisted) {
            (Some(_), _) if text.is_some() => {
                let message = "`documentId` stands for a document, so `query` must be left out";
                return Err(refused(ApiError::new(Code::BadUserInput, message)));
            }
            (Some(id), _) => Some(&**id),
            (None, Some(persisted)) if text.is_none() => Some(&*persisted.sha256_hash),
            _ => None,
        };
        if let Some(document) = id.and_then(|id| self.trusted.by_id(id)) {
            self.note("trusted");
            return Ok(Requested { document, is_by_id: true });
        }
        let is_enforced = self.trusted.is_enforced_for(principal);
        if params.document_id.is_some() || (id.is_some() && is_enforced) {
            return Err(refused(unknown_id()));
        }
        if is_enforced {
            // Nothing else is looked at any further, and nothing of it is kept.
            let document = self.trusted_text(text.unwrap_or_default()).ok_or_else(|| refused(not_trusted()))?;
            return Ok(Requested { document, is_by_id: false });
        }
        // An empty document is refused as one.
        let sent_before;
        let text = match &persisted {
            Some(persisted) => {
                sent_before = self.persisted.text(persisted, text).map_err(refused)?;
                &*sent_before
            }
            None => text.unwrap_or_default(),
        };
        if id.is_some() {
            self.note("persisted");
        }
        let checked = self.get(text);
        self.trusted.note_other(params, checked.as_deref().ok(), text, principal);
        let document = checked.map_err(|errors| Box::new(Answer::not_executed(errors.to_vec())))?;
        Ok(Requested { document, is_by_id: false })
    }

    /// The document with a text, if that is trusted: nothing else is looked at any further.
    fn trusted_text(&self, text: &str) -> Option<Arc<Document>> {
        if self.trusted.requires_id() {
            return None;
        }
        self.trusted.by_canonical(DocumentId::from_text(&canonical(text, self.validator.limits.max_tokens)?))
    }

    fn get(&self, text: &str) -> Checked {
        let Some(cache) = &self.cache else { return self.validator.validated(Arc::from(text)) };
        if let Some(checked) = cache.get(text) {
            self.note("hit");
            return checked;
        }
        self.note("miss");
        let text: Arc<str> = Arc::from(text);
        let checked = self.validator.validated(Arc::clone(&text));
        cache.insert(text, checked.clone());
        checked
    }

    /// Brings the metrics of the cache up to date.
    pub fn tell_state(&self) {
        let bytes = self.cache.as_ref().map_or(0, Cache::weight);
        if let Some(metrics) = self.telemetry.metrics() {
            metrics.document_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    fn note(&self, result: &'static str) {
        if let Some(metrics) = self.telemetry.metrics() {
            metrics.note_document(result);
        }
    }
}

/// How many bytes a document takes in the cache.
#[derive(Clone)]
struct Bytes;

impl Weighter<Arc<str>, Checked> for Bytes {
    fn weight(&self, text: &Arc<str>, checked: &Checked) -> u64 {
        // A document was measured at about 60 times its text. Each operation has its own fragments, so further ones may
        // take as much again. Faults have messages of their own.
        let bytes = match checked {
            Ok(document) => 4_096 + (40 + 20 * document.valid.operations.len()) * text.len(),
            Err(faults) => 1_024 + text.len() + faults.iter().map(|fault| 256 + fault.message.len()).sum::<usize>(),
        };
        bytes as u64
    }
}
