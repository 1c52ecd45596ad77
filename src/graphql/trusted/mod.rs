//! Trusted documents: those that the apps of the server's owner were built with.
//!
//! They are known by ids, which clients send instead of texts. Where nothing else is executed, a text is trusted as
//! well that is the same document: with other blanks, commas or comments, or with its fragments in another order.

mod manifest;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use self::manifest::{Entry, Stamp};
use super::{
    definition::Definition,
    document::{Document, DocumentId, Documents, without_literals},
    error::{ApiError, Code},
    request::Params,
};
use crate::{
    access::Principal,
    config::{DocumentSettings, DocumentsMode, GraphQlSettings, WrongSetting},
    schema::Api,
    telemetry::Telemetry,
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

/// The documents in the files.
#[derive(Debug, Default)]
struct Known {
    by_id: HashMap<String, Arc<Document>>,
    /// The same, by the hash of their text as it is printed.
    by_canonical: HashMap<DocumentId, Arc<Document>>,
    stamps: Vec<Stamp>,
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
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
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
    /// When a file cannot be read, or with all faults of the documents.
    pub fn load(&self, documents: &Documents) -> anyhow::Result<usize> {
        let (known, number, faults) = Known::read(&self.settings.documents, documents)?;
        ensure!(faults.is_empty(), "{}", faults.join("; "));
        let is_for_nothing = known.by_id.is_empty() && self.settings.mode != DocumentsMode::Off;
        let needs = || WrongSetting("--documents-mode needs --documents, with at least one document".to_owned());
        ensure!(!is_for_nothing, needs());
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
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
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
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
    pub async fn follow(&self, documents: &Documents) {
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
            match self.load(documents) {
                Ok(number) => {
                    failed = None;
                    tracing::info!(number, "the trusted documents are read again");
                }
                Err(error) => {
                    failed = Some(stamps);
                    tracing::error!(error = format!("{error:#}"), "trusted documents are not read; the old ones stay");
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

/// What an id that is not known is answered with. Clients know the message from Apollo's protocol.
pub fn unknown_id() -> ApiError {
    ApiError::new(Code::PersistedQueryNotFound, "PersistedQueryNotFound")
}

/// An id without the prefix that some tools write and some clients send.
fn bare(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}

impl Known {
    /// Reads files. Gives what is known from them, the number of documents, and the faults of documents.
    fn read(paths: &[PathBuf], documents: &Documents) -> anyhow::Result<(Self, usize, Vec<String>)> {
        let mut known = Self { stamps: manifest::stamps(paths)?, ..Self::default() };
        let mut faults = Vec::new();
        let mut number = 0;
        for path in paths {
            for Entry { id, text, path } in manifest::read(path)? {
                number += 1;
                let fault = |message: String| format!("{}: the document {id:?}: {message}", path.display());
                match documents.trusted(&text) {
                    Ok(document) => {
                        if known.by_id.get(bare(&id)).is_some_and(|other| other.id != document.id) {
                            faults.push(fault("another document has the same id".to_owned()));
                        }
                        if let Some(canonical) = document.canonical() {
                            known.by_canonical.insert(canonical, Arc::clone(&document));
                        }
                        known.by_id.insert(bare(&id).to_owned(), document);
                    }
                    Err(errors) => faults.extend(errors.iter().map(|error| {
                        let place = error.locations.first();
                        let place = place.map(|place| format!(" (line {}, column {})", place.line, place.column));
                        fault(format!("{}{}", error.message, place.unwrap_or_default()))
                    })),
                }
            }
        }
        Ok((known, number, faults))
    }
}

/// Checks the documents in files against the schema of an API, or against another one in the schema definition
/// language. Gives their number, and their faults.
///
/// # Errors
///
/// When a file cannot be read.
pub fn check_documents<A: Api>(
    paths: &[PathBuf],
    against: Option<&PathBuf>,
    settings: &GraphQlSettings,
) -> anyhow::Result<(usize, Vec<String>)> {
    let sdl = match against {
        Some(path) => std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
        None => super::sdl::<A>(),
    };
    let definition = Definition::new(sdl);
    let definition = definition.map_err(|errors| anyhow::anyhow!("the schema is not valid: {errors}"))?;
    let documents = Documents::new(Arc::new(definition), settings, Telemetry::default());
    let (_, number, faults) = Known::read(paths, &documents)?;
    Ok((number, faults))
}
