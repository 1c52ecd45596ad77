//! JSON Web Tokens of an identity provider (RFC 7519).

mod claims;
mod crypto;
mod fetch;
mod key_set;
mod key_source;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, bail, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, Validation, decode, errors::ErrorKind};
use quick_cache::sync::Cache;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use self::{
    claims::Rules,
    key_set::{Key, KeySet},
    key_source::KeySource,
};
use super::{Principal, Unauthenticated};
use crate::{
    config::{AccessSettings, WrongSetting},
    telemetry::Telemetry,
};

/// What verifies tokens.
#[derive(Debug)]
pub struct Tokens {
    rules: Rules,
    algorithms: Vec<Algorithm>,
    keys: Keys,
    /// Tokens that were accepted, by their SHA-256.
    accepted: Cache<[u8; 32], Accepted>,
}

/// Where the keys are.
#[derive(Debug)]
enum Keys {
    Secret(Arc<KeySet>),
    Sources(Vec<Arc<KeySource>>),
}

/// The keys that each of the sources has now.
type Sets = Vec<Option<Arc<KeySet>>>;

/// What came of a token that was accepted. It holds as long as the key set by which it was.
#[derive(Clone, Debug)]
struct Accepted {
    principal: Principal,
    source: usize,
    set: [u8; 32],
}

/// The header of a token (RFC 7515, 4.1), as far as it counts.
struct Header {
    algorithm: Algorithm,
    key_id: Option<String>,
}

/// Why a token is not accepted.
enum Refused {
    /// A key that is not known yet might verify it.
    WithoutKey,
    /// It would not be with other keys.
    For(Unauthenticated),
}

/// The bytes of a token, at most.
const MAX_BYTES: usize = 16 << 10;
/// The bytes of a secret, at least.
const MIN_SECRET: usize = 32;
/// The keys that are tried for a token that does not name its key, at most.
const MAX_TRIED: usize = 10;
/// The accepted tokens that are kept, at most.
const MAX_KEPT: usize = 10_000;
const BY_DEFAULT: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

impl Tokens {
    /// What verifies the tokens that these settings accept; none when they accept none.
    ///
    /// # Errors
    ///
    /// When a setting is missing, two contradict each other, or a file of one cannot be read.
    pub async fn new(settings: &AccessSettings, telemetry: &Telemetry) -> anyhow::Result<Option<Self>> {
        ensure_consistent(settings).map_err(WrongSetting::from)?;
        if !settings.accepts_tokens() {
            return Ok(None);
        }
        crypto::install();
        let (keys, by_default) = match &settings.jwt_secret_file {
            Some(file) => (Keys::Secret(Arc::new(secret(file).map_err(WrongSetting::from)?)), &[Algorithm::HS256][..]),
            None => (Keys::Sources(KeySource::from_settings(settings, telemetry).await?), &BY_DEFAULT[..]),
        };
        let algorithms = Some(&settings.jwt_algorithms[..]).filter(|algorithms| !algorithms.is_empty());
        Ok(Some(Self {
            rules: Rules::new(settings),
            algorithms: algorithms.unwrap_or(by_default).to_vec(),
            keys,
            accepted: Cache::new(MAX_KEPT),
        }))
    }

    /// The age of the oldest key set.
    #[must_use]
    pub fn key_set_age(&self) -> Option<Duration> {
        let Keys::Sources(sources) = &self.keys else { return None };
        sources.iter().filter_map(|source| source.age()).max()
    }

    /// Whose token it is.
    ///
    /// # Errors
    ///
    /// When it is not accepted.
    pub async fn verify(&self, token: &str) -> Result<Principal, Unauthenticated> {
        if token.len() > MAX_BYTES {
            return Err(Unauthenticated::Invalid("it is longer than 16 KiB"));
        }
        let hash = Sha256::digest(token).into();
        if let Some(kept) = self.accepted.get(&hash)
            && self.keys.current(kept.source).is_some_and(|set| set.digest == kept.set)
        {
            let has_ended = kept.principal.expires_at.is_none_or(|end| SystemTime::now() >= end);
            return if has_ended { Err(Unauthenticated::Expired) } else { Ok(kept.principal) };
        }
        let accepted = self.verify_anew(token).await?;
        let principal = accepted.principal.clone();
        self.accepted.insert(hash, accepted);
        Ok(principal)
    }

    async fn verify_anew(&self, token: &str) -> Result<Accepted, Unauthenticated> {
        let header = self.header(token).map_err(Unauthenticated::Invalid)?;
        let mut sets = self.keys.all();
        let mut outcome = self.verify_by(&sets, &header, token);
        if matches!(outcome, Err(Refused::WithoutKey)) {
            self.keys.ask().await;
            let newer = self.keys.all();
            if !are_the_same(&sets, &newer) {
                outcome = self.verify_by(&newer, &header, token);
                sets = newer;
            }
        }
        outcome.map_err(|refused| match refused {
            Refused::For(reason) => reason,
            Refused::WithoutKey if sets.iter().any(Option::is_none) => Unauthenticated::Unavailable,
            Refused::WithoutKey if header.key_id.is_some() => Unauthenticated::Invalid("its key (kid) is not known"),
            Refused::WithoutKey => Unauthenticated::Invalid("its signature is of no known key"),
        })
    }

