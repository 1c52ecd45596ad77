//! The trusted documents in files, and whether they are right.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use super::manifest::{self, Entry, Stamp};
use crate::graphql::document::{Document, DocumentId, Validator};

/// The documents in the files.
#[derive(Debug, Default)]
pub struct Known {
    pub by_id: HashMap<String, Arc<Document>>,
    /// The same, by the hash of their text as it is printed.
    pub by_canonical: HashMap<DocumentId, Arc<Document>>,
    pub stamps: Vec<Stamp>,
}

impl Known {
    /// Reads files. Gives what is known from them, the number of documents, and the faults of documents.
    pub fn read(paths: &[PathBuf], validator: &Validator) -> anyhow::Result<(Self, usize, Vec<String>)> {
        let mut known = Self { stamps: manifest::stamps(paths)?, ..Self::default() };
        let mut faults = Vec::new();
        let mut number = 0;
        for path in paths {
            for Entry { id, text, path } in manifest::read(path)? {
                number += 1;
                let fault = |message: String| format!("{}: the document {id:?}: {message}", path.display());
                match validator.trusted(&text) {
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

/// An id without the prefix that some tools write and some clients send.
pub fn bare(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}
