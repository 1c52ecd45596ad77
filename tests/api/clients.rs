//! Clients of others, as their users have them, against the live server: tools that read its schema, and libraries that
//! send queries and mutations and tell of errors. `tests/clients` has their scripts, and what they must be answered.

use std::{
    ffi::OsStr,
    fs::{self, File},
    hash::{DefaultHasher, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    databases::{TestDatabase, skip},
    node,
};

/// Runs a script on SQLite, and on PostgreSQL where there is one. It must say the same on both.
async fn assert_says_on_both_databases(program: &OsStr, script: &str, expected: Value) {
    let script = node::folder("clients").join(script);
    for database in [Some(TestDatabase::sqlite()), TestDatabase::postgres().await].into_iter().flatten() {
        let arguments = [script.as_os_str(), "{url}".as_ref()];
        assert_eq!(node::run_program(database, program, &arguments, &[]).await, expected);
    }
}

async fn assert_says(script: &str, expected: Value) {
    if node::is_ready(&node::folder("clients")) {
        assert_says_on_both_databases("node".as_ref(), script, expected).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn graphql_codegen() {
    let Some(said) = node::run(&node::folder("clients"), "codegen.mjs", &["{url}".as_ref()]).await else { return };
    assert_eq!(said, json!({"heroes": 1, "codes": 6}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn graphql_inspector() {
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.graphql");
    let arguments = ["{url}".as_ref(), schema.as_ref()];
    let Some(said) = node::run(&node::folder("clients"), "inspector.mjs", &arguments).await else { return };
    assert_eq!(said, json!({"commands": 5}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apollo_client() {
    assert_says("apollo.mjs", json!({"steps": 12})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn urql() {
    assert_says("urql.mjs", json!({"steps": 12})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions() {
    let passed = ["graphql-ws", "graphql-sse", "apollo", "urql", "urql by fetch"];
    assert_says("subscriptions.mjs", json!({"passed": passed})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn graphql_request() {
    assert_says("request.mjs", json!({"steps": 12})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relay() {
    assert_says("relay.mjs", json!({"heroes": ["Deadpond", "Rusty-Man", "Spider-Boy", "Black Lion"]})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gql_of_python() {
    let Some(python) = python() else {
        skip("the test with a client in Python needs Python 3.10 or newer with its module venv");
        return;
    };
    assert_says_on_both_databases(python.as_os_str(), "python.py", json!({"heroes": 41})).await;
}

/// A Python with the packages that `requirements.txt` names, which are installed once. None where there is no Python
/// that could have them.
pub fn python() -> Option<PathBuf> {
    let requirements = node::folder("clients").join("requirements.txt");
    let mut hasher = DefaultHasher::new();
    hasher.write(&fs::read(&requirements).expect("they are there"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python-{:016x}", hasher.finish()));
    let (python, is_installed) = (folder.join("bin/python"), folder.join("installed"));
    let lock = File::create(folder.with_extension("lock")).expect("a file that can be written");
    lock.lock().expect("a file that can be locked");
    if !is_installed.exists() {
        let version = "import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 10))";
        let can = Command::new("python3").args(["-c", version]).output();
        if !can.is_ok_and(|output| output.status.success()) {
            return None;
        }
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder));
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(&requirements));
        File::create(is_installed).expect("a file that can be written");
    }
    Some(python)
}

fn run(command: &mut Command) {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
