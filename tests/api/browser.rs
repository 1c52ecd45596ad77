//! The playground in a real browser.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    databases::{TestDatabase, skip},
    sockets::Served,
    support::TestApp,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_playground_runs_its_tabs_and_a_query() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    if !is_installed(&folder) {
        return skip("the browser test needs Chromium, Node.js and npm");
    }
    let app = TestApp::new(TestDatabase::sqlite()).await;
    let server = Served::start(app.router.clone(), &[]).await;

    let screenshot = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("playground.png");
    let mut script = Command::new("node");
    script.arg(folder.join("playground.mjs")).arg(&server.url).arg(&screenshot);
    let output = tokio::task::spawn_blocking(move || script.output()).await.expect("the script is waited for");
    let output = output.expect("node runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str::<Value>(&said).expect("the script says what it saw");
    assert!(screenshot.metadata().expect("there is a screenshot").len() > 10_000);

    server.stop().await;
    app.close().await;
}

/// Whether the browser is there. What npm has to bring is brought.
fn is_installed(folder: &Path) -> bool {
    let runs = |program: &str, argument: &str| Command::new(program).arg(argument).output().is_ok();
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    if !Path::new(&chromium).exists() || !runs("node", "--version") || !runs("npm", "--version") {
        return false;
    }
    if !folder.join("node_modules/playwright-core").exists() {
        let npm = Command::new("npm").args(["ci", "--ignore-scripts"]).current_dir(folder).output().expect("npm runs");
        assert!(npm.status.success(), "{}", String::from_utf8_lossy(&npm.stderr));
    }
    true
}
