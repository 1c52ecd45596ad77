//! Whether the documents in files are right, before a server has them.

use std::{path::PathBuf, sync::Arc};

use super::{definition::Definition, document::Validator, trusted::Known};
use crate::{config::GraphQlSettings, telemetry::Telemetry};

/// Checks the documents in files against a schema in the schema definition language. Gives their number, and their
/// faults.
///
/// # Errors
///
/// When a file cannot be read, or the schema is not valid.
pub fn check_documents(
    paths: &[PathBuf],
    sdl: String,
    settings: &GraphQlSettings,
) -> anyhow::Result<(usize, Vec<String>)> {
    let definition = Definition::new(sdl);
    let definition = definition.map_err(|errors| anyhow::anyhow!("the schema is not valid: {errors}"))?;
    let validator = Validator::new(Arc::new(definition), settings, Telemetry::default());
    let (_, number, faults) = Known::read(paths, &validator)?;
    Ok((number, faults))
}
