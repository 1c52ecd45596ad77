//! JSON Web Tokens, as clients bring them, and the issuers that make them.

mod issuer;

use std::{
    path::Path,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use axum::{
    body::Body,
    http::{Request, StatusCode, header::AUTHORIZATION},
};
use hero_teams::{
    access::{Access, Credential, Principal, Unauthenticated},
    config::AccessSettings,
    db::Db,
    schema::{Scope, Scopes},
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use self::issuer::{AUDIENCE, Answer, Issuer, SigningKey, base64, key_set, now};
use crate::{
    command_line::{Server, command, run, wrong_setting},
    databases::TestDatabase,
    logged::Log,
    support::{TestApp, config, connect, json_body, until},
};

/// A time that no test lives to see, and one that is over at once.
const NEVER: &str = "86400";
const AT_ONCE: &str = "0.000000001";

/// A way to authenticate, with a database that has no say in it.
struct Verifier {
    access: Access,
    db: Db,
    database: TestDatabase,
}

impl Verifier {
    async fn new(flags: &[&str]) -> Self {
        Self::with(settings(flags)).await.expect("the settings are right")
    }

    async fn with(settings: AccessSettings) -> anyhow::Result<Self> {
        let database = TestDatabase::sqlite();
        let db = connect(&database.url).await;
        Ok(Self { access: Access::new(&settings, &db).await?, db, database })
    }

    async fn verify(&self, token: &str) -> Result<Principal, Unauthenticated> {
        self.access.authenticate(Some(Credential::Token(token))).await
    }

    /// The scopes that a token gives.
    async fn scopes(&self, token: &str) -> Vec<Scope> {
        self.verify(token).await.expect("it is accepted").scopes.iter().collect()
    }

    async fn close(self) {
        self.db.close().await.expect("the database closes");
        self.database.remove().await;
    }
}

/// Settings for access with an audience.
fn settings(flags: &[&str]) -> AccessSettings {
    config(&[flags, &["--jwt-audience", AUDIENCE]].concat()).access
}

fn invalid<T>(reason: &'static str) -> Result<T, Unauthenticated> {
    Err(Unauthenticated::Invalid(reason))
}

/// Writes a file, which nobody sees in parts.
fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> String {
    let (path, new) = (folder.join(name), folder.join("new"));
    std::fs::write(&new, content).expect("the folder is there");
    std::fs::rename(&new, &path).expect("the folder is there");
    path.to_str().expect("it is text").to_owned()
}

/// What a future gives if it need not wait.
fn at_once<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Option<F::Output> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

const UNKNOWN: &str = "its key (kid) is not known";
const WRONG: &str = "its signature is wrong";
const OTHER_ALGORITHM: &str = "its algorithm (alg) is none of --jwt-algorithms";
const OF_OTHER_KEY: &str = "its algorithm (alg) is not the one of its key";

#[tokio::test]
async fn each_algorithm_verifies() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = SigningKey::secret(b"a secret of thirty-two bytes, no less");
    let secret_file = write(folder.path(), "secret", "a secret of thirty-two bytes, no less\r\n");
    let keys = [SigningKey::rsa("a"), SigningKey::p256("b"), SigningKey::p384("c"), SigningKey::ed25519("d")];
    let [rsa, p256, p384, ed25519] = &keys;
    let set = write(folder.path(), "keys.json", key_set(&keys.each_ref()).to_string());
    for (algorithm, key) in [
        ("RS256", rsa),
        ("RS384", rsa),
        ("RS512", rsa),
        ("PS256", rsa),
        ("PS384", rsa),
        ("PS512", rsa),
        ("ES256", p256),
        ("ES384", p384),
        ("EdDSA", ed25519),
        ("HS256", &secret),
        ("HS384", &secret),
        ("HS512", &secret),
    ] {
        let source = if key.id == "secret" { ["--jwt-secret-file", &secret_file] } else { ["--jwks", &set] };
        let verifier = Verifier::new(&[&source[..], &["--jwt-algorithms", algorithm]].concat()).await;
        let end = now() + 600;
        let token = key.token_with(json!({"alg": algorithm}), json!({"exp": end, "scope": "read write"}));
        let principal = Principal {
            is_anonymous: false,
            name: Some("ada".into()),
            scopes: Scopes::NONE.with(Scope::Read).with(Scope::Write),
            expires_at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(end + 30)),
        };
        // The second time it is known.
        assert_eq!(verifier.verify(&token).await, Ok(principal.clone()), "{algorithm}");
        assert_eq!(verifier.verify(&token).await, Ok(principal), "{algorithm}");

        let (message, signature) = token.rsplit_once('.').expect("it has a signature");
        let forged = format!("{message}.{}", signature.chars().rev().collect::<String>());
        assert_eq!(verifier.verify(&forged).await, invalid(wrong(key)), "{algorithm}");
        assert_eq!(verifier.verify(&format!("{message}.")).await, invalid(wrong(key)), "{algorithm}");
        for other in [rsa, p256, p384, ed25519, &secret] {
            if other.algorithm() != algorithm && other.id != key.id {
                let token = other.token_with(json!({"kid": key.id}), json!({}));
                assert_eq!(verifier.verify(&token).await, invalid(OTHER_ALGORITHM), "{algorithm}");
                let token = other.token_with(json!({"kid": key.id, "alg": algorithm}), json!({}));
                assert_eq!(verifier.verify(&token).await, invalid(wrong(key)), "{algorithm}");
            }
        }
        verifier.close().await;
    }
}

/// A secret has no name, so a token does not say that it is of this one.
fn wrong(key: &SigningKey) -> &'static str {
    if key.id == "secret" { "its signature is of no known key" } else { WRONG }
}

