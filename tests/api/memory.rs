//! The memory of a server.

use std::{fs, sync::Arc, time::Duration};

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

use crate::command_line::Server;

/// What the system says of the memory of a process, in KiB.
fn memory(server: &Server, entry: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix(entry)).expect("it is there");
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_large_answers_took_is_given_back_without_further_requests() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Arc::new(Server::start(folder.path(), &[]));
    let input: Vec<_> = (0..1000).map(|_| json!({"name": "n".repeat(200), "secretName": "s".repeat(200)})).collect();
    let create = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { heroes { id } } }";
    server.graphql(create, json!({"input": input})).await.expect("an answer");
    let fields: Vec<_> = (0..10).map(|alias| format!("a{alias}: heroes(limit: 1000) {{ name secretName }}")).collect();
    let query: Arc<str> = json!({"query": format!("{{ {} }}", fields.join(" "))}).to_string().into();

    let ask = |server: Arc<Server>, query: Arc<str>| async move {
        let (status, body) = server.request("POST", "/graphql", &query).await.expect("an answer");
        assert_eq!((status, body.len() > 4_000_000), (StatusCode::OK, true));
        serde_json::from_str::<Value>(&body).expect("it is JSON")
    };
    ask(Arc::clone(&server), Arc::clone(&query)).await;
    let before = memory(&server, "VmRSS");
    let mut asking = JoinSet::new();
    for _ in 0..24 {
        asking.spawn(ask(Arc::clone(&server), Arc::clone(&query)));
    }
    asking.join_all().await;
    let most = memory(&server, "VmHWM");
    assert!(most > before + 20_000, "the answers took memory: {before} KiB before, {most} KiB at most");
    // Half a minute, where a second is meant.
    for _ in 0..300 {
        if memory(&server, "VmRSS") < before + (most - before) / 4 {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("{before} KiB before, {most} KiB at most, {} KiB now", memory(&server, "VmRSS"));
}
