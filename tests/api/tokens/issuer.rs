//! An issuer of tokens: keys that sign, and a server on loopback that has their key set, or misbehaves.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
        RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair, RsaPublicKeyComponents,
    },
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
    time::{Duration, sleep},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring::default_provider,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

/// What all tokens of these tests are made for.
pub const AUDIENCE: &str = "heroes";

/// A key that signs.
pub struct SigningKey {
    pub id: &'static str,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    /// The name of the curve comes with it.
    Ec(EcdsaKeyPair, &'static str),
    Ed(Ed25519KeyPair),
    Secret(Vec<u8>),
}

impl SigningKey {
    pub fn rsa(id: &'static str) -> Self {
        let pair = RsaKeyPair::from_pkcs8(include_bytes!("rsa.pk8")).expect("it is a key of 2,048 bits");
        Self { id, pair: Pair::Rsa(pair) }
    }

    pub fn p256(id: &'static str) -> Self {
        Self::ec(id, "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    pub fn p384(id: &'static str) -> Self {
        Self::ec(id, "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING)
    }

    fn ec(id: &'static str, curve: &'static str, algorithm: &'static EcdsaSigningAlgorithm) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).expect("it is a key");
        Self { id, pair: Pair::Ec(pair, curve) }
    }

    pub fn ed25519(id: &'static str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        Self { id, pair: Pair::Ed(Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("it is a key")) }
    }

    pub fn secret(secret: &[u8]) -> Self {
        Self { id: "secret", pair: Pair::Secret(secret.to_vec()) }
    }

    /// The algorithm that it signs by if none is named.
    pub fn algorithm(&self) -> &'static str {
        match &self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_, "P-256") => "ES256",
            Pair::Ec(..) => "ES384",
            Pair::Ed(_) => "EdDSA",
            Pair::Secret(_) => "HS256",
        }
    }

    /// What a key set has of it.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let RsaPublicKeyComponents::<Vec<u8>> { n, e } = pair.public().into();
                json!({"kty": "RSA", "n": base64(&n), "e": base64(&e)})
            }
            Pair::Ec(pair, curve) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at((pair.public_key().as_ref().len() - 1) / 2);
                json!({"kty": "EC", "crv": curve, "x": base64(x), "y": base64(y)})
            }
            Pair::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": base64(pair.public_key().as_ref())}),
            Pair::Secret(secret) => json!({"kty": "oct", "k": base64(secret)}),
        };
        jwk["kid"] = json!(self.id);
        jwk
    }

    /// A token with the claims that every token has, changed by these. Null takes a claim out.
    pub fn token(&self, claims: Value) -> String {
        self.token_with(json!({}), claims)
    }

    /// A token with a header changed by this one, and with claims as above.
    pub fn token_with(&self, header: Value, claims: Value) -> String {
        let header = changed(json!({"typ": "JWT", "alg": self.algorithm(), "kid": self.id}), header);
        let algorithm = header["alg"].as_str().expect("it has an algorithm").to_owned();
        let claims = changed(json!({"aud": AUDIENCE, "exp": now() + 3_600, "sub": "ada", "scope": "read"}), claims);
        self.signed(&algorithm, &header.to_string(), &claims.to_string())
    }

    /// A token of a header and claims as they are.
    pub fn signed(&self, algorithm: &str, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", base64(header.as_bytes()), base64(claims.as_bytes()));
        let signature = self.signature(algorithm, message.as_bytes());
        format!("{message}.{}", base64(&signature))
    }

    fn signature(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let encoding: &dyn RsaEncoding = match algorithm {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(encoding, &SystemRandom::new(), message, &mut signature).expect("it signs");
                signature
            }
            Pair::Ec(pair, _) => pair.sign(&SystemRandom::new(), message).expect("it signs").as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Secret(secret) => {
                let algorithm = match algorithm {
                    "HS384" => hmac::HMAC_SHA384,
                    "HS512" => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                hmac::sign(&hmac::Key::new(algorithm, secret), message).as_ref().to_vec()
            }
        }
    }
}

fn changed(mut object: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().expect("it is an object") {
        if value.is_null() {
            object.as_object_mut().expect("it is an object").remove(name);
        } else {
            object[name] = value.clone();
        }
    }
    object
}

pub fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs()
}

pub fn key_set(keys: &[&SigningKey]) -> Value {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()})
}

