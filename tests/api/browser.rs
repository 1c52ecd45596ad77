//! A real browser: the playground, and pages of other sites.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use axum::{Router, response::Html, routing::get};
use serde_json::{Value, json};

use crate::{databases::skip, node, sockets::Served};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_playground_below_a_path_of_a_proxy() {
    let screenshot = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("below-a-path.png");
    let Some(said) = run("below-a-path.mjs", &["{url}".as_ref(), screenshot.as_os_str()]).await else { return };
    assert_eq!(said, json!({"heroes": ["Deadpond", "Rusty-Man", "Spider-Boy"]}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_listed_site_sends_what_clients_send() {
    let page = Router::new().route("/", get(|| async { Html("<!doctype html>") }));
    let page = Served::start(page, &[]).await;
    let flags = ["--cors-origin", &page.url];
    let Some(said) = run_with("listed-site.mjs", &["{url}".as_ref(), page.url.as_ref()], &flags).await else { return };
    assert_eq!(said, json!({"requests": 3, "headers": 16, "heroes": ["Deadpond"]}));
    page.stop().await;
}

async fn run(script: &str, arguments: &[&OsStr]) -> Option<Value> {
    run_with(script, arguments, &[]).await
}

async fn run_with(script: &str, arguments: &[&OsStr], flags: &[&str]) -> Option<Value> {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    if !Path::new(&chromium).exists() {
        skip("the tests in a browser need Chromium");
        return None;
    }
    node::run_with(&node::folder("browser"), script, arguments, flags).await
}
