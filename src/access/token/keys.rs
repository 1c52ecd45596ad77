//! The keys that verify tokens: a secret, or those of key sets.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, ensure};

use super::{fetch, key_set::KeySet, key_source::KeySource};

/// The bytes of a secret, at least.
const MIN_SECRET: usize = 32;

/// Where the keys are.
#[derive(Debug)]
pub enum Keys {
    Secret(Arc<KeySet>),
    Sources(Vec<Arc<KeySource>>),
}

/// The keys that each of the sources has now.
pub type Sets = Vec<Option<Arc<KeySet>>>;

impl Keys {
    /// The keys that each of the sources has now.
    pub fn all(&self) -> Sets {
        match self {
            Self::Secret(set) => vec![Some(Arc::clone(set))],
            Self::Sources(sources) => sources.iter().map(KeySource::current).collect(),
        }
    }

    /// The keys that a source has now.
    pub fn current(&self, source: usize) -> Option<Arc<KeySet>> {
        match self {
            Self::Secret(set) => Some(Arc::clone(set)),
            Self::Sources(sources) => sources.get(source)?.current(),
        }
    }

    /// Fetches the key sets again for a key that none of them has, from all sources at once, and waits for them.
    pub async fn ask(&self) {
        let Self::Sources(sources) = self else { return };
        let running: Vec<_> = sources.iter().filter_map(KeySource::ask).collect();
        for mut running in running {
            // A source that is gone has ended its fetch.
            let _ = running.changed().await;
        }
    }
}

/// Whether two have the same keys.
pub fn are_the_same(one: &Sets, other: &Sets) -> bool {
    one.iter()
        .map(|set| set.as_ref().map(|set| set.digest))
        .eq(other.iter().map(|set| set.as_ref().map(|set| set.digest)))
}

/// The secret in a file, as keys.
///
/// # Errors
///
/// When the file cannot be read, or the secret is too short.
pub fn secret(file: &Path) -> anyhow::Result<KeySet> {
    let content = fetch::read(file);
    let content = content.with_context(|| format!("cannot read --jwt-secret-file {}", file.display()))?;
    let secret = content.strip_suffix(b"\n").map_or(&content[..], |line| line.strip_suffix(b"\r").unwrap_or(line));
    ensure!(
        secret.len() >= MIN_SECRET,
        "the secret in --jwt-secret-file {} is too short: at least {MIN_SECRET} bytes are needed",
        file.display()
    );
    Ok(KeySet::of_secret(secret))
}
