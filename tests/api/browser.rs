//! A real browser: the playground, and pages of other sites.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{databases::skip, node};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_playground_runs_its_tabs_and_a_query() {
    let screenshot = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("playground.png");
    let Some(_) = run("playground.mjs", &["{url}".as_ref(), screenshot.as_os_str()]).await else { return };
    assert!(screenshot.metadata().expect("there is a screenshot").len() > 10_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_site_writes_nothing() {
    let Some(said) = run("cross-site.mjs", &["{url}".as_ref()]).await else { return };
    assert_eq!(said["attempts"], json!(15));
}

async fn run(script: &str, arguments: &[&OsStr]) -> Option<Value> {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    if !Path::new(&chromium).exists() {
        skip("the tests in a browser need Chromium");
        return None;
    }
    node::run(&node::folder("browser"), script, arguments).await
}
