//! What suites of others say of the server: the audits of GraphQL over HTTP, and graphql-js of documents.

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use crate::{
    databases::{TestDatabase, skip},
    sockets::Served,
    support::TestApp,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_audit_of_graphql_over_http() {
    let Some(said) = run("audits.mjs", &[]).await else { return };
    assert_eq!(said, json!({"audits": 61, "ok": 61, "notice": 0, "warn": 0, "error": 0}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_have_the_verdict_of_graphql_js() {
    let folder = folder();
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.graphql");
    let documents = folder.join("documents.json");
    let Some(said) = run("validate.mjs", &[schema, documents.to_str().expect("it is text")]).await else { return };
    assert!(said["valid"].as_u64() > Some(300) && said["invalid"].as_u64() > Some(600), "{said}");
    // The README lists them.
    assert_eq!(said["quirks"], json!(8));
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

/// Runs a script against a server, and gives the last line of what it says.
async fn run(script: &str, arguments: &[&str]) -> Option<Value> {
    if !is_installed() {
        skip("the conformance tests need Node.js and npm");
        return None;
    }
    let app = TestApp::new(TestDatabase::sqlite()).await;
    let server = Served::start(app.router.clone(), &[]).await;
    let mut command = Command::new("node");
    command.arg(folder().join(script)).args(arguments).arg(&server.url);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("the script is waited for");
    let output = output.expect("node runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    server.stop().await;
    app.close().await;
    Some(serde_json::from_str(said.lines().last().unwrap_or_default()).expect("the script says what it saw"))
}

/// Whether Node.js is there. What npm has to bring is brought, once.
fn is_installed() -> bool {
    static INSTALLED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *INSTALLED.get_or_init(|| {
        let runs = |program: &str| Command::new(program).arg("--version").output().is_ok();
        if !runs("node") || !runs("npm") {
            return false;
        }
        if !folder().join("node_modules/graphql-http").exists() {
            let npm = Command::new("npm").args(["ci", "--ignore-scripts"]).current_dir(folder()).output();
            let npm = npm.expect("npm runs");
            assert!(npm.status.success(), "{}", String::from_utf8_lossy(&npm.stderr));
        }
        true
    })
}
