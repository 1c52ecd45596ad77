//! Two servers after nginx and after HAProxy, with the settings that the documentation gives.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use axum::http::StatusCode;
use serde_json::json;
use tokio::net::TcpStream;

use crate::{
    command_line::{Server, request_at},
    databases::{TestDatabase, skip},
    node,
    support::{free_port, until},
};

/// A program that runs until this is dropped.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has seen.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_installed(program: &str) -> bool {
    let found = Command::new(program).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        skip(&format!("{program} is not installed"));
    }
    found
}

async fn two_servers_after(program: &str, settings: &str, arguments: fn(&str) -> Vec<String>) {
    let (true, Some(database)) = (is_installed(program), TestDatabase::postgres().await) else { return };
    let start = || {
        let flags = ["--database-url", &database.url, "--trusted-proxy", "127.0.0.1"];
        Server::start(Path::new("/"), &flags)
    };
    let (one, two) = (start(), start());
    let folder = tempfile::tempdir().expect("a folder");
    let address = format!("127.0.0.1:{}", free_port());
    let settings = settings
        .replace("127.0.0.1:8080", &address)
        .replace("127.0.0.1:8001", one.address())
        .replace("127.0.0.1:8002", two.address());
    let file = folder.path().join("settings");
    fs::write(&file, settings).expect("it is written");
    let mut command = Command::new(program);
    command.args(arguments(file.to_str().expect("it is text"))).current_dir(folder.path());
    let mut proxy = Proxy(command.stdout(Stdio::null()).spawn().expect("it starts"));
    until(async || {
        assert!(proxy.0.try_wait().expect("it is asked").is_none(), "{program} has ended");
        TcpStream::connect(&address).await.is_ok()
    })
    .await;

    // Queries, mutations, sockets and streams, also from one server to the other.
    let url = format!("http://{address}");
    if node::is_ready(&node::folder("clients")) {
        let script = node::folder("clients").join("subscriptions.mjs");
        node::output_of("node".as_ref(), &[script.as_os_str(), url.as_ref()]).await;
    }
    let query = json!({"query": "{ heroes(limit: 1) { name } }"}).to_string();
    let answered = |server: &Server| server.has_logged(&["answered", "client=127.0.0.1", "path=\"/graphql\""]);
    let mut idle = vec![&one, &two];
    until(async || {
        request_at(&address, "POST", "/graphql", "", &query).await.expect("an answer");
        idle.retain(|server| !answered(server));
        idle.is_empty()
    })
    .await;

    // One of them stops while clients ask, and nobody notices.
    let ends = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (ends, address, query) = (Arc::clone(&ends), address.clone(), query.clone());
            tokio::spawn(async move {
                let mut number = 0;
                while !ends.load(SeqCst) {
                    let (status, body) = request_at(&address, "POST", "/graphql", "", &query).await.expect("an answer");
                    assert_eq!(status, StatusCode::OK, "{body}");
                    number += 1;
                }
                number
            })
        })
        .collect();
    one.stopped().await;
    for _ in 0..50 {
        let (status, body) = request_at(&address, "POST", "/graphql", "", &query).await.expect("an answer");
        assert_eq!(status, StatusCode::OK, "{body}");
    }
    ends.store(true, SeqCst);
    for client in clients {
        assert!(client.await.expect("no request fails") > 0);
    }
    drop((proxy, two));
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx() {
    let settings = include_str!("../../docs/deployment/nginx.conf");
    // It writes next to its settings.
    let arguments = |file: &str| {
        let folder = file.trim_end_matches("settings");
        let here = format!("daemon off; pid {folder}pid; error_log stderr;");
        ["-p", folder, "-c", file, "-g", &here].map(String::from).to_vec()
    };
    let here = "http {\n    access_log off;\n    client_body_temp_path body;\n    proxy_temp_path proxy;\n    \
                fastcgi_temp_path fastcgi;\n    uwsgi_temp_path uwsgi;\n    scgi_temp_path scgi;\n";
    two_servers_after("nginx", &settings.replace("http {\n", here), arguments).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy() {
    let settings = include_str!("../../docs/deployment/haproxy.cfg");
    let arguments = |file: &str| ["-f", file].map(String::from).to_vec();
    two_servers_after("haproxy", settings, arguments).await;
}

#[test]
fn the_picture_is_what_its_script_draws() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let drawn = Command::new("node").arg(root.join("docs/deployment/picture.mjs")).output();
    let Ok(drawn) = drawn else { return skip("Node.js is not installed") };
    assert_eq!(String::from_utf8_lossy(&drawn.stdout), include_str!("../../docs/deployment.svg"));
}
