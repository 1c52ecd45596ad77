//! Scripts of Node.js, and other programs, that look at the server from outside.

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
    support::{TestApp, router_with},
};

/// A folder with scripts and the packages that they need.
pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// Runs a script against a server of its own, and gives the last line of what it says. `{url}` among the arguments
/// stands for the address of the server. None, after saying so, where there is no Node.js.
pub async fn run(folder: &Path, script: &str, arguments: &[&OsStr]) -> Option<Value> {
    run_with(folder, script, arguments, &[]).await
}

/// Runs a script against a server with these flags.
pub async fn run_with(folder: &Path, script: &str, arguments: &[&OsStr], flags: &[&str]) -> Option<Value> {
    if !is_ready(folder) {
        return None;
    }
    let script = folder.join(script);
    let arguments = [&[script.as_os_str()], arguments].concat();
    Some(run_program(TestDatabase::sqlite(), "node".as_ref(), &arguments, flags).await)
}

/// Whether the scripts of a folder can run. Says so where they cannot.
pub fn is_ready(folder: &Path) -> bool {
    let is_ready = is_installed(folder);
    if !is_ready {
        skip("the tests with scripts need Node.js and npm");
    }
    is_ready
}

/// Runs a program against a server of its own on a database, and gives the last line of what it says.
pub async fn run_program(database: TestDatabase, program: &OsStr, arguments: &[&OsStr], flags: &[&str]) -> Value {
    let app = TestApp::new(database).await;
    let server = Served::start(router_with(app.db.clone(), flags), &[]).await;
    let url = OsStr::new(&server.url);
    let arguments: Vec<_> =
        arguments.iter().map(|argument| if *argument == "{url}" { url } else { argument }).collect();
    let said = output_of(program, &arguments).await;
    server.stop().await;
    app.close().await;
    said
}

/// The last line of what a program says that must end well.
pub async fn output_of(program: &OsStr, arguments: &[&OsStr]) -> Value {
    let mut command = Command::new(program);
    command.args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("the program is waited for");
    let output = output.expect("the program runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(said.lines().last().unwrap_or_default()).expect("the program says what it saw")
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