#[tokio::test]
async fn the_algorithm_is_the_one_of_the_setting_and_of_the_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let [rsa, p256, bound] = [SigningKey::rsa("rsa"), SigningKey::p256("p256"), SigningKey::rsa("bound")];
    let mut set = key_set(&[&rsa, &p256]);
    let mut jwk = bound.jwk();
    jwk["alg"] = json!("RS256");
    set["keys"].as_array_mut().expect("it is a list").push(jwk);
    let set = write(folder.path(), "keys.json", set.to_string());
    let verifier = Verifier::new(&["--jwks", &set, "--jwt-algorithms", "RS256,PS256,ES256"]).await;
    let alg = |key: &SigningKey, name: &str| key.token_with(json!({"alg": name}), json!({}));

    assert!(verifier.verify(&alg(&rsa, "PS256")).await.is_ok());
    assert!(verifier.verify(&alg(&bound, "RS256")).await.is_ok());
    assert_eq!(verifier.verify(&alg(&bound, "PS256")).await, invalid(OF_OTHER_KEY));
    assert_eq!(verifier.verify(&alg(&rsa, "RS512")).await, invalid(OTHER_ALGORITHM));
    assert_eq!(verifier.verify(&rsa.token_with(json!({"kid": "p256"}), json!({}))).await, invalid(OF_OTHER_KEY));
    assert_eq!(verifier.verify(&p256.token_with(json!({"kid": "rsa"}), json!({}))).await, invalid(OF_OTHER_KEY));

    // What everybody knows of the key is no secret.
    let jwk = rsa.jwk();
    let public = [jwk["n"].as_str().expect("text").as_bytes(), jwk.to_string().as_bytes()].map(SigningKey::secret);
    for secret in public {
        for name in ["HS256", "HS512"] {
            let token = secret.token_with(json!({"alg": name, "kid": "rsa"}), json!({}));
            assert_eq!(verifier.verify(&token).await, invalid(OTHER_ALGORITHM));
        }
    }
    for name in ["none", "None", "NONE", "", "rs256", "RS256 ", "ES256K", "HS256"] {
        let signed = rsa.token_with(json!({"alg": name}), json!({}));
        let (message, _) = signed.rsplit_once('.').expect("it has a signature");
        for token in [&signed, &format!("{message}.")] {
            assert_eq!(verifier.verify(token).await, invalid(OTHER_ALGORITHM), "{name}");
        }
    }
    verifier.close().await;
}

#[tokio::test]
async fn keys_that_are_not_for_signatures_are_not_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = SigningKey::p256("key");
    let rsa = SigningKey::rsa("key");
    let secret = SigningKey::secret(b"a secret of thirty-two bytes, no less");
    let with = |key: &SigningKey, name: &str, value: Value| {
        let mut jwk = key.jwk();
        jwk[name] = value;
        jwk
    };
    let mut small = rsa.jwk();
    small["n"] = json!(base64(&[0xff; 255]));
    let token = key.token(json!({}));
    for (jwk, token) in [
        (with(&key, "use", json!("enc")), token.clone()),
        (with(&key, "key_ops", json!(["sign"])), token.clone()),
        (with(&key, "key_ops", json!([])), token.clone()),
        (with(&key, "alg", json!("ES384")), token.clone()),
        (with(&key, "alg", json!("HS256")), token.clone()),
        (with(&key, "alg", json!("none")), token.clone()),
        (with(&key, "crv", json!("P-521")), token.clone()),
        (with(&key, "kty", json!("RSA")), token.clone()),
        (with(&key, "x", json!("AQ")), token.clone()),
        (with(&key, "x", json!("not base64!")), token.clone()),
        (with(&key, "x", json!(7)), token.clone()),
        (with(&rsa, "alg", json!("RSA-OAEP")), rsa.token(json!({}))),
        (with(&rsa, "n", json!("")), rsa.token(json!({}))),
        (small, rsa.token(json!({}))),
        (secret.jwk(), secret.token(json!({}))),
        (json!({}), token.clone()),
        (json!(7), token.clone()),
    ] {
        let set = write(folder.path(), "keys.json", json!({"keys": [jwk]}).to_string());
        let verifier = Verifier::new(&["--jwks", &set]).await;
        let reason = if jwk["kty"] == "oct" { OTHER_ALGORITHM } else { UNKNOWN };
        assert_eq!(verifier.verify(&token).await, invalid(reason), "{jwk}");
        verifier.close().await;
    }
    // What stands beside them is used, and what is not known of it is no matter.
    let mut jwk = with(&key, "use", json!("sig"));
    jwk["key_ops"] = json!(["verify", "something"]);
    jwk["x5c"] = json!(7);
    let set = json!({"keys": [7, {"kty": "new"}, secret.jwk(), jwk], "more": {}});
    let set = write(folder.path(), "keys.json", set.to_string());
    let verifier = Verifier::new(&["--jwks", &set]).await;
    assert!(verifier.verify(&token).await.is_ok());
    verifier.close().await;
}

