//! What is trusted, and what becomes of everything else.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, RwLock};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use super::{
    known::{Known, bare},
    manifest::{self, Stamp},
};
use crate::{
    access::Principal,
    config::{DocumentSettings, DocumentsMode, WrongSetting},
    graphql::{
        document::{Document, DocumentId, Validator, without_literals},
        error::{ApiError, Code},
        request::Params,
    },
};

/// How often files are looked at for changes.
const LOOK_AFTER: Duration = Duration::from_secs(10);
/// How long a document that is not trusted is not logged again.
const LOG_AFTER: Duration = Duration::from_mins(1);
/// The greatest number of documents that are remembered for that.
const MAX_LOGGED: usize = 1_000;
/// The greatest number of characters of a document in the log.
const MAX_TEXT: usize = 200;

/// What is trusted, and what becomes of everything else.
#[derive(Debug, Default)]
pub struct TrustedDocuments {
    settings: DocumentSettings,
    known: RwLock<Arc<Known>>,
    /// When documents that are not trusted were logged.
    logged: Mutex<HashMap<DocumentId, Instant>>,
}

impl TrustedDocuments {
    /// Those that the settings name.
    #[must_use]
    pub fn new(settings: &DocumentSettings) -> Self {
        Self { settings: settings.clone(), ..Self::default() }
    }

    /// Whether nothing else is executed for a principal.
    #[must_use]
    pub fn is_enforced_for(&self, principal: &Principal) -> bool {
        self.settings.mode == DocumentsMode::Enforce && !principal.may_bypass_documents()
    }

    /// Whether documents that are not trusted are logged.
    #[must_use]
    pub fn are_others_logged(&self) -> bool {
        self.settings.mode == DocumentsMode::Log
    }

    /// Whether a text must not stand for a document that is trusted.
    #[must_use]
    pub fn requires_id(&self) -> bool {
        self.settings.require_id
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read())
    }

    /// The document with an id, with or without `sha256:` before it.
    #[must_use]
    pub fn by_id(&self, id: &str) -> Option<Arc<Document>> {
        self.known().by_id.get(bare(id)).cloned()
    }

    /// The trusted document that is the same as one with this text as it is printed.
    #[must_use]
    pub fn by_canonical(&self, id: DocumentId) -> Option<Arc<Document>> {
        self.known().by_canonical.get(&id).cloned()
    }

    /// Reads the files. What was known stays if there is a fault.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, with all faults of the documents, or when there are none although the mode asks for
    /// some.
    pub fn load(&self, validator: &Validator) -> Result<usize, WrongSetting> {
        let wrong = |fault: &str| WrongSetting(format!("--documents: {fault}"));
        let read = Known::read(&self.settings.documents, validator);
        let (known, number, faults) = read.map_err(|error| wrong(&format!("{error:#}")))?;
        if !faults.is_empty() {
            return Err(wrong(&faults.join("; ")));
        }
        if known.by_id.is_empty() && self.settings.mode != DocumentsMode::Off {
            return Err(WrongSetting("--documents-mode needs --documents, with at least one document".to_owned()));
        }
        *self.known.write() = Arc::new(known);
        Ok(number)
    }

    /// Logs a document that is not trusted, once a minute, where that is asked for.
    pub fn note_other(&self, params: &Params, document: Option<&Document>, text: &str, principal: &Principal) {
        if !self.are_others_logged() || principal.may_bypass_documents() {
            return;
        }
        let canonical = document.and_then(Document::canonical);
        let is_trusted = canonical.is_some_and(|canonical| self.by_canonical(canonical).is_some());
        if is_trusted && !self.requires_id() {
            return;
        }
        let id = DocumentId::from_text(text);
        if !self.is_due(id) {
            return;
        }
        let text = document.map(|document| without_literals(&document.valid));
        let text = text.map(|text| text.chars().take(MAX_TEXT).collect::<String>());
        tracing::warn!(
            document = %id,
            operation = params.operation_name.as_deref(),
            client = params.client.as_deref(),
            text,
            would_block = true,
            "a document is not trusted"
        );
    }

    fn is_due(&self, id: DocumentId) -> bool {
        let mut logged = self.logged.lock();
        if logged.get(&id).is_some_and(|time| time.elapsed() < LOG_AFTER) {
            return false;
        }
        if logged.len() >= MAX_LOGGED {
            logged.clear();
        }
        logged.insert(id, Instant::now());
        true
    }

    /// Reads the files again when they have changed, or the program gets SIGHUP. It never ends.
    pub async fn follow(&self, validator: &Validator) {
        if self.settings.documents.is_empty() {
            return std::future::pending().await;
        }
        let mut hangups = signal(SignalKind::hangup()).ok();
        let mut looks = interval(LOOK_AFTER);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failed: Option<Vec<Stamp>> = None;
        loop {
            let is_told = tokio::select! {
                _ = looks.tick() => false,
                Some(()) = async { hangups.as_mut()?.recv().await } => true,
            };
            // Files are read where the server works: they are few, and seldom.
            let stamps = manifest::stamps(&self.settings.documents).unwrap_or_default();
            if !is_told && (stamps == self.known().stamps || failed.as_ref() == Some(&stamps)) {
                continue;
            }
            match self.load(validator) {
                Ok(number) => {
                    failed = None;
                    tracing::info!(number, "the trusted documents are read again");
                }
                Err(error) => {
                    failed = Some(stamps);
                    tracing::error!(%error, "trusted documents are not read; the old ones stay");
                }
            }
        }
    }
}

/// What a document that is not trusted is answered with.
pub fn not_trusted() -> ApiError {
    let message = "this server executes trusted documents only: send the id of one as `documentId`";
    ApiError::new(Code::DocumentNotTrusted, message)
}
