//! Whether the documents in files are right, before a server has them.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;

use super::{definition::Definition, document::Validator, execute::sdl, trusted::Known};
use crate::{config::GraphQlSettings, schema::Api, telemetry::Telemetry};

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
        None => sdl::<A>(),
    };
    let definition = Definition::new(sdl);
    let definition = definition.map_err(|errors| anyhow::anyhow!("the schema is not valid: {errors}"))?;
    let validator = Validator::new(Arc::new(definition), settings, Telemetry::default());
    let (_, number, faults) = Known::read(paths, &validator)?;
    Ok((number, faults))
}