/// What a server answers.
#[derive(Clone, Debug)]
pub enum Answer {
    Document(Value),
    /// All bytes, of head and body.
    Bytes(String),
    /// Nothing, until the answer is another one.
    Nothing,
    /// A body of 1 GiB. Its length is said before, or it comes in chunks.
    Huge {
        has_length: bool,
    },
    /// A byte from time to time, for ever.
    Trickle,
}

/// A server on loopback.
pub struct Issuer {
    pub url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    answers: watch::Sender<HashMap<&'static str, Answer>>,
    requests: Mutex<Vec<String>>,
    sent: AtomicUsize,
}

impl Issuer {
    /// One that has a key set at `/keys`.
    pub async fn with_keys(keys: &[&SigningKey]) -> Self {
        let issuer = Self::start().await;
        issuer.answer("/keys", Answer::Document(key_set(keys)));
        issuer
    }

    /// One that answers nothing yet.
    pub async fn start() -> Self {
        Self::start_by(None).await
    }

    /// One that is spoken to by TLS, answers nothing yet, and has the certificate of `certificate.pem`.
    pub async fn start_by_tls() -> Self {
        let certificate = CertificateDer::from_pem_slice(include_bytes!("certificate.pem")).expect("it is one");
        let key = PrivateKeyDer::try_from(&include_bytes!("certificate.pk8")[..]).expect("it is a key");
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("there are versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key);
        Self::start_by(Some(Arc::new(config.expect("they go together")).into())).await
    }

    async fn start_by(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
        let address = listener.local_addr().expect("it has an address");
        let url = match tls {
            Some(_) => format!("https://localhost:{}", address.port()),
            None => format!("http://{address}"),
        };
        let shared = Arc::new(Shared {
            answers: watch::Sender::default(),
            requests: Mutex::default(),
            sent: AtomicUsize::new(0),
        });
        let server = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (shared, tls) = (Arc::clone(&shared), tls.clone());
                    tokio::spawn(async move {
                        // Whoever has enough of it hangs up.
                        let _ = match tls {
                            Some(tls) => match tls.accept(stream).await {
                                Ok(stream) => shared.serve(stream).await,
                                Err(error) => Err(error),
                            },
                            None => shared.serve(stream).await,
                        };
                    });
                }
            }
        });
        Self { url, shared, server }
    }

    pub fn keys_url(&self) -> String {
        format!("{}/keys", self.url)
    }

    /// From now on a path is answered by this.
    pub fn answer(&self, path: &'static str, answer: Answer) {
        self.shared.answers.send_modify(|answers| {
            answers.insert(path, answer);
        });
    }

    /// The paths that were asked for since this was asked last.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.requests.lock().expect("no test has panicked"))
    }

    /// The bytes of bodies without an end that have been sent.
    pub fn sent(&self) -> usize {
        self.shared.sent.load(Relaxed)
    }

    /// From now on nobody listens.
    pub async fn go(self) {
        self.server.abort();
        let _ = self.server.await;
    }
}

impl Shared {
    async fn serve(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8(head).expect("it is text");
        let path = head.split(' ').nth(1).expect("it has a path").to_owned();
        self.requests.lock().expect("no test has panicked").push(path.clone());
        let mut answers = self.answers.subscribe();
        let is_there = |answers: &HashMap<_, _>| !matches!(answers.get(path.as_str()), None | Some(Answer::Nothing));
        let answer = answers.wait_for(is_there).await.expect("the server is there")[path.as_str()].clone();
        match answer {
            Answer::Nothing => {}
            Answer::Bytes(bytes) => stream.write_all(bytes.as_bytes()).await?,
            Answer::Document(document) => {
                let body = document.to_string();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).await?;
                stream.shutdown().await?;
            }
            Answer::Huge { has_length: true } => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n").await?;
                self.send(&mut stream, &vec![b' '; 65_536]).await?;
            }
            Answer::Huge { has_length: false } => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
                let chunk = ["10000\r\n", &" ".repeat(65_536), "\r\n"].concat();
                self.send(&mut stream, chunk.as_bytes()).await?;
            }
            Answer::Trickle => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n").await?;
                loop {
                    stream.write_all(b" ").await?;
                    sleep(Duration::from_millis(1)).await;
                }
            }
        }
        Ok(())
    }

    /// Sends 1 GiB.
    async fn send(&self, stream: &mut (impl AsyncWrite + Unpin), part: &[u8]) -> std::io::Result<()> {
        for _ in 0..(1 << 30) / 65_536 {
            stream.write_all(part).await?;
            self.sent.fetch_add(part.len(), Relaxed);
        }
        Ok(())
    }
}
