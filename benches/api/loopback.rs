//! One hero by id over loopback, from a server that keeps documents and from one that does not.

use std::time::{Duration, Instant};

use clap::Parser as _;
use criterion::{Criterion, Throughput};
use hero_teams::{
    access::Access,
    config::{Config, GraphQlSettings},
    graphql::Schema,
    http,
    schema::HeroTeams,
    server::{Listener, serve_until},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream},
    net::TcpStream,
    runtime::Runtime,
    task::JoinSet,
};

use crate::data::{Data, HEROES};

/// The group in the report.
pub const GROUP: &str = "one hero by id over loopback";
/// The server that keeps documents, and the one that parses and validates each again.
pub const SERVERS: [&str; 2] = ["documents kept", "documents not kept"];

/// Clients at once, each with a connection of its own.
const CLIENTS: u64 = 16;
const QUERY: &str = r"query($id: ID!) { hero(id: $id) { id name age } }";

/// Measures both servers.
pub fn measure(criterion: &mut Criterion, runtime: &Runtime, data: &Data) {
    let mut group = criterion.benchmark_group(GROUP);
    group.throughput(Throughput::Elements(1));
    for (name, document_cache) in SERVERS.into_iter().zip([GraphQlSettings::default().document_cache, 0]) {
        let settings = GraphQlSettings { document_cache, ..GraphQlSettings::default() };
        let address = runtime.block_on(serve(data, settings));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| runtime.block_on(requests(address.clone(), iterations)));
        });
    }
}

/// Starts a server, which goes on for as long as the runtime, and gives its address.
async fn serve(data: &Data, graphql: GraphQlSettings) -> String {
    let flags = ["hero-teams", "--listen", "127.0.0.1:0"];
    let settings = Config::try_parse_from(flags).expect("they are settings").serve;
    let listener = Listener::bind(&settings.listen).await.expect("a port is free");
    let address = listener.url().expect("it is bound").replace("http://", "");
    let schema = Schema::new::<HeroTeams>(data.db.clone(), &graphql).expect("the schema is valid");
    let router = http::router(data.db.clone(), schema, Access::open(), &settings, &graphql);
    tokio::spawn(async move { serve_until(std::future::pending(), listener, router, &settings).await });
    address
}

/// The time of a number of requests, which the clients share.
async fn requests(address: String, iterations: u64) -> Duration {
    let start = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let share = iterations / CLIENTS + u64::from(client < iterations % CLIENTS);
        clients.spawn(ask(address.clone(), client, share));
    }
    clients.join_all().await;
    start.elapsed()
}

async fn ask(address: String, client: u64, times: u64) {
    let mut stream = BufStream::new(TcpStream::connect(address).await.expect("the server accepts"));
    for n in 0..times {
        let id = (client + n * CLIENTS) % HEROES.cast_unsigned() + 1;
        let body = format!(r#"{{"query":"{QUERY}","variables":{{"id":"{id}"}}}}"#);
        let head = "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length:";
        let request = format!("{head} {}\r\n\r\n{body}", body.len());
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
