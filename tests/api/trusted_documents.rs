//! Trusted documents: by id and by text, in each mode, from the files that the tools write.

use std::{fs, path::Path};

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use hero_teams::{
    config::{DocumentSettings, DocumentsMode},
    graphql::DocumentId,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::{
    command_line::{Server, command, refusal, run, wrong_setting},
    databases::TestDatabase,
    logged::Log,
    node,
    support::{TestApp, config, json_body, post},
    websocket,
};

const HEROES: &str = "query Heroes($limit: Int = 3) { heroes(limit: $limit) { ...A ...B } }\n\
    fragment A on Hero { id }\nfragment B on Hero { name }\n";

/// A folder with one trusted document.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("below")).expect("it is new");
    fs::write(folder.path().join("below/heroes.graphql"), HEROES).expect("it is written");
    fs::write(folder.path().join("README.md"), "no document").expect("it is written");
    folder
}

async fn app(folder: &TempDir, mode: DocumentsMode, require_id: bool) -> TestApp {
    let documents = vec![folder.path().to_owned()];
    TestApp::with(TestDatabase::sqlite(), |settings| {
        settings.graphql.max_batch = 2;
        settings.graphql.documents = DocumentSettings { documents, mode, require_id };
    })
    .await
}

/// The status of an answer, and the answer.
async fn send(app: &TestApp, params: Value) -> (u16, Value) {
    let response = app
        .router
        .clone()
        .oneshot(
            Request::post("/graphql")
                .header("content-type", "application/json")
                .header("accept", "application/graphql-response+json")
                .body(Body::from(params.to_string()))
                .expect("it is a request"),
        )
        .await
        .expect("it answers");
    (response.status().as_u16(), json_body(response).await)
}

fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or("none")
}

