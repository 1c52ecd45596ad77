//! One hero by id over loopback: from a server that keeps documents and from one that does not, and with credentials.

use std::{
    fs,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use clap::Parser as _;
use criterion::{Criterion, Throughput};
use hero_teams::{
    access::{Access, ApiKeys},
    config::Config,
    graphql::Schema,
    http,
    schema::{HeroTeams, Scopes},
    server::{Lifetime, Listener, serve_until},
    telemetry::Telemetry,
};
use ring::{
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream},
    net::TcpStream,
    runtime::Runtime,
    task::JoinSet,
};

use crate::data::{Data, HEROES};

/// The group in the report.
pub const GROUP: &str = "one hero by id over loopback";
/// The server that keeps documents, the one that parses and validates each again, and those that ask who one is.
pub const SERVERS: [&str; 4] = ["documents kept", "documents not kept", "with an API key", "with an RS256 token"];

/// Clients at once, each with a connection of its own.
const CLIENTS: u64 = 16;
const QUERY: &str = r"query($id: ID!) { hero(id: $id) { id name age } }";

/// Measures the servers.
pub fn measure(criterion: &mut Criterion, runtime: &Runtime, data: &Data) {
    let folder = tempfile::tempdir().expect("a folder for keys");
    let keys = folder.path().join("keys.json");
    let keys = keys.to_str().expect("it is text");
    let token = format!("authorization: Bearer {}\r\n", token(keys));
    let key = runtime.block_on(ApiKeys::new(&data.db).create("bench", Scopes::ALL, None)).expect("a key is made").key;
    let key = format!("x-api-key: {key}\r\n");
    let servers: [(&[&str], &str); 4] = [
        (&[], ""),
        (&["--document-cache", "0"], ""),
        (&["--api-keys"], &key),
        (&["--jwks", keys, "--jwt-audience", "heroes"], &token),
    ];
    let mut group = criterion.benchmark_group(GROUP);
    group.throughput(Throughput::Elements(1));
    for (name, (flags, header)) in SERVERS.into_iter().zip(servers) {
        let address = runtime.block_on(serve(data, flags));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| runtime.block_on(requests(&address, header, iterations)));
        });
    }
}

/// A token that is signed by RS256, whose key set is written to a file.
fn token(keys: &str) -> String {
    let pair = RsaKeyPair::from_pkcs8(include_bytes!("../../tests/api/tokens/rsa.pk8")).expect("it is a key");
    let public: PublicKeyComponents<Vec<u8>> = pair.public().into();
    let base64 = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let key = json!({"kty": "RSA", "kid": "bench", "n": base64(&public.n), "e": base64(&public.e)});
    fs::write(keys, json!({"keys": [key]}).to_string()).expect("it is written");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
    let claims = json!({"aud": "heroes", "sub": "bench", "exp": now + 86_400, "scope": "read"});
    let part = |part: Value| base64(part.to_string().as_bytes());
    let message = format!("{}.{}", part(json!({"alg": "RS256", "typ": "JWT", "kid": "bench"})), part(claims));
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).expect("it signs");
    format!("{message}.{}", base64(&signature))
}

/// Starts a server, which goes on for as long as the runtime, and gives its address.
async fn serve(data: &Data, flags: &[&str]) -> String {
    let flags = ["hero-teams", "--listen", "127.0.0.1:0"].iter().chain(flags);
    let Config { serve: settings, graphql, access, events, .. } =
        Config::try_parse_from(flags).expect("they are settings");
    let listener = Listener::bind(&settings.listen).await.expect("a port is free");
    let address = listener.url().expect("it is bound").replace("http://", "");
    let schema = Schema::new::<HeroTeams>(data.db.clone(), &graphql).expect("the schema is valid");
    let access = Access::new(&access, &data.db).await.expect("the keys can be read");
    let (db, lifetime) = (data.db.clone(), Lifetime::default());
    let (serve, graphql, events) = (&settings, &graphql, &events);
    let router = http::router(http::Parts { db, schema, access, serve, graphql, events, lifetime: &lifetime });
    tokio::spawn(async move {
        serve_until(std::future::pending(), listener, router, &settings, &lifetime, &Telemetry::default()).await
    });
    address
}

/// The time of a number of requests, which the clients share.
async fn requests(address: &str, header: &str, iterations: u64) -> Duration {
    let start = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let share = iterations / CLIENTS + u64::from(client < iterations % CLIENTS);
        clients.spawn(ask(address.to_owned(), header.to_owned(), client, share));
    }
    clients.join_all().await;
    start.elapsed()
}

async fn ask(address: String, header: String, client: u64, times: u64) {
    let mut stream = BufStream::new(TcpStream::connect(address).await.expect("the server accepts"));
    for n in 0..times {
        let id = (client + n * CLIENTS) % HEROES.cast_unsigned() + 1;
        let body = format!(r#"{{"query":"{QUERY}","variables":{{"id":"{id}"}}}}"#);
        let head = "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length:";
        let request = format!("{head} {}\r\n{header}\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).await.expect("it is sent");
        stream.flush().await.expect("it is sent");
        let answer = answer(&mut stream).await;
        assert!(answer.starts_with(br#"{"data":{"hero":{"id":"Hero:"#), "{}", String::from_utf8_lossy(&answer));
    }
}

async fn answer(stream: &mut BufStream<TcpStream>) -> Vec<u8> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.expect("the answer comes");
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().expect("it is a number");
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.expect("the answer comes");
    body
}