    /// What the header of a token says. The algorithm is one of the setting.
    fn header(&self, token: &str) -> Result<Header, &'static str> {
        let parts: Vec<_> = token.splitn(4, '.').collect();
        let [header, _, _] = parts[..] else { return Err("it is no JSON Web Token") };
        let header = URL_SAFE_NO_PAD.decode(header).ok();
        let header: Option<Map<String, Value>> = header.and_then(|header| serde_json::from_slice(&header).ok());
        let header = header.ok_or("its header is not readable")?;
        // Nothing that could be critical is known here (RFC 7515, 4.1.11).
        if header.contains_key("crit") {
            return Err("its header has critical parameters (crit)");
        }
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(|name| name.parse().ok());
        let algorithm = algorithm.filter(|algorithm| self.algorithms.contains(algorithm));
        let algorithm = algorithm.ok_or("its algorithm (alg) is none of --jwt-algorithms")?;
        let key_id = match (&self.keys, header.get("kid")) {
            (Keys::Secret(_), _) | (_, None) => None,
            (_, Some(Value::String(id))) => Some(id.clone()),
            (_, Some(_)) => return Err("its key (kid) is not text"),
        };
        Ok(Header { algorithm, key_id })
    }

    fn verify_by(&self, sets: &Sets, header: &Header, token: &str) -> Result<Accepted, Refused> {
        let invalid = |reason| Err(Refused::For(Unauthenticated::Invalid(reason)));
        let keys = sets.iter().enumerate().filter_map(|(source, set)| Some((source, set.as_ref()?)));
        let keys = keys.flat_map(|(source, set)| set.keys.iter().map(move |key| (source, set, key)));
        let named: Vec<_> = match &header.key_id {
            Some(id) => keys.filter(|(.., key)| key.id.as_deref() == Some(id)).collect(),
            None => keys.collect(),
        };
        let fitting = named.iter().filter(|(.., key)| key.algorithms.contains(&header.algorithm)).take(MAX_TRIED);
        for (source, set, key) in fitting.clone() {
            if let Some(claims) = claims_by(key, header.algorithm, token)? {
                let principal = self.rules.principal(&claims, SystemTime::now()).map_err(Refused::For)?;
                return Ok(Accepted { principal, source: *source, set: set.digest });
            }
        }
        if header.key_id.is_none() || named.is_empty() {
            Err(Refused::WithoutKey)
        } else if fitting.count() == 0 {
            invalid("its algorithm (alg) is not the one of its key")
        } else {
            invalid("its signature is wrong")
        }
    }
}

impl Keys {
    /// The keys that each of the sources has now.
    fn all(&self) -> Sets {
        match self {
            Self::Secret(set) => vec![Some(Arc::clone(set))],
            Self::Sources(sources) => sources.iter().map(KeySource::current).collect(),
        }
    }

    /// The keys that a source has now.
    fn current(&self, source: usize) -> Option<Arc<KeySet>> {
        match self {
            Self::Secret(set) => Some(Arc::clone(set)),
            Self::Sources(sources) => sources.get(source)?.current(),
        }
    }

    /// Fetches the key sets again for a key that none of them has, from all sources at once, and waits for them.
    async fn ask(&self) {
        let Self::Sources(sources) = self else { return };
        let running: Vec<_> = sources.iter().filter_map(KeySource::ask).collect();
        for mut running in running {
            // A source that is gone has ended its fetch.
            let _ = running.changed().await;
        }
    }
}

fn are_the_same(one: &Sets, other: &Sets) -> bool {
    one.iter()
        .map(|set| set.as_ref().map(|set| set.digest))
        .eq(other.iter().map(|set| set.as_ref().map(|set| set.digest)))
}

/// The claims of a token; none when its signature is not by this key.
fn claims_by(key: &Key, algorithm: Algorithm, token: &str) -> Result<Option<Value>, Refused> {
    let mut signature_only = Validation::new(algorithm);
    // The claims are looked at here, with the time at hand.
    signature_only.required_spec_claims.clear();
    signature_only.validate_exp = false;
    signature_only.validate_aud = false;
    match decode(token, &key.decoding, &signature_only) {
        Ok(token) => Ok(Some(token.claims)),
        Err(error) => match error.kind() {
            ErrorKind::InvalidSignature | ErrorKind::Base64(_) => Ok(None),
            _ => Err(Refused::For(Unauthenticated::Invalid("its header or its claims are not readable"))),
        },
    }
}

fn secret(file: &Path) -> anyhow::Result<KeySet> {
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

/// Checks that the settings say which tokens are accepted, and do not contradict each other.
fn ensure_consistent(settings: &AccessSettings) -> anyhow::Result<()> {
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