fn id() -> String {
    DocumentId::from_text(HEROES).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_trusted_documents_are_executed() {
    let folder = folder();
    let app = app(&folder, DocumentsMode::Enforce, false).await;
    let empty = json!({"data": {"heroes": []}});
    // By id, in each of the three ways.
    for params in [
        json!({"documentId": id()}),
        json!({"documentId": format!("sha256:{}", id())}),
        json!({"doc_id": id(), "variables": {"limit": 1}}),
        json!({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": id()}}}),
    ] {
        assert_eq!(send(&app, params.clone()).await, (200, empty.clone()), "{params}");
    }
    // The same document in another text.
    let other = "# The heroes\nfragment B on Hero { name } query Heroes ( $limit : Int = 3 ) {\n heroes(limit: $limit),\n\
                 { ...A ...B } } fragment A on Hero { id }";
    for text in [HEROES, other] {
        assert_eq!(send(&app, json!({"query": text})).await, (200, empty.clone()), "{text}");
    }
    // Other documents, valid or not, of which nothing is said.
    app.take_statements();
    for text in [
        &HEROES.replace("= 3", "= 4"),
        &HEROES.replace("{ id }", "{ id age }"),
        &HEROES.replace("...A ...B", "...B ...A"),
        "{ heroes { id } }",
        "{ heroes { nothing } }",
        "{ __schema { types { name } } }",
        "query {",
        "",
    ] {
        let (status, answer) = send(&app, json!({"query": text})).await;
        let expected = json!({"errors": [{
            "message": "this server executes trusted documents only: send the id of one as `documentId`",
            "extensions": {"code": "DOCUMENT_NOT_TRUSTED"}}]});
        assert_eq!((status, &answer), (403, &expected), "{text}");
    }
    // Nothing is registered either.
    let text = "{ teams { id } }";
    let hash = DocumentId::from_text(text).to_string();
    let persisted = json!({"persistedQuery": {"version": 1, "sha256Hash": hash}});
    for _ in 0..2 {
        let (_, answer) = send(&app, json!({"query": text, "extensions": persisted})).await;
        assert_eq!(code(&answer), "DOCUMENT_NOT_TRUSTED");
        for params in [json!({"extensions": persisted}), json!({"documentId": hash}), json!({"documentId": ""})] {
            let (status, answer) = send(&app, params).await;
            assert_eq!((status, code(&answer)), (400, "PERSISTED_QUERY_NOT_FOUND"));
        }
    }
    let (status, answer) = send(&app, json!({"documentId": id(), "query": HEROES})).await;
    assert_eq!((status, code(&answer)), (400, "BAD_USER_INPUT"));
    assert_eq!(app.seen(), 0);
    // As JSON the status is 200, as for all refusals.
    let response = post(&app.router, "application/json", json!({"query": text}).to_string()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(app.get("/schema.graphql").await.status(), StatusCode::UNAUTHORIZED);
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_may_be_required() {
    let folder = folder();
    let app = app(&folder, DocumentsMode::Enforce, true).await;
    assert_eq!(send(&app, json!({"documentId": id()})).await.0, 200);
    let (status, answer) = send(&app, json!({"query": HEROES})).await;
    assert_eq!((status, code(&answer)), (403, "DOCUMENT_NOT_TRUSTED"));
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_be_refused_is_logged_once_a_minute() {
    let folder = folder();
    let app = app(&folder, DocumentsMode::Log, false).await;
    let heard = Log::of_this_test();
    let secret = r#"query Other { heroes(where: {name: {eq: "Sesame"}}) { id } }"#;
    for text in [HEROES, secret, secret, secret, "{ nothing }"] {
        let body = json!({"query": text, "operationName": if text == secret { json!("Other") } else { json!(null) }});
        let request = Request::post("/graphql")
            .header("content-type", "application/json")
            .header("apollographql-client-name", "web")
            .body(Body::from(body.to_string()))
            .expect("it is a request");
        app.router.clone().oneshot(request).await.expect("it answers");
    }
    // A batch and a socket have the name of the client as well.
    let in_batch = "{ teams { id } }";
    let request = Request::post("/graphql").header("content-type", "application/json");
    let request = request.header("graphql-client-name", "batch").header("accept", "application/json");
    let request = request.body(Body::from(json!([{"query": HEROES}, {"query": in_batch}]).to_string()));
    app.router.clone().oneshot(request.expect("it is a request")).await.expect("it answers");
    let in_socket = "{ teams { name } }";
    let app = websocket::Server::of(app).await;
    let mut socket = app.open("graphql-transport-ws", &[("graphql-client-name", "socket")]).await.expect("it opens");
    socket.init(json!({})).await;
    socket.subscribe("a", in_socket).await;
    assert_eq!(socket.next().await["payload"], json!({"data": {"teams": []}}));
    let lines = heard.lines();
    let logged: Vec<_> = lines
        .iter()
        .map(|line| line["fields"].clone())
        .filter(|fields| fields["message"] == "a document is not trusted")
        .collect();
    let invalid = DocumentId::from_text("{ nothing }").to_string();
    let invalid = json!({"message": "a document is not trusted", "document": invalid,
        "client": "web", "would_block": true});
    let other = json!({"message": "a document is not trusted", "document": DocumentId::from_text(secret).to_string(),
        "client": "web", "would_block": true, "operation": "Other",
        "text": "query Other {\n  heroes(where: {name: {eq: ?}}) {\n    id\n  }\n}\n"});
    let named = |client: &str, text: &str, printed: &str| {
        let document = DocumentId::from_text(text).to_string();
        json!({"message": "a document is not trusted", "document": document, "client": client, "would_block": true,
            "text": printed})
    };
    let in_batch = named("batch", in_batch, "{\n  teams {\n    id\n  }\n}\n");
    let in_socket = named("socket", in_socket, "{\n  teams {\n    name\n  }\n}\n");
    assert_eq!(logged, [other, invalid, in_batch, in_socket]);
    assert!(!format!("{lines:?}").contains("Sesame"));
    drop(socket);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_lets_others_through() {
    let folder = folder();
    for (anonymous, status) in [("read", 403), ("admin", 403), ("read,documents:bypass", 200)] {
        let documents = vec![folder.path().to_owned()];
        let app = TestApp::with(TestDatabase::sqlite(), |settings| {
            let mode = DocumentsMode::Enforce;
            settings.graphql.documents = DocumentSettings { documents, mode, require_id: false };
            settings.access = config(&["--anonymous", anonymous]).access;
        })
        .await;
        assert_eq!(send(&app, json!({"query": "{ heroes { id } }"})).await.0, status, "{anonymous}");
        assert_eq!(send(&app, json!({"query": "{ __typename }"})).await.0, status, "{anonymous}");
        app.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_by_id_is_kept_until_it_changes() {
    let folder = folder();
    let app = app(&folder, DocumentsMode::Off, false).await;
    let get = async |query: &str, etag: Option<&str>| {
        let mut request = Request::get(format!("/graphql?{query}"));
        if let Some(etag) = etag {
            request = request.header("if-none-match", etag);
        }
        let response = app.router.clone().oneshot(request.body(Body::empty()).expect("a request")).await;
        response.expect("it answers")
    };
    let by_id = format!("documentId={}", id());
    let first = get(&by_id, None).await;
    let etag = first.headers()["etag"].to_str().expect("it is text").to_owned();
    assert_eq!(
        (first.status(), &first.headers()["cache-control"]),
        (StatusCode::OK, &"private, no-cache".parse().expect("a value"))
    );
    // As the media type is the one that is asked for, a cache has to ask for each.
    assert_eq!(first.headers()["vary"], "accept, x-hero-teams-after");
    for known in [etag.as_str(), &format!("\"other\", {}", &etag[2..]), "*"] {
        let same = get(&by_id, Some(known)).await;
        assert_eq!(
            (same.status(), &same.headers()["etag"]),
            (StatusCode::NOT_MODIFIED, &etag.parse().expect("a value"))
        );
        assert_eq!(same.headers()["vary"], "accept, x-hero-teams-after");
        assert!(!same.headers().contains_key("content-type"));
    }
    app.data(r#"mutation { createHero(input: {name: "A", secretName: "B"}) { hero { id } } }"#, json!({})).await;
    let changed = get(&by_id, Some(&etag)).await;
    assert_eq!(changed.status(), StatusCode::OK);
    assert_ne!(changed.headers()["etag"].to_str().expect("it is text"), etag);
    // What is not asked for by id is not kept, and neither is what fails.
    for query in ["query=%7Bheroes%7Bid%7D%7D".to_owned(), format!("{by_id}&variables=%7B%22limit%22:-1%7D")] {
        let response = get(&query, None).await;
        assert!(!response.headers().contains_key("etag"), "{query}");
        assert_eq!(response.headers()["cache-control"], "no-store");
    }
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_read_again_when_they_change_and_a_wrong_one_changes_nothing() {
    let folder = folder();
    let database = tempfile::tempdir().expect("a folder");
    let documents = folder.path().to_str().expect("it is text");
    let server = Server::start(database.path(), &["--documents", documents, "--documents-mode", "enforce"]);
    let ask = async |text: &str| server.graphql(text, json!({})).await.expect("it answers");
    let teams = "query Teams { teams { id } }";
    assert_eq!(code(&ask(teams).await), "DOCUMENT_NOT_TRUSTED");
    fs::write(folder.path().join("wrong.graphql"), "{ nothing }").expect("it is written");
    fs::write(folder.path().join("teams.graphql"), teams).expect("it is written");
    server.signal("-HUP");
    let line = server.logged(&["trusted documents are not read; the old ones stay"]);
    assert!(line.contains("wrong.graphql") && line.contains("nothing"), "{line}");
    assert_eq!(code(&ask(teams).await), "DOCUMENT_NOT_TRUSTED");
    assert_eq!(ask(HEROES).await, json!({"data": {"heroes": []}}));
    // Without a signal it is seen within seconds.
    fs::remove_file(folder.path().join("wrong.graphql")).expect("it is there");
    server.logged(&["the trusted documents are read again"]);
    assert_eq!(ask(teams).await, json!({"data": {"teams": []}}));
    server.stopped().await;
}

#[test]
fn documents_that_are_wrong_stop_the_server_and_the_check() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, content: &str| fs::write(folder.path().join(name), content).expect("it is written");
    let operation = |id: &str, body: &str| json!({"id": id, "name": "A", "type": "query", "body": body});
    let manifest = |operations: &[Value]| {
        json!({"format": "apollo-persisted-query-manifest", "version": 1, "operations": operations}).to_string()
    };
    write("good.json", &manifest(&[operation("a", "{ heroes { id } }")]));
    write(
        "bad.json",
        &json!({"b": "{ nothing }", "c": "{ heroes(limit: 1000) { teams(limit: 1000) { id } } }"}).to_string(),
    );
    write("twice.json", &manifest(&[operation("a", "{ heroes { id } }"), operation("a", "{ teams { id } }")]));
    write("new.json", &json!({"d": "{ heroes { id } }", "x": 7}).to_string());
    write("none.json", "[]");
    let check = |arguments: &[&str]| run(folder.path(), &[&["documents", "check"], arguments].concat());
    let said = |arguments: &[&str]| {
        let output = check(arguments);
        let lines = String::from_utf8(output.stdout.clone()).expect("it is text");
        (lines.lines().map(str::to_owned).collect::<Vec<_>>(), output)
    };
    let (lines, output) = said(&["good.json"]);
    assert_eq!((lines, output.status.code()), (vec!["1 documents are valid".to_owned()], Some(0)));
    let (lines, output) = said(&["good.json", "bad.json", "twice.json"]);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(
        lines[0].starts_with("bad.json: the document \"b\": ") && lines[0].contains("(line 1, column 3)"),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("bad.json: the document \"c\": the rows, as estimated,"), "{lines:?}");
    assert_eq!(lines[2], "twice.json: the document \"a\": another document has the same id");
    assert_eq!(refusal(&output), "error: 5 documents have 3 faults");
    for (file, reason) in [
        ("new.json", "cannot read new.json: the value of \"x\" is not the text of a document"),
        ("none.json", "cannot read none.json: it is no JSON object"),
        ("missing.json", "cannot read missing.json: No such file or directory"),
    ] {
        let said = refusal(&check(&[file]));
        assert!(said.starts_with(&format!("error: {reason}")), "{said}");
    }
    // Against another schema.
    write("old.graphql", "type Query { heroes: [Hero!]! } type Hero { name: String! }");
    let (lines, _) = said(&["good.json", "--against", "old.graphql"]);
    assert!(lines[0].contains("does not have a field `id`") || lines[0].contains("`id`"), "{lines:?}");

    let serve = |arguments: &[&str]| {
        let mut command = command(folder.path(), &[&["--listen", "unix:s"], arguments].concat());
        wrong_setting(&command.output().expect("the binary runs"))
    };
    let refused = serve(&["--documents", "bad.json"]);
    assert!(refused.starts_with("error: --documents: bad.json: the document \"b\""), "{refused}");
    let refused = serve(&["--documents-mode", "enforce"]);
    assert_eq!(refused, "error: --documents-mode needs --documents, with at least one document");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_manifests_of_apollo_relay_and_codegen() {
    let scripts = node::folder("clients");
    if !node::is_ready(&scripts) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let script = scripts.join("manifests.mjs");
    let arguments = [script.as_os_str(), "write".as_ref(), folder.path().as_os_str()];
    assert_eq!(node::output_of("node".as_ref(), &arguments).await, json!({"written": 3}));
    let flags = ["--documents", "apollo.json,relay.json,codegen.json", "--documents-mode", "enforce"];
    crate::command_line::stdout(&run(folder.path(), &["seed"]));
    let server = Server::start(Path::new(folder.path()), &flags);
    let url = format!("http://{}", server.address());
    let arguments = [script.as_os_str(), "send".as_ref(), folder.path().as_os_str(), url.as_ref()];
    assert_eq!(node::output_of("node".as_ref(), &arguments).await, json!({"clients": 3}));
    server.stopped().await;
}
