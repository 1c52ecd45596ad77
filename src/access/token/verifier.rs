//! Whether a token is accepted, and who sends it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, Validation, decode, errors::ErrorKind};
use quick_cache::sync::Cache;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::{
    claims::Rules,
    crypto,
    key_set::Key,
    key_source::KeySource,
    keys::{Keys, Sets, are_the_same, secret},
    settings::ensure_consistent,
};
use crate::{
    access::{Principal, Unauthenticated},
    config::{AccessSettings, WrongSetting},
    telemetry::Telemetry,
};

/// The bytes of a token, at most.
const MAX_BYTES: usize = 16 << 10;
/// The keys that are tried for a token, at most.
const MAX_TRIED: usize = 10;
/// The accepted tokens that are kept, at most.
const MAX_KEPT: usize = 10_000;
const BY_DEFAULT: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

/// What verifies tokens.
#[derive(Debug)]
pub struct Tokens {
    rules: Rules,
    algorithms: Vec<Algorithm>,
    keys: Keys,
    /// Tokens that were accepted, by their SHA-256.
    accepted: Cache<[u8; 32], Accepted>,
}

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
    /// No other key would change that.
    For(Unauthenticated),
}

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
