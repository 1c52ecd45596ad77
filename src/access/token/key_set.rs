//! The keys that verify tokens, as a JSON Web Key Set (RFC 7517) has them.

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Keys that were read at one time.
#[derive(Debug)]
pub struct KeySet {
    pub keys: Vec<Key>,
    /// The SHA-256 of what they were read from: equal for equal sets.
    pub digest: [u8; 32],
}

/// A key that verifies tokens.
#[derive(Debug)]
pub struct Key {
    /// Its `kid`.
    pub id: Option<Box<str>>,
    /// What tokens may be signed with by it.
    pub algorithms: &'static [Algorithm],
    pub decoding: DecodingKey,
}

/// A JSON Web Key (RFC 7517, 4; RFC 7518, 6). What is not named here is not used.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<Box<str>>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The smallest modulus of RSA.
const MIN_RSA_BITS: usize = 2_048;
const RSA: &[Algorithm] =
    &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

impl KeySet {
    /// The keys of a document. Those that cannot verify tokens, or are not meant to, are left out.
    ///
    /// # Errors
    ///
    /// When it is no key set.
    pub fn parse(document: &[u8]) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }

        // What serde says of the place may repeat the text.
        let document_of_keys: Option<Document> = serde_json::from_slice(document).ok();
        let Document { keys } = document_of_keys.context("it is no JSON Web Key Set")?;
        let keys = keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok()?.into_key()).collect();
        Ok(Self { keys, digest: Sha256::digest(document).into() })
    }

    /// The one key that is a secret.
    #[must_use]
    pub fn of_secret(secret: &[u8]) -> Self {
        let algorithms = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
        let key = Key { id: None, algorithms, decoding: DecodingKey::from_secret(secret) };
        Self { keys: vec![key], digest: [0; 32] }
    }
}

impl Jwk {
    fn into_key(self) -> Option<Key> {
        let is_for_signatures = self.usage.as_deref().is_none_or(|usage| usage == "sig");
        let verifies = self.key_ops.as_ref().is_none_or(|names| names.iter().any(|name| name == "verify"));
        if !is_for_signatures || !verifies {
            return None;
        }
        let (possible, decoding) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => (RSA, rsa(self.n.as_deref()?, self.e.as_deref()?)?),
            ("EC", Some("P-256")) => (&[Algorithm::ES256][..], ec(self.x.as_deref()?, self.y.as_deref()?, 32)?),
            ("EC", Some("P-384")) => (&[Algorithm::ES384][..], ec(self.x.as_deref()?, self.y.as_deref()?, 48)?),
            ("OKP", Some("Ed25519")) => (&[Algorithm::EdDSA][..], ed25519(self.x.as_deref()?)?),
            _ => return None,
        };
        let algorithms = match self.alg {
            None => possible,
            Some(name) => {
                let algorithm: Algorithm = name.parse().ok()?;
                let place = possible.iter().position(|possible| *possible == algorithm)?;
                possible.get(place..=place)?
            }
        };
        Some(Key { id: self.kid, algorithms, decoding })
    }
}

fn rsa(modulus: &str, exponent: &str) -> Option<DecodingKey> {
    let [modulus, exponent] = [number(modulus)?, number(exponent)?];
    let bits = (modulus.len() * 8).checked_sub(usize::try_from(modulus.first()?.leading_zeros()).ok()?)?;
    (bits >= MIN_RSA_BITS).then(|| DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

/// A point that is not compressed.
fn ec(x: &str, y: &str, length: usize) -> Option<DecodingKey> {
    let [x, y] = [bytes(x)?, bytes(y)?];
    let has_length = x.len() == length && y.len() == length;
    has_length.then(|| DecodingKey::from_ec_der(&[&[4], &x[..], &y].concat()))
}

fn ed25519(x: &str) -> Option<DecodingKey> {
    let x = bytes(x)?;
    (x.len() == 32).then(|| DecodingKey::from_ed_der(&x))
}

/// A number without zeros before it, which some issuers send.
fn number(text: &str) -> Option<Vec<u8>> {
    let mut bytes = bytes(text)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.drain(..zeros);
    Some(bytes)
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
