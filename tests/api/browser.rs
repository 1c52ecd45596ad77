//! A real browser: the playground, and pages of other sites.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use axum::{Router, response::Html, routing::get};
use hero_teams::{access::ApiKeys, config::Introspection, schema::Scope};
use serde_json::{Value, json};

use crate::{
    databases::{TestDatabase, skip},
    node,
    sockets::Served,
    support::{TestApp, config},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_playground_runs_its_tabs_and_a_query() {
    let screenshot = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("playground.png");
    let Some(_) = run("playground.mjs", &["{url}".as_ref(), screenshot.as_os_str()]).await else { return };
    assert!(screenshot.metadata().expect("there is a screenshot").len() > 10_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_playground_runs_a_subscription() {
    let screenshot = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("subscription.png");
    let Some(said) = run("subscription.mjs", &["{url}".as_ref(), screenshot.as_os_str()]).await else { return };
    assert_eq!(said, json!({"sockets": ["/graphql"]}));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_playground_of_a_server_that_asks_who_one_is() {
    if !is_ready() {
        return;
    }
    let app = TestApp::with(TestDatabase::sqlite(), |settings| {
        settings.access = config(&["--api-keys"]).access;
        settings.graphql.introspection = Introspection::Authenticated;
    });
    let app = app.await;
    hero_teams::store::seed::tutorial(&app.db).await.expect("the data is loaded");
    let keys = ApiKeys::new(&app.db);
    let key = async |scopes: &[Scope]| {
        keys.create("playground", scopes.iter().copied().collect(), None).await.expect("it is made").key
    };
    let (reader, insider) = (key(&[Scope::Read]).await, key(&[Scope::Read, Scope::ReadSecrets]).await);
    let server = Served::start(app.router.clone(), &[]).await;
    let screenshot = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("access.png");
    let script = node::folder("browser").join("access.mjs");
    let arguments =
        [script.as_os_str(), server.url.as_ref(), screenshot.as_os_str(), reader.as_ref(), insider.as_ref()];
    let said = node::output_of("node".as_ref(), &arguments).await;
    let heroes = [("Deadpond", "Dive Wilson"), ("Rusty-Man", "Tommy Sharp"), ("Spider-Boy", "Pedro Parqueador")];
    let heroes = heroes.map(|(name, secret_name)| json!({"name": name, "secretName": secret_name}));
    let refusal = "The server does not show its schema: a credential is required. Documentation and suggestions are \
                   missing. If you have a credential, put it into Headers, such as {\"Authorization\": \"Bearer …\"}, \
                   and press “Re-fetch GraphQL schema”.";
    let expected = json!({
        "said": refusal, "anonymous": ["UNAUTHENTICATED"], "forbidden": ["FORBIDDEN"], "heroes": heroes,
    });
    assert_eq!(said, expected);
    server.stop().await;
    app.close().await;
}

fn is_ready() -> bool {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    if !Path::new(&chromium).exists() {
        skip("the tests in a browser need Chromium");
        return false;
    }
    node::is_ready(&node::folder("browser"))
}

async fn run(script: &str, arguments: &[&OsStr]) -> Option<Value> {
    run_with(script, arguments, &[]).await
}

async fn run_with(script: &str, arguments: &[&OsStr], flags: &[&str]) -> Option<Value> {
    if !is_ready() {
        return None;
    }
    node::run_with(&node::folder("browser"), script, arguments, flags).await
}