#[tokio::test]
async fn claims_hold_or_the_token_is_refused() {
    const END: &str = "its end (exp) is missing, or is no number of seconds";
    const BEGINNING: &str = "its beginning (nbf) is no number of seconds";
    const EARLY: &str = "its time has not come (nbf)";
    const FOR_OTHERS: &str = "its audience (aud) is none of --jwt-audience";
    const OF_OTHERS: &str = "its issuer (iss) is not the one of --jwt-issuer";
    const UNREADABLE: &str = "its header or its claims are not readable";
    let folder = tempfile::tempdir().expect("a folder");
    let key = SigningKey::ed25519("key");
    let set = write(folder.path(), "keys.json", key_set(&[&key]).to_string());
    let issuer = "https://login.example/realms/heroes";
    let flags = ["--jwks", &set, "--jwt-issuer", issuer, "--jwt-leeway", "3600", "--jwt-audience", "others"];
    let verifier = Verifier::new(&flags).await;
    let now = now();
    let token = |mut claims: Value| {
        if claims.get("iss").is_none() {
            claims["iss"] = json!(issuer);
        }
        key.token(claims)
    };
    for claims in [
        json!({}),
        json!({"aud": ["a", "others"]}),
        json!({"aud": [7, null, AUDIENCE]}),
        json!({"nbf": now + 3_600}),
        json!({"nbf": now + 3_599, "iat": "yesterday"}),
        json!({"nbf": 0, "exp": 253_402_300_799_u64}),
        // The test may take ten minutes.
        json!({"exp": now - 3_000}),
        json!({"exp": f64::from(u32::try_from(now).expect("it is before 2106")) + 0.5}),
    ] {
        assert!(verifier.verify(&token(claims.clone())).await.is_ok(), "{claims}");
    }
    for (claims, outcome) in [
        (json!({"exp": null}), invalid(END)),
        (json!({"exp": (now + 600).to_string()}), invalid(END)),
        (json!({"exp": -1}), invalid(END)),
        (json!({"exp": [now + 600]}), invalid(UNREADABLE)),
        (json!({"exp": true}), invalid(END)),
        (json!({"exp": u64::MAX}), invalid(END)),
        (json!({"exp": 1e300}), invalid(END)),
        (json!({"exp": (now + 600) * 1_000}), invalid(END)),
        (json!({"exp": now - 3_600}), Err(Unauthenticated::Expired)),
        (json!({"exp": 0}), Err(Unauthenticated::Expired)),
        (json!({"nbf": now + 7_200}), invalid(EARLY)),
        (json!({"nbf": "0"}), invalid(BEGINNING)),
        (json!({"nbf": [0]}), invalid(UNREADABLE)),
        (json!({"aud": null}), invalid(FOR_OTHERS)),
        (json!({"aud": "hero"}), invalid(FOR_OTHERS)),
        (json!({"aud": "heroes others"}), invalid(FOR_OTHERS)),
        (json!({"aud": []}), invalid(FOR_OTHERS)),
        (json!({"aud": [["heroes"]]}), invalid(FOR_OTHERS)),
        (json!({"aud": {"heroes": true}}), invalid(FOR_OTHERS)),
        (json!({"iss": null}), invalid(OF_OTHERS)),
        (json!({"iss": format!("{issuer}/")}), invalid(OF_OTHERS)),
        (json!({"iss": [issuer]}), invalid(OF_OTHERS)),
        // Only what was valid once has expired.
        (json!({"exp": 0, "aud": "hero"}), invalid(FOR_OTHERS)),
        (json!({"exp": 0, "iss": "hero"}), invalid(OF_OTHERS)),
    ] {
        assert_eq!(verifier.verify(&token(claims.clone())).await, outcome, "{claims}");
    }
    let header = r#"{"alg":"EdDSA","kid":"key"}"#;
    let claims = |exp: &str| format!(r#"{{"iss":"{issuer}","aud":"heroes"{exp}}}"#);
    assert!(verifier.verify(&key.signed("EdDSA", header, &claims(r#","exp":4e9"#))).await.is_ok());
    for (text, reason) in [
        (claims(""), END),
        (claims(r#","exp":null"#), END),
        (claims(r#","exp":4e9,"nbf":null"#), BEGINNING),
        (claims(r#","exp":-0.5"#), END),
        (claims(r#","exp":1e400"#), UNREADABLE),
        (claims(r#","exp":NaN"#), UNREADABLE),
        (claims(r#","exp":4e9,"exp":4e9"#), UNREADABLE),
        (format!("[{}]", claims(r#","exp":4e9"#)), UNREADABLE),
        ("null".to_owned(), UNREADABLE),
        (String::new(), UNREADABLE),
        ("[".repeat(5_000), UNREADABLE),
    ] {
        assert_eq!(verifier.verify(&key.signed("EdDSA", header, &text)).await, invalid(reason), "{text}");
    }
    verifier.close().await;
}

#[tokio::test]
async fn headers_are_what_they_must_be() {
    const NO_TOKEN: &str = "it is no JSON Web Token";
    const UNREADABLE: &str = "its header is not readable";
    const CRITICAL: &str = "its header has critical parameters (crit)";
    let folder = tempfile::tempdir().expect("a folder");
    let key = SigningKey::p256("key");
    let set = write(folder.path(), "keys.json", key_set(&[&key]).to_string());
    let verifier = Verifier::new(&["--jwks", &set]).await;
    let valid = key.token(json!({}));
    let claims = json!({"aud": AUDIENCE, "exp": now() + 600}).to_string();
    let padding = "x".repeat(16 << 10);

    for (header, reason) in [
        (r#"{"alg":"ES256","kid":"key","crit":["exp"],"exp":1}"#, CRITICAL),
        (r#"{"alg":"ES256","kid":"key","crit":[]}"#, CRITICAL),
        (r#"{"alg":"ES256","kid":"key","crit":null}"#, CRITICAL),
        (r#"{"alg":"ES256","kid":"key","b64":false,"crit":["b64"]}"#, CRITICAL),
        (r#"{"alg":"ES256","kid":7}"#, "its key (kid) is not text"),
        (r#"{"alg":"ES256","kid":null}"#, "its key (kid) is not text"),
        (r#"{"alg":["ES256"],"kid":"key"}"#, OTHER_ALGORITHM),
        (r#"{"kid":"key"}"#, OTHER_ALGORITHM),
        (r#"{"alg":"none","alg":"ES256","kid":"key"}"#, "its header or its claims are not readable"),
        (r#"["ES256"]"#, UNREADABLE),
        ("", UNREADABLE),
        ("{", UNREADABLE),
    ] {
        assert_eq!(verifier.verify(&key.signed("ES256", header, &claims)).await, invalid(reason), "{header}");
    }
    for id in
        ["", "../key", "/dev/null", "key\0", "KEY", "key' OR '1'='1", "file:///etc/passwd", "https://a.example/keys"]
    {
        let token = key.token_with(json!({"kid": id}), json!({}));
        assert_eq!(verifier.verify(&token).await, invalid(UNKNOWN), "{id}");
    }
    // Keys that a token brings are not looked at.
    let other = SigningKey::p256("other");
    for header in
        [json!({"jwk": other.jwk()}), json!({"jku": "https://a.example/keys"}), json!({"x5u": "https://a.example"})]
    {
        assert_eq!(verifier.verify(&other.token_with(header.clone(), json!({}))).await, invalid(UNKNOWN), "{header}");
    }
    for (token, reason) in [
        (String::new(), NO_TOKEN),
        ("..".to_owned(), UNREADABLE),
        ("a.b".to_owned(), NO_TOKEN),
        (format!("{valid}."), NO_TOKEN),
        (format!("{valid}.a.b"), NO_TOKEN),
        (format!(" {valid}"), UNREADABLE),
        (format!("{valid}="), WRONG),
        (key.token(json!({"padding": padding})), "it is longer than 16 KiB"),
    ] {
        assert_eq!(verifier.verify(&token).await, invalid(reason), "{token}");
    }
    assert!(verifier.verify(&valid).await.is_ok());
    verifier.close().await;
}

#[tokio::test]
async fn whatever_is_made_of_a_token_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = [SigningKey::rsa("rsa"), SigningKey::p256("p256"), SigningKey::ed25519("ed25519")];
    let set = write(folder.path(), "keys.json", key_set(&keys.each_ref()).to_string());
    let verifier = Verifier::new(&["--jwks", &set]).await;
    let mut random = fastrand::Rng::with_seed(13);
    for key in &keys {
        let valid = key.token(json!({}));
        assert!(verifier.verify(&valid).await.is_ok());
        for _ in 0..1_500 {
            let mut token = valid.clone().into_bytes();
            for _ in 0..random.usize(1..4) {
                let place = random.usize(0..token.len());
                let byte = random.choice(b"ABCXYZabcxyz0189-_.=+/ {}\"\\").copied().expect("there are some");
                match random.u8(0..5) {
                    0 => token[place] = byte,
                    1 => token.insert(place, byte),
                    2 => drop(token.remove(place)),
                    3 => token.swap(place, random.usize(0..valid.len() - 8)),
                    _ => token.truncate(place.max(valid.len() - 4)),
                }
            }
            let token = String::from_utf8(token).expect("it is ASCII");
            assert!(token == valid || verifier.verify(&token).await.is_err(), "{token}");
        }
        // The parts of different tokens do not go together.
        let other = key.token(json!({"sub": "eve", "scope": "admin"}));
        let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
        let (one, two) = (parts(&valid), parts(&other));
        assert!(verifier.verify(&format!("{}.{}.{}", one[0], two[1], one[2])).await.is_err());
    }
    verifier.close().await;
}

#[tokio::test]
async fn scopes_come_in_the_shapes_of_issuers() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = SigningKey::ed25519("key");
    let set = write(folder.path(), "keys.json", key_set(&[&key]).to_string());
    let none = json!(null);
    for (flags, cases) in [
        // By default, and as RFC 9068 has it.
        (
            &[][..],
            vec![
                (json!({"scope": "openid read profile read:secrets"}), vec![Scope::Read, Scope::ReadSecrets]),
                (json!({"scope": ["write", 7, null, "Read", "read write"]}), vec![Scope::Write]),
                (json!({"scope": "admin"}), vec![Scope::Admin]),
                (json!({"scope": "readwrite read,write READ"}), vec![]),
                (json!({"scope": {"read": true}}), vec![]),
                (json!({"scope": none, "scp": "read"}), vec![]),
            ],
        ),
        // Keycloak
        (
            &["--jwt-scopes", "/realm_access/roles", "--jwt-scope-map", "hero-editor=read+write,hero-reader=read"][..],
            vec![
                (
                    json!({"realm_access": {"roles": ["offline_access", "hero-editor"]}, "scope": "admin"}),
                    vec![Scope::Read, Scope::Write],
                ),
                (
                    json!({"realm_access": {"roles": ["hero-reader", "read:secrets"]}}),
                    vec![Scope::Read, Scope::ReadSecrets],
                ),
                (json!({"realm_access": {}}), vec![]),
                (json!({"realm_access": ["read"]}), vec![]),
            ],
        ),
        // Auth0
        (
            &["--jwt-scopes", "/permissions,/scope"][..],
            vec![
                (json!({"permissions": ["read", "write"], "scope": "admin"}), vec![Scope::Read, Scope::Write]),
                (json!({"permissions": [], "scope": "admin"}), vec![]),
                (json!({"scope": "read"}), vec![Scope::Read]),
            ],
        ),
        // Entra
        (
            &["--jwt-scopes", "/scp,/roles", "--jwt-scope-map", "Heroes.Read=read,Heroes.Secrets=read:secrets"][..],
            vec![
                (json!({"scp": "Heroes.Read Heroes.Secrets User.Read"}), vec![Scope::Read, Scope::ReadSecrets]),
                (json!({"roles": ["Heroes.Read"]}), vec![Scope::Read]),
            ],
        ),
        // A claim whose name is a URL
        (
            &["--jwt-scopes", "/https:~1~1a.example~1roles"][..],
            vec![(json!({"https://a.example/roles": "write"}), vec![Scope::Write])],
        ),
    ] {
        let verifier = Verifier::new(&[&["--jwks", &set], flags].concat()).await;
        for (mut claims, scopes) in cases {
            if claims.get("scope").is_none() {
                claims["scope"] = json!(null);
            }
            assert_eq!(verifier.scopes(&key.token(claims.clone())).await, scopes, "{claims}");
        }
        verifier.close().await;
    }
    let verifier = Verifier::new(&["--jwks", &set]).await;
    for (subject, name) in [
        (json!("ada"), Some("ada".to_owned())),
        (json!(null), None),
        (json!(7), None),
        (json!("a\n\u{1b}[31mb\0"), Some("a[31mb".to_owned())),
        (json!("é".repeat(200)), Some("é".repeat(128))),
    ] {
        let principal = verifier.verify(&key.token(json!({"sub": subject}))).await.expect("it is accepted");
        assert_eq!(principal.name.as_deref(), name.as_deref());
    }
    verifier.close().await;
}

#[tokio::test]
async fn a_token_that_names_no_key_is_tried_with_those_that_fit() {
    let keys: Vec<_> = (0..12).map(|_| SigningKey::p256("")).collect();
    let [rsa, stranger] = [SigningKey::rsa("rsa"), SigningKey::p256("stranger")];
    let all: Vec<_> = [&rsa].into_iter().chain(&keys).collect();
    let issuer = Issuer::with_keys(&all).await;
    let verifier = Verifier::new(&["--jwks", &issuer.keys_url(), "--jwks-cooldown", NEVER]).await;
    let without = |key: &SigningKey| key.token_with(json!({"kid": null}), json!({}));
    assert!(verifier.verify(&without(&rsa)).await.is_ok());
    for key in &keys[..10] {
        assert!(verifier.verify(&without(key)).await.is_ok());
    }
    // There is an end to it.
    for key in [&keys[10], &stranger] {
        assert_eq!(verifier.verify(&without(key)).await, invalid("its signature is of no known key"));
    }
    assert_eq!(issuer.requests(), ["/keys"]);
    verifier.close().await;
}

#[tokio::test]
async fn a_flood_of_unknown_keys_costs_one_fetch() {
    let key = SigningKey::ed25519("key");
    let issuer = Issuer::with_keys(&[&key]).await;
    let valid = key.token(json!({}));
    let forged = |number: usize| key.token_with(json!({"kid": format!("../../{number}")}), json!({}));

    // All ask before the first answer has come.
    issuer.answer("/keys", Answer::Nothing);
    let verifier = Verifier::new(&["--jwks", &issuer.keys_url(), "--jwks-cooldown", NEVER]).await;
    let tokens: Vec<_> = (0..1_000).map(forged).collect();
    let mut asking: Vec<_> = tokens.iter().map(|token| Box::pin(verifier.verify(token))).collect();
    let mut known = Box::pin(verifier.verify(&valid));
    for asks in &mut asking {
        assert_eq!(at_once(asks), None);
    }
    assert_eq!(at_once(&mut known), None);
    // Whoever goes takes nothing from the others.
    asking.truncate(900);
    issuer.answer("/keys", Answer::Document(key_set(&[&key])));
    assert!(known.await.is_ok());
    for asks in asking {
        assert_eq!(asks.await, invalid(UNKNOWN));
    }
    // Those that come later are not fetched for either.
    for token in &tokens {
        assert_eq!(at_once(&mut Box::pin(verifier.verify(token))), Some(invalid(UNKNOWN)));
    }
    assert_eq!(issuer.requests(), ["/keys"]);
    verifier.close().await;

    // All ask when the cool-down is over.
    let verifier = Verifier::new(&["--jwks", &issuer.keys_url(), "--jwks-cooldown", AT_ONCE]).await;
    assert!(verifier.verify(&valid).await.is_ok());
    assert_eq!(issuer.requests(), ["/keys"]);
    issuer.answer("/keys", Answer::Nothing);
    let mut asking: Vec<_> = tokens.iter().map(|token| Box::pin(verifier.verify(token))).collect();
    for asks in &mut asking {
        assert_eq!(at_once(asks), None);
    }
    // Known keys do not wait, whether or not the token was seen before.
    for token in [&valid, &key.token(json!({"sub": "bob"}))] {
        assert!(at_once(&mut Box::pin(verifier.verify(token))).is_some_and(|outcome| outcome.is_ok()));
    }
    issuer.answer("/keys", Answer::Document(key_set(&[&key])));
    for asks in asking {
        assert_eq!(asks.await, invalid(UNKNOWN));
    }
    assert_eq!(issuer.requests(), ["/keys"]);
    verifier.close().await;
}

#[tokio::test]
async fn keys_come_and_go() {
    let [old, new] = [SigningKey::rsa("old"), SigningKey::p256("new")];
    let (old_token, new_token) = (old.token(json!({})), new.token(json!({})));
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(folder.path(), "keys.json", key_set(&[&old]).to_string());
    let issuer = Issuer::with_keys(&[&old]).await;
    for source in [&issuer.keys_url(), &path] {
        let publish = |keys: &[&SigningKey]| {
            issuer.answer("/keys", Answer::Document(key_set(keys)));
            write(folder.path(), "keys.json", key_set(keys).to_string());
        };
        publish(&[&old]);

        // A token of a new key brings it.
        let flags = ["--jwks", source, "--jwks-refresh", NEVER, "--jwks-cooldown", AT_ONCE];
        let verifier = Verifier::new(&flags).await;
        assert!(verifier.verify(&old_token).await.is_ok());
        publish(&[&old, &new]);
        assert!(verifier.verify(&new_token).await.is_ok());
        assert!(verifier.verify(&old_token).await.is_ok());
        publish(&[&new]);
        assert_eq!(verifier.verify(&new.token_with(json!({"kid": "forged"}), json!({}))).await, invalid(UNKNOWN));
        assert_eq!(verifier.verify(&old_token).await, invalid(UNKNOWN));
        assert!(verifier.verify(&new_token).await.is_ok());
        // Nothing that was refused is kept.
        publish(&[&old]);
        assert!(verifier.verify(&old_token).await.is_ok());
        assert_eq!(verifier.verify(&new_token).await, invalid(UNKNOWN));
        verifier.close().await;

        // Time brings it as well, without anybody waiting for it.
        let flags = ["--jwks", source, "--jwks-refresh", AT_ONCE, "--jwks-cooldown", NEVER];
        let verifier = Verifier::new(&flags).await;
        assert!(verifier.verify(&old_token).await.is_ok());
        publish(&[&new]);
        until(async || match at_once(&mut Box::pin(verifier.verify(&old_token))) {
            Some(Ok(_)) => false,
            // A fetch runs, and the key is not there any more.
            None => true,
            Some(refused) => refused == invalid(UNKNOWN),
        })
        .await;
        assert_eq!(verifier.verify(&old_token).await, invalid(UNKNOWN));
        assert!(verifier.verify(&new_token).await.is_ok());
        verifier.close().await;
    }
}

/// How issuers fail, each in its own way.
fn failures(moved: &str) -> Vec<Answer> {
    let text = |text: &str| Answer::Bytes(text.to_owned());
    vec![
        text("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 11\r\n\r\n{\"keys\":[]}"),
        text("HTTP/1.1 204 No Content\r\n\r\n"),
        text("HTTP/1.1 206 Partial Content\r\nContent-Length: 11\r\n\r\n{\"keys\":[]}"),
        text(&format!("HTTP/1.1 302 Found\r\nLocation: {moved}\r\nContent-Length: 0\r\n\r\n")),
        text("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"keys\":["),
        text("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
        text("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"keys\":1}"),
        text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n"),
        text("SSH-2.0-OpenSSH\r\n"),
        text(&format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "a".repeat(1 << 20))),
        text(""),
        Answer::Document(json!([{"keys": []}])),
        Answer::Huge { has_length: true },
        Answer::Huge { has_length: false },
        Answer::Trickle,
        Answer::Nothing,
    ]
}

/// Settings of a server for an issuer that has less time than others.
fn impatient(flags: &[&str]) -> AccessSettings {
    AccessSettings { jwks_timeout: Duration::from_millis(200), ..settings(flags) }
}

#[tokio::test]
async fn an_issuer_that_fails_hurts_nobody() {
    let [key, forged] = [SigningKey::rsa("key"), SigningKey::p256("forged")];
    let (valid, forged_token) = (key.token(json!({})), forged.token(json!({})));
    let issuer = Issuer::with_keys(&[&key]).await;
    issuer.answer("/moved", Answer::Document(key_set(&[&key, &forged])));
    let url = issuer.keys_url();
    let flags = ["--jwks", &url, "--jwks-refresh", NEVER, "--jwks-cooldown", AT_ONCE];
    let verifier = Verifier::with(impatient(&flags)).await.expect("the settings are right");
    until(async || verifier.verify(&valid).await.is_ok()).await;
    for failure in failures("/moved") {
        issuer.requests();
        issuer.answer("/keys", failure.clone());
        let mut asks = Box::pin(verifier.verify(&forged_token));
        assert_eq!(at_once(&mut asks), None);
        for token in [&valid, &key.token(json!({"sub": "bob"}))] {
            assert!(at_once(&mut Box::pin(verifier.verify(token))).is_some_and(|outcome| outcome.is_ok()));
        }
        assert_eq!(asks.await, invalid(UNKNOWN), "{failure:?}");
        assert_eq!(issuer.requests(), ["/keys"], "{failure:?}");
        assert!(verifier.verify(&valid).await.is_ok());

        // Where there have never been keys, nobody can say whose token it is.
        let without = Verifier::with(impatient(&flags)).await.expect("the issuer may come later");
        assert_eq!(without.verify(&valid).await, Err(Unauthenticated::Unavailable), "{failure:?}");
        issuer.answer("/keys", Answer::Document(key_set(&[&key])));
        until(async || without.verify(&valid).await.is_ok()).await;
        without.close().await;
    }
    // Most of 1 GiB was not read, four times.
    assert!(issuer.sent() < 64 << 20, "{}", issuer.sent());

    issuer.go().await;
    assert_eq!(verifier.verify(&forged_token).await, invalid(UNKNOWN));
    assert!(verifier.verify(&valid).await.is_ok());
    verifier.close().await;

    let log = Log::of_this_test();
    let verifier = Verifier::with(impatient(&["--jwks", &format!("{url}?secret"), "--jwks-cooldown", NEVER])).await;
    let verifier = verifier.expect("the issuer may come later");
    for _ in 0..3 {
        assert_eq!(verifier.verify(&valid).await, Err(Unauthenticated::Unavailable));
    }
    let lines = log.lines();
    let warnings: Vec<_> = lines.iter().filter(|line| line["level"] == "WARN").map(|line| &line["fields"]).collect();
    assert_eq!(warnings.len(), 1, "{lines:?}");
    assert_eq!(warnings[0]["message"], "the keys of tokens cannot be fetched");
    assert_eq!(warnings[0]["keys"], json!(url));
    verifier.close().await;
}

#[tokio::test]
async fn keys_are_not_used_for_ever() {
    let key = SigningKey::ed25519("key");
    let token = key.token(json!({}));
    let issuer = Issuer::with_keys(&[&key]).await;
    let url = issuer.keys_url();
    let stale = |max_stale| {
        ["--jwks", &url, "--jwks-refresh", AT_ONCE, "--jwks-cooldown", AT_ONCE, "--jwks-max-stale", max_stale]
    };
    let lasting = Verifier::new(&stale(NEVER)).await;
    let mut ending = impatient(&stale("0"));
    // As long as a busy machine may need for a look at the first keys.
    ending.jwks_refresh = Duration::from_millis(300);
    let ending = Verifier::with(ending).await.expect("the settings are right");
    until(async || ending.verify(&token).await.is_ok()).await;
    assert!(lasting.verify(&token).await.is_ok());
    issuer.answer("/keys", Answer::Bytes("HTTP/1.1 500 A\r\nContent-Length: 0\r\n\r\n".to_owned()));
    until(async || ending.verify(&token).await == Err(Unauthenticated::Unavailable)).await;
    assert!(lasting.verify(&token).await.is_ok());
    // They are fetched again for whoever asks first.
    issuer.answer("/keys", Answer::Document(key_set(&[&key])));
    until(async || ending.verify(&token).await.is_ok()).await;
    ending.close().await;
    lasting.close().await;
}

#[tokio::test]
async fn an_issuer_says_where_its_keys_are() {
    const DISCOVERY: &str = "/realms/heroes/.well-known/openid-configuration";
    let key = SigningKey::rsa("key");
    let issuer = Issuer::with_keys(&[&key]).await;
    for slash in ["", "/"] {
        let name = format!("{}/realms/heroes{slash}", issuer.url);
        let token = key.token(json!({"iss": name}));
        let flags = ["--jwt-issuer", &name, "--jwks-cooldown", NEVER];
        let discovery =
            |issuer: &str, keys: &str| Answer::Document(json!({"issuer": issuer, "jwks_uri": keys, "more": []}));
        issuer.answer(DISCOVERY, discovery(&name, &issuer.keys_url()));
        issuer.requests();
        let verifier = Verifier::new(&flags).await;
        assert!(verifier.verify(&token).await.is_ok());
        assert_eq!(issuer.requests(), [DISCOVERY, "/keys"]);
        let other = key.token(json!({"iss": issuer.url}));
        assert_eq!(verifier.verify(&other).await, invalid("its issuer (iss) is not the one of --jwt-issuer"));
        verifier.close().await;

        for wrong in [
            discovery(&format!("{name}/"), &issuer.keys_url()),
            discovery(&name[..name.len() - 1], &issuer.keys_url()),
            discovery(&name.to_uppercase(), &issuer.keys_url()),
            discovery(&name, "file:///etc/passwd"),
            discovery(&name, "/keys"),
            discovery(&name, ""),
            Answer::Document(json!({"issuer": name})),
            Answer::Document(json!({"jwks_uri": issuer.keys_url()})),
            Answer::Document(key_set(&[&key])),
        ] {
            issuer.requests();
            issuer.answer(DISCOVERY, wrong.clone());
            let verifier = Verifier::new(&flags).await;
            assert_eq!(verifier.verify(&token).await, Err(Unauthenticated::Unavailable), "{wrong:?}");
            assert!(!issuer.requests().contains(&"/keys".to_owned()), "{wrong:?}");
            verifier.close().await;
        }
    }
}

#[tokio::test]
async fn there_may_be_several_key_sets() {
    let keys = [SigningKey::rsa("a"), SigningKey::p256("b"), SigningKey::ed25519("c")];
    let [a, b, c] = &keys;
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(folder.path(), "keys.json", key_set(&[a]).to_string());
    let [issuer, gone] = [Issuer::with_keys(&[b]).await, Issuer::with_keys(&[c]).await];
    let flags =
        ["--jwks", &format!("{path},{}", issuer.keys_url()), "--jwks", &gone.keys_url(), "--jwks-cooldown", AT_ONCE];
    let verifier = Verifier::new(&flags).await;
    let tokens = keys.each_ref().map(|key| key.token(json!({})));
    for token in &tokens {
        assert!(verifier.verify(token).await.is_ok());
    }
    gone.go().await;
    assert!(verifier.verify(&tokens[2]).await.is_ok());
    assert_eq!(verifier.verify(&a.token_with(json!({"kid": "d"}), json!({}))).await, invalid(UNKNOWN));
    verifier.close().await;

    // What one issuer does not answer is no matter to the tokens of the others.
    let verifier = Verifier::new(&[&flags[..2], &["--jwks", "http://127.0.0.1:1/keys"]].concat()).await;
    for token in &tokens[..2] {
        assert!(verifier.verify(token).await.is_ok());
    }
    assert_eq!(verifier.verify(&tokens[2]).await, Err(Unauthenticated::Unavailable));
    verifier.close().await;
}

#[tokio::test]
async fn settings_that_say_too_little_or_too_much_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let set = write(folder.path(), "keys.json", json!({"keys": []}).to_string());
    let long = write(folder.path(), "long", [b'a'; 32]);
    let short = write(folder.path(), "short", "1234567890123456789012345678901\n");
    let text = write(folder.path(), "text", "-----BEGIN PUBLIC KEY-----");
    let huge = write(folder.path(), "huge", " ".repeat((1 << 20) + 1));
    let nothing = folder.path().join("nothing").display().to_string();
    let audience = ["--jwt-audience", AUDIENCE];
    let need = "needs keys that verify tokens: set --jwt-issuer, --jwks or --jwt-secret-file as well";
    let missing =
        "--jwt-audience is missing: without it tokens that the issuer has made for other servers would be accepted";
    for (flags, said) in [
        (vec!["--jwks", &set], missing.to_owned()),
        (vec!["--jwt-secret-file", &long], missing.to_owned()),
        (vec!["--jwt-issuer", "https://login.example"], missing.to_owned()),
        (audience.to_vec(), format!("--jwt-audience {need}")),
        (vec!["--jwt-algorithms", "RS256", "--api-keys"], format!("--jwt-algorithms {need}")),
        (vec!["--jwt-scope-map", "a=read", "--api-keys"], format!("--jwt-scope-map {need}")),
        (
            [&audience[..], &["--jwks", &set, "--jwt-secret-file", &long]].concat(),
            "--jwt-secret-file and --jwks exclude each other: tokens are signed by a secret or by a key of a set"
                .to_owned(),
        ),
        (
            [&audience[..], &["--jwks", &set, "--jwt-algorithms", "RS256,HS256"]].concat(),
            "--jwt-algorithms: HS256 needs --jwt-secret-file, and no key set".to_owned(),
        ),
        (
            [&audience[..], &["--jwt-issuer", "https://login.example", "--jwt-algorithms", "HS512"]].concat(),
            "--jwt-algorithms: HS512 needs --jwt-secret-file, and no key set".to_owned(),
        ),
        (
            [&audience[..], &["--jwt-secret-file", &long, "--jwt-algorithms", "HS256,RS256"]].concat(),
            "--jwt-algorithms: RS256 does not go with --jwt-secret-file, HS256 does".to_owned(),
        ),
        (
            [&audience[..], &["--jwt-secret-file", &short]].concat(),
            format!("the secret in --jwt-secret-file {short} is too short: at least 32 bytes are needed"),
        ),
        (
            [&audience[..], &["--jwt-secret-file", &nothing]].concat(),
            format!("cannot read --jwt-secret-file {nothing}: No such file or directory (os error 2)"),
        ),
        (
            [&audience[..], &["--jwks", &nothing]].concat(),
            format!("--jwks: cannot read the keys of {nothing}: No such file or directory (os error 2)"),
        ),
        (
            [&audience[..], &["--jwks", "/dev/zero"]].concat(),
            "--jwks: cannot read the keys of /dev/zero: it is not a file".to_owned(),
        ),
        (
            [&audience[..], &["--jwks", &huge]].concat(),
            format!("--jwks: cannot read the keys of {huge}: it has more than 1 MiB"),
        ),
        (
            [&audience[..], &["--jwks", &text]].concat(),
            format!("--jwks: cannot read the keys of {text}: it is no JSON Web Key Set"),
        ),
    ] {
        let refused = Verifier::with(config(&flags).access).await.err().map(|error| format!("{error:#}"));
        assert_eq!(refused, Some(said), "{flags:?}");
    }
    let said = wrong_setting(&run(folder.path(), &["--listen", "127.0.0.1:0", "--jwks", &set]));
    assert!(said.ends_with(missing), "{said}");
}

#[tokio::test]
async fn keys_over_plain_http_are_warned_of_once() {
    let log = Log::of_this_test();
    let warned = async |flags: &[&str]| {
        let verifier = Verifier::new(flags).await;
        verifier.close().await;
        let lines = log.lines().into_iter().filter(|line| line["level"] == "WARN");
        let warnings = lines.map(|line| (line["fields"]["message"].clone(), line["fields"]["keys"].clone()));
        warnings
            .filter(|(message, _)| message.as_str().is_some_and(|text| text.contains("plain HTTP")))
            .collect::<Vec<_>>()
    };
    let message = "keys come over plain HTTP: whoever is in between can make tokens of their own";
    // An address for documentation (RFC 5737), which nobody has.
    for (flags, warnings) in [
        (["--jwks", "http://192.0.2.1/keys"], vec![(json!(message), json!("http://192.0.2.1/keys"))]),
        (
            ["--jwt-issuer", "http://192.0.2.1/a/"],
            vec![(json!(message), json!("http://192.0.2.1/a/.well-known/openid-configuration"))],
        ),
        (["--jwks", "http://127.0.0.2:1/keys"], vec![]),
        (["--jwks", "http://[::1]:1/keys"], vec![]),
        (["--jwks", "http://localhost:1/keys"], vec![]),
        (["--jwks", "https://127.0.0.1:1/keys"], vec![]),
    ] {
        assert_eq!(warned(&flags).await, warnings, "{flags:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_a_token_is_answered() {
    let key = SigningKey::rsa("key");
    let issuer = Issuer::with_keys(&[&key]).await;
    let access = settings(&["--jwks", &issuer.keys_url()]);
    let app = TestApp::with(TestDatabase::sqlite(), |settings| settings.access = access).await;
    let ask = async |token: &str| {
        let request = Request::post("/graphql")
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("accept", "application/graphql-response+json")
            .body(Body::from(json!({"query": "{ heroes { name } }"}).to_string()));
        let response = app.router.clone().oneshot(request.expect("it is a request")).await.expect("the router answers");
        let status = response.status();
        let body = json_body(response).await;
        (status, body["data"].clone(), body["errors"][0]["extensions"]["code"].clone())
    };
    let heroes = json!({"heroes": []});
    assert_eq!(ask(&key.token(json!({}))).await, (StatusCode::OK, heroes, json!(null)));
    let refused = (StatusCode::UNAUTHORIZED, json!(null), json!("UNAUTHENTICATED"));
    assert_eq!(ask(&key.token(json!({"exp": 0}))).await, refused);
    assert_eq!(ask(&key.token(json!({"aud": "others"}))).await, refused);
    assert_eq!(ask("a.b.c").await, refused);
    let forbidden = (StatusCode::FORBIDDEN, json!(null), json!("FORBIDDEN"));
    assert_eq!(ask(&key.token(json!({"scope": "write"}))).await, forbidden);
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_starts_before_its_issuer() {
    let folder = tempfile::tempdir().expect("a folder");
    let issuer = Issuer::start().await;
    let url = issuer.url.clone();
    issuer.go().await;
    // It says that it listens.
    drop(Server::start(folder.path(), &["--jwt-issuer", &url, "--jwt-audience", AUDIENCE]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certificate_of_an_issuer_is_looked_at() {
    let folder = tempfile::tempdir().expect("a folder");
    let authorities = write(folder.path(), "authorities.pem", include_bytes!("tokens/certificate.pem"));
    let key = SigningKey::rsa("key");
    let issuer = Issuer::start_by_tls().await;
    issuer.answer("/keys", Answer::Document(key_set(&[&key])));
    let body = json!({"query": "{ heroes { name } }"}).to_string();
    let token = format!("authorization: Bearer {}\r\n", key.token(json!({})));
    let ask = async |url: &str, authorities: Option<&str>| {
        let flags = ["--listen", "127.0.0.1:0", "--jwks", url, "--jwt-audience", AUDIENCE];
        let mut command = command(folder.path(), &flags);
        command.env_remove("SSL_CERT_DIR").env_remove("SSL_CERT_FILE");
        command.envs(authorities.map(|file| ("SSL_CERT_FILE", file)));
        let server = Server::spawn(command);
        let (status, _) = server.request_with("POST", "/graphql", &token, &body).await.expect("an answer");
        status
    };
    let by_address = issuer.keys_url().replace("localhost", "127.0.0.1");
    assert_eq!(ask(&issuer.keys_url(), Some(&authorities)).await, StatusCode::OK);
    assert_eq!(issuer.requests(), ["/keys"]);
    // It is of another name, or of nobody whom the system trusts.
    assert_eq!(ask(&by_address, Some(&authorities)).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ask(&issuer.keys_url(), None).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(issuer.requests(), Vec::<String>::new());
}
