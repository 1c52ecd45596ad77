//! Which settings of tokens go together.

use anyhow::{bail, ensure};

use super::crypto;
use crate::config::AccessSettings;

/// Checks that the settings say which tokens are accepted, and do not contradict each other.
///
/// # Errors
///
/// What is missing, or does not go together.
pub fn ensure_consistent(settings: &AccessSettings) -> anyhow::Result<()> {
    if !settings.accepts_tokens() {
        let without_keys = [
            ("--jwt-audience", settings.jwt_audience.is_empty()),
            ("--jwt-algorithms", settings.jwt_algorithms.is_empty()),
            ("--jwt-scope-map", settings.jwt_scope_map.is_empty()),
        ];
        for (name, is_empty) in without_keys {
            ensure!(
                is_empty,
                "{name} needs keys that verify tokens: set --jwt-issuer, --jwks or --jwt-secret-file as well"
            );
        }
        return Ok(());
    }
    let has_secret = settings.jwt_secret_file.is_some();
    ensure!(
        !has_secret || settings.jwks.is_empty(),
        "--jwt-secret-file and --jwks exclude each other: tokens are signed by a secret or by a key of a set"
    );
    ensure!(
        !settings.jwt_audience.is_empty(),
        "--jwt-audience is missing: without it tokens that the issuer has made for other servers would be accepted"
    );
    for algorithm in &settings.jwt_algorithms {
        match (crypto::is_symmetric(*algorithm), has_secret) {
            (true, false) => bail!("--jwt-algorithms: {algorithm:?} needs --jwt-secret-file, and no key set"),
            (false, true) => bail!("--jwt-algorithms: {algorithm:?} does not go with --jwt-secret-file, HS256 does"),
            _ => {}
        }
    }
    Ok(())
}
