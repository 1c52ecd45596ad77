//! The settings of who may do what: tokens, their keys, API keys, and the scopes of requests without a credential.

use std::{collections::HashMap, path::PathBuf, str::FromStr, time::Duration};

use clap::Args;
use jsonwebtoken::Algorithm;
use url::Url;

use super::setting::{Setting, flag, http_url_without_user, parsed, seconds, some_seconds};
use crate::schema::{Scope, Scopes};

/// Who may do what. Without any of these settings everybody may do everything.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Access")]
pub struct AccessSettings {
    /// Issuer of tokens, as in their claim `iss`; its discovery document has the keys unless --jwks is given
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_JWT_ISSUER",
        value_name = "ISSUER",
        value_parser = Setting(parsed::<Issuer>)
    )]
    pub jwt_issuer: Option<Issuer>,
    /// JSON Web Key Set that verifies tokens, by URL or as a file; one or several with commas, repeatable
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_JWKS",
        value_name = "KEYS",
        value_delimiter = ',',
        value_parser = Setting(parsed::<KeySetSource>)
    )]
    pub jwks: Vec<KeySetSource>,
    /// File with the secret that signs tokens by HS256, HS384 or HS512; excludes --jwks
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_JWT_SECRET_FILE",
        value_name = "FILE",
        value_parser = Setting(parsed::<PathBuf>)
    )]
    pub jwt_secret_file: Option<PathBuf>,
    /// Audience of this server in the claim `aud` of tokens; required with tokens; one or several with commas,
    /// repeatable
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_JWT_AUDIENCE",
        value_name = "AUDIENCE",
        value_delimiter = ',',
        value_parser = Setting(text)
    )]
    pub jwt_audience: Vec<String>,
    /// Algorithms that tokens may be signed with, with commas; HS256 with --jwt-secret-file, otherwise
    /// RS256,ES256,EdDSA
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_JWT_ALGORITHMS",
        value_name = "ALGORITHM",
        value_delimiter = ',',
        value_parser = Setting(algorithm)
    )]
    pub jwt_algorithms: Vec<Algorithm>,
    /// Seconds that the clock of the issuer may differ from the clock of this server
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_JWT_LEEWAY",
        default_value = "30",
        value_name = "SECONDS",
        value_parser = Setting(seconds)
    )]
    pub jwt_leeway: Duration,
    /// JSON pointer to the claim with the scopes, a list or text with spaces; of several with commas the first that
    /// exists
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_JWT_SCOPES",
        default_value = "/scope",
        value_name = "POINTER",
        value_delimiter = ',',
        value_parser = Setting(pointer)
    )]
    pub jwt_scopes: Vec<String>,
    /// Scopes that a name in a token stands for, such as editors=read+write; one or several with commas, repeatable
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_JWT_SCOPE_MAP",
        value_name = "NAME=SCOPES",
        value_delimiter = ',',
        value_parser = Setting(mapping)
    )]
    pub jwt_scope_map: Vec<(String, Scopes)>,
    /// Seconds after which a key set is fetched again
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_JWKS_REFRESH",
        default_value = "600",
        value_name = "SECONDS",
        value_parser = Setting(some_seconds)
    )]
    pub jwks_refresh: Duration,
    /// Seconds between two fetches of a key set for keys that it does not have
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_JWKS_COOLDOWN",
        default_value = "30",
        value_name = "SECONDS",
        value_parser = Setting(some_seconds)
    )]
    pub jwks_cooldown: Duration,
    /// Seconds that a key set is used while it cannot be fetched again
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_JWKS_MAX_STALE",
        default_value = "86400",
        value_name = "SECONDS",
        value_parser = Setting(seconds)
    )]
    pub jwks_max_stale: Duration,
    /// How long a key set, or the discovery document of an issuer, may take
    #[arg(skip = Duration::from_secs(5))]
    pub jwks_timeout: Duration,
    /// Accept the API keys of the database, which the command `key create` makes
    #[arg(long, global = true, env = "HERO_TEAMS_API_KEYS", value_parser = Setting(flag))]
    pub api_keys: bool,
    /// Scopes of a request without a credential, with commas; none if another setting for access is given, otherwise
    /// all
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_ANONYMOUS",
        value_name = "SCOPE",
        value_delimiter = ',',
        value_parser = Setting(parsed::<Scope>)
    )]
    pub anonymous: Vec<Scope>,
}

impl AccessSettings {
    /// Whether tokens or API keys are accepted.
    #[must_use]
    pub fn authenticates(&self) -> bool {
        self.accepts_tokens() || self.api_keys
    }

    /// Whether tokens are accepted.
    #[must_use]
    pub fn accepts_tokens(&self) -> bool {
        self.jwt_issuer.is_some() || !self.jwks.is_empty() || self.jwt_secret_file.is_some()
    }

    /// Whether any setting says who may do what.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.authenticates() || !self.anonymous.is_empty()
    }

    /// The scopes that names in tokens stand for.
    #[must_use]
    pub fn scope_map(&self) -> HashMap<String, Scopes> {
        let mut map = HashMap::new();
        for (name, scopes) in &self.jwt_scope_map {
            let entry: &mut Scopes = map.entry(name.clone()).or_default();
            *entry = entry.union(*scopes);
        }
        map
    }
}

/// The issuer of tokens: a URL, compared character by character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer(String);

impl Issuer {
    /// The issuer as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Issuer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match http_url_without_user(text) {
            Some(url) if url.query().is_none() && url.fragment().is_none() => Ok(Self(text.to_owned())),
            _ => Err("the URL of an issuer is expected, such as https://login.example.com/realms/heroes".to_owned()),
        }
    }
}

/// Where a JSON Web Key Set (RFC 7517) is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySetSource {
    /// `https://login.example.com/keys`
    Url(Url),
    /// A file, which is read when it is asked for again.
    File(PathBuf),
}

impl FromStr for KeySetSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "https://HOST/PATH or the path of a file is expected".to_owned();
        if text.contains("://") {
            http_url_without_user(text).map(Self::Url).ok_or_else(expected)
        } else if text.is_empty() {
            Err(expected())
        } else {
            Ok(Self::File(text.into()))
        }
    }
}

fn text(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("text is expected".to_owned()) } else { Ok(text.to_owned()) }
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    text.parse().map_err(|_| {
        "one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA, HS256, HS384, HS512 is expected"
            .to_owned()
    })
}

fn pointer(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err("a JSON pointer is expected, such as /scope or /realm_access/roles".to_owned())
    }
}

fn mapping(text: &str) -> Result<(String, Scopes), String> {
    let expected = || "NAME=SCOPE+SCOPE is expected, such as editors=read+write".to_owned();
    let (name, scopes) = text.rsplit_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(expected)?;
    let scopes = scopes.split('+').map(str::parse::<Scope>).collect::<Result<Scopes, _>>();
    scopes.map(|scopes| (name.to_owned(), scopes)).map_err(|_| expected())
}
