//! Files with trusted documents, as the tools write them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::graphql::document::DocumentId;

/// The format of Apollo's manifest, as it says itself.
const APOLLO: &str = "apollo-persisted-query-manifest";

/// A document that is to be trusted.
#[derive(Debug)]
pub struct Entry {
    /// The id that clients send.
    pub id: String,
    pub text: String,
    /// The file.
    pub path: PathBuf,
}

/// What tells whether a file has changed.
pub type Stamp = (PathBuf, Option<SystemTime>, u64);

/// The manifest of Apollo (`@apollo/generate-persisted-query-manifest`).
#[derive(Deserialize)]
struct ApolloManifest {
    version: u64,
    operations: Vec<ApolloOperation>,
}

#[derive(Deserialize)]
struct ApolloOperation {
    id: String,
    body: String,
}

/// The documents in a file, or in the files of a folder and of those in it.
///
/// # Errors
///
/// When something cannot be read, or is none of the formats.
pub fn read(path: &Path) -> anyhow::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for path in files(path)? {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let documents = if is_document(&path) {
            vec![(DocumentId::from_text(&text).to_string(), text)]
        } else {
            of_manifest(&text).with_context(|| format!("cannot read {}", path.display()))?
        };
        entries.extend(documents.into_iter().map(|(id, text)| Entry { id, text, path: path.clone() }));
    }
    Ok(entries)
}

/// What tells whether files have changed.
///
/// # Errors
///
/// When something cannot be read.
pub fn stamps(paths: &[PathBuf]) -> anyhow::Result<Vec<Stamp>> {
    let mut stamps = Vec::new();
    for path in paths {
        for file in files(path)? {
            let metadata = fs::metadata(&file)?;
            stamps.push((file, metadata.modified().ok(), metadata.len()));
        }
    }
    Ok(stamps)
}

/// The file itself, or the documents in a folder.
fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let metadata = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if !metadata.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    documents_below(path, &mut files).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(!files.is_empty(), "there are no files with the ending .graphql or .gql in {}", path.display());
    files.sort();
    Ok(files)
}

fn documents_below(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Links are not followed, so that there is an end.
        if entry.file_type()?.is_dir() {
            documents_below(&entry.path(), files)?;
        } else if is_document(&entry.path()) {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn is_document(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "graphql" || extension == "gql")
}

/// The ids and the texts in a manifest: Apollo's, or an object with the texts by their ids, as Relay, GraphQL Code
/// Generator and gql.tada write it.
fn of_manifest(text: &str) -> anyhow::Result<Vec<(String, String)>> {
    let manifest: Map<String, Value> = serde_json::from_str(text).context("it is no JSON object")?;
    if manifest.get("format").and_then(Value::as_str) == Some(APOLLO) {
        let ApolloManifest { version, operations } =
            serde_json::from_value(manifest.into()).context("it is no manifest as Apollo has it")?;
        ensure!(version == 1, "its version is {version}, and only 1 is known");
        return Ok(operations.into_iter().map(|operation| (operation.id, operation.body)).collect());
    }
    let mut documents = Vec::new();
    for (id, text) in manifest {
        let Value::String(text) = text else { bail!("the value of {id:?} is not the text of a document") };
        documents.push((id, text));
    }
    Ok(documents)
}
