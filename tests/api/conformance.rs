//! What suites of others say of the server: the audits of GraphQL over HTTP, and graphql-js of documents.

use serde_json::json;

use crate::node;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_audit_of_graphql_over_http() {
    let Some(said) = node::run(&node::folder("conformance"), "audits.mjs", &["{url}".as_ref()]).await else { return };
    assert_eq!(said, json!({"audits": 61, "ok": 61, "notice": 0, "warn": 0, "error": 0}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_have_the_verdict_of_graphql_js() {
    let folder = node::folder("conformance");
    let (schema, documents) = (concat!(env!("CARGO_MANIFEST_DIR"), "/schema.graphql"), folder.join("documents.json"));
    let arguments = [schema.as_ref(), documents.as_os_str(), "{url}".as_ref()];
    let Some(said) = node::run(&folder, "validate.mjs", &arguments).await else { return };
    assert!(said["valid"].as_u64() > Some(300) && said["invalid"].as_u64() > Some(600), "{said}");
    // docs/architecture.md lists them.
    assert_eq!(said["quirks"], json!(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn null_where_nothing_may_be_null_is_what_it_is_for_graphql_js() {
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.graphql");
    let arguments = [schema.as_ref(), "{url}".as_ref()];
    let Some(said) = node::run(&node::folder("conformance"), "nulls.mjs", &arguments).await else { return };
    assert!(said["documents"].as_u64() > Some(250), "{said}");
    assert_eq!(said["differences"], json!(0));
}
