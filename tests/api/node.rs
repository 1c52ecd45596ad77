//! Scripts of Node.js that look at the server from outside.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use serde_json::Value;

use crate::{
    databases::{TestDatabase, skip},
    sockets::Served,
    support::TestApp,
};

/// A folder with scripts and the packages that they need.
pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// Runs a script against a server of its own, and gives the last line of what it says. `{url}` among the arguments stands for
/// the address of the server. None, after saying so, where there is no Node.js.
pub async fn run(folder: &Path, script: &str, arguments: &[&OsStr]) -> Option<Value> {
    if !is_installed(folder) {
        skip("the tests with scripts need Node.js and npm");
        return None;
    }
    let app = TestApp::new(TestDatabase::sqlite()).await;
    let server = Served::start(app.router.clone(), &[]).await;
    let mut command = Command::new("node");
    let url = OsStr::new(&server.url);
    command
        .arg(folder.join(script))
        .args(arguments.iter().map(|argument| if *argument == "{url}" { url } else { argument }));
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("the script is waited for");
    let output = output.expect("node runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    server.stop().await;
    app.close().await;
    Some(serde_json::from_str(said.lines().last().unwrap_or_default()).expect("the script says what it saw"))
}

/// Whether Node.js is there. What npm has to bring is brought, once, and again when the lockfile has changed.
fn is_installed(folder: &Path) -> bool {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().expect("no test has panicked");
    let runs = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !runs("node") {
        return false;
    }
    let changed = |file: &str| folder.join(file).metadata().and_then(|file| file.modified()).ok();
    if changed("node_modules/.package-lock.json") < changed("package-lock.json") {
        if !runs("npm") {
            return false;
        }
        let npm = Command::new("npm").args(["ci", "--ignore-scripts"]).current_dir(folder).output().expect("npm runs");
        assert!(npm.status.success(), "{}", String::from_utf8_lossy(&npm.stderr));
    }
    true
}
