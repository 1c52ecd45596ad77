//! What is around the routes: headers, ids, other sites, other hosts, compression, faults, the log.

use std::{io::Read as _, time::Duration};

use async_graphql::{Name, parser::types::OperationType};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, Response, StatusCode},
    response::IntoResponse,
    routing::get,
};
use hero_teams::{
    graphql::{DocumentId, RequestedOperation},
    http::{self, Measured},
    telemetry::Telemetry,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{
    databases::{TestDatabase, skip},
    logged::Log,
    support::{TestApp, json_body, router_with, settings, text_body},
};

/// A router with one small page, one large page and one that fails, behind the layers.
fn router(flags: &[&str]) -> Router {
    let routes = Router::new()
        .route("/small", get("small"))
        .route("/large", get(|| async { "large ".repeat(1_000) }))
        .route("/panic", get(fails));
    http::with_layers(routes, &settings(flags), Telemetry::default())
}

pub async fn fails() -> &'static str {
    panic!("nobody's business")
}

async fn send(router: &Router, method: Method, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).expect("it is a request");
    router.clone().oneshot(request).await.expect("the router answers")
}

async fn head_of(router: &Router, method: Method, path: &str, headers: &[(&str, &str)]) -> HeaderMap {
    send(router, method, path, headers).await.headers().clone()
}

async fn head(router: &Router, path: &str, headers: &[(&str, &str)]) -> HeaderMap {
    head_of(router, Method::GET, path, headers).await
}

#[tokio::test]
async fn headers_of_all_answers() {
    let app = TestApp::new(TestDatabase::sqlite()).await;
    for (path, cache_control) in
        [("/", "no-cache"), ("/schema.graphql", "no-store"), ("/health/live", "no-store"), ("/nothing", "no-store")]
    {
        let headers = head(&app.router, path, &[]).await;
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["cross-origin-resource-policy"], "same-origin", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        assert_eq!(headers["cache-control"], cache_control, "{path}");
    }
    app.close().await;
}

#[tokio::test]
async fn ids_of_requests() {
    let router = router(&[]);
    let longest = "x".repeat(128);
    for id in ["a", "0b0c-1/~!", &longest] {
        assert_eq!(head(&router, "/small", &[("x-request-id", id)]).await["x-request-id"], *id);
    }
    let mut made = Vec::new();
    for id in ["", "two words", "tab\there", "caf\u{e9}", &"x".repeat(129)] {
        let headers = head(&router, "/small", &[("x-request-id", id)]).await;
        made.push(headers["x-request-id"].to_str().expect("it is text").to_owned());
    }
    made.push(head(&router, "/panic", &[]).await["x-request-id"].to_str().expect("it is text").to_owned());
    assert!(made.iter().all(|id| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())), "{made:?}");
    made.sort();
    made.dedup();
    assert_eq!(made.len(), 6);
}

#[tokio::test]
async fn other_sites_are_let_in_only_where_they_are_listed() {
    let app = TestApp::new(TestDatabase::sqlite()).await;
    let from = |origin| [("origin", origin), ("access-control-request-method", "POST")];
    let is_cors = |headers: &HeaderMap| headers.keys().any(|name| name.as_str().starts_with("access-control-"));

    let response = send(&app.router, Method::OPTIONS, "/graphql", &from("https://a.example")).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert!(response.headers()["allow"].to_str().expect("it is text").contains("POST"));
    assert!(!is_cors(response.headers()));
    assert!(!is_cors(&head(&app.router, "/schema.graphql", &from("https://a.example")).await));

    let flags = ["--cors-origin", "https://a.example,http://localhost:3000", "--cors-origin", "https://b.example"];
    let router = router_with(app.db.clone(), &flags);
    for origin in ["https://a.example", "http://localhost:3000", "https://b.example"] {
        let response = send(&router, Method::OPTIONS, "/graphql", &from(origin)).await;
        assert_eq!(response.status(), StatusCode::OK);
        let headers = response.headers();
        assert_eq!(headers["access-control-allow-origin"], origin);
        assert_eq!(headers["access-control-allow-methods"], "GET,POST");
        // Nothing was asked for.
        assert_eq!(headers.get("access-control-allow-headers"), None);
        assert_eq!(headers["access-control-max-age"], "3600");
        let sent = "apollographql-client-name,authorization,content-type,graphql-client-version,traceparent,x-api-key";
        let asked = [&from(origin)[..], &[("access-control-request-headers", sent)]].concat();
        let headers = head_of(&router, Method::OPTIONS, "/graphql", &asked).await;
        assert_eq!(headers["access-control-allow-headers"], sent);
        let vary = headers.get_all("vary").iter().filter_map(|names| names.to_str().ok()).collect::<Vec<_>>().join(",");
        assert!(vary.contains("origin") && vary.contains("access-control-request-headers"), "{vary}");
        assert_eq!(headers.get("access-control-allow-credentials"), None);
        // An answer is readable whatever it is.
        for path in ["/schema.graphql", "/nothing"] {
            let headers = head(&router, path, &from(origin)).await;
            assert_eq!(headers["access-control-allow-origin"], origin);
            assert_eq!(
                headers["access-control-expose-headers"],
                "x-request-id,retry-after,www-authenticate,x-hero-teams-written"
            );
            assert!(headers.get_all("vary").iter().any(|names| names.as_bytes().starts_with(b"origin")));
        }
    }
    for origin in ["https://c.example", "http://a.example", "https://a.example:444", "https://x.a.example", "null"] {
        for (method, path) in [(Method::OPTIONS, "/graphql"), (Method::GET, "/schema.graphql")] {
            let response = send(&router, method, path, &from(origin)).await;
            assert_eq!(response.headers().get("access-control-allow-origin"), None, "{origin}");
        }
    }
    app.close().await;
}

/// A page that is not from a secure address says `Origin` alone, and its proxy need not keep the name that the page
/// has.
#[tokio::test]
async fn a_page_behind_a_proxy_is_not_taken_for_another_site() {
    let app = TestApp::new(TestDatabase::sqlite()).await;
    let query = r#"mutation { createHero(input: {name: "A", secretName: "B"}) { hero { id } } }"#;
    let request = Request::post("/graphql").header("content-type", "application/json").header("host", "127.0.0.1:8000");
    let request = request.header("origin", "http://heroes.lan").body(Body::from(json!({"query": query}).to_string()));
    let answer = app.router.clone().oneshot(request.expect("it is a request")).await.expect("the router answers");
    assert_eq!(json_body(answer).await, json!({"data": {"createHero": {"hero": {"id": "Hero:1"}}}}));
    app.close().await;
}

/// What is refused before the routes is the same answer whatever the client takes, however long its host is.
#[tokio::test]
async fn a_refused_host_is_told_without_a_coding() {
    let router = router(&[]);
    let host = format!("{}example", "evil.".repeat(400));
    for accepted in ["gzip", "br, gzip", "identity;q=0, *;q=0"] {
        let response = send(&router, Method::GET, "/small", &[("host", &host), ("accept-encoding", accepted)]).await;
        assert_eq!(response.status(), StatusCode::MISDIRECTED_REQUEST, "{accepted}");
        assert_eq!(response.headers().get("content-encoding"), None, "{accepted}");
        assert_eq!(response.headers().get("vary"), None, "{accepted}");
        let message = format!(
            "this server does not answer for the host {host:?}; --allowed-host lets it answer for other names than \
             localhost"
        );
        let error = json!({"message": message, "extensions": {"code": "BAD_USER_INPUT"}});
        assert_eq!(json_body(response).await, json!({"errors": [error]}));
    }
}

#[tokio::test]
async fn other_names_than_this_machines_are_refused() {
    let hosts = [
        "",
        "localhost",
        "LocalHost:8000",
        "a.localhost",
        "localhost.",
        "127.0.0.1:8000",
        "10.0.0.1",
        "[::1]:80",
        "db",
    ];
    let foreign =
        ["evil.example", "evil.example:8000", "localhost.evil.example", "evil.xlocalhost", "127.0.0.1.evil.example"];
    let malformed = ["a b", "localhost/", "x@"];
    let is_answered = async |router: &Router, host| {
        let response = send(router, Method::GET, "/small", &[("host", host)]).await;
        if response.status() == StatusCode::OK {
            return true;
        }
        assert_eq!(response.status(), StatusCode::MISDIRECTED_REQUEST);
        let message = format!(
            "this server does not answer for the host {host:?}; --allowed-host lets it answer for other names than \
             localhost"
        );
        let error = json!({"message": message, "extensions": {"code": "BAD_USER_INPUT"}});
        assert_eq!(json_body(response).await, json!({"errors": [error]}));
        false
    };
    for flags in [&[][..], &["--listen", "[::1]:80"], &["--listen", "[::ffff:127.0.0.1]:80"]] {
        let router = router(flags);
        for host in hosts {
            assert!(is_answered(&router, host).await, "{host}");
        }
        for host in foreign.iter().chain(&malformed) {
            assert!(!is_answered(&router, host).await, "{host}");
        }
        assert_eq!(send(&router, Method::GET, "/small", &[]).await.status(), StatusCode::OK);
        // One that is right does not help one that is wrong, and the target counts as well.
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(send(&router, Method::GET, "/small", &two).await.status(), StatusCode::MISDIRECTED_REQUEST);
        let target = send(&router, Method::GET, "http://evil.example/small", &[("host", "localhost")]).await;
        assert_eq!(target.status(), StatusCode::MISDIRECTED_REQUEST);
    }
    let listed =
        router(&["--allowed-host", "Evil.Example, other.example.,b\u{fc}cher.example", "--allowed-host", "::1"]);
    for (host, expected) in [
        ("evil.example:8000", true),
        ("evil.example.", true),
        ("evil.example.:80", true),
        ("evil.example..", false),
        ("other.example", true),
        ("OTHER.example.", true),
        ("x.other.example", false),
        ("xn--bcher-kva.example", true),
        ("b\u{fc}cher.example", false),
    ] {
        assert_eq!(is_answered(&listed, host).await, expected, "{host}");
    }
    for flags in [&["--listen", "0.0.0.0:80"][..], &["--listen", "unix:/x"]] {
        assert!(is_answered(&router(flags), "evil.example").await);
    }
}

#[tokio::test]
async fn answers_are_compressed_as_clients_ask() {
    let router = router(&[]);
    for (accepted, coding) in [
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("br", "br"),
        ("BR", "br"),
        ("gzip, deflate, br, zstd", "br"),
        ("zstd, gzip", "gzip"),
        ("br;q=0.5, gzip", "gzip"),
        ("gzip;q=0.1, br;q=0.2, zstd;q=1", "br"),
        ("identity;q=0.5, gzip;q=0.4, *;q=0", "identity"),
        ("identity;q=0, *", "br"),
        ("*;q=0.5", "br"),
        ("br;q=0, *;q=0.1, identity;q=0", "gzip"),
        ("gzip;q=0.001", "gzip"),
        // Those that never come.
        ("zstd", "identity"),
        ("zstd;q=1, compress", "identity"),
        ("deflate", "identity"),
        ("identity", "identity"),
        ("gzip;q=0", "identity"),
        ("gzip;q=x", "identity"),
        ("", "identity"),
        (",, ;q=1", "identity"),
    ] {
        let response = send(&router, Method::GET, "/large", &[("accept-encoding", accepted)]).await;
        let sent =
            response.headers().get("content-encoding").map_or("identity", |coding| coding.to_str().expect("text"));
        assert_eq!((response.status(), sent), (StatusCode::OK, coding), "{accepted}");
        assert_eq!(response.headers()["vary"], "accept-encoding", "{accepted}");
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("the body arrives");
        let mut text = String::new();
        match coding {
            "gzip" => drop(flate2::read::GzDecoder::new(&*body).read_to_string(&mut text).expect("it is gzip")),
            "br" => assert!(body.len() < 300),
            _ => text = String::from_utf8(body.into()).expect("it is text"),
        }
        assert!(coding == "br" || text == "large ".repeat(1_000), "{accepted}");
    }
    // Several headers are one list.
    let several = [("accept-encoding", "identity;q=0.1"), ("accept-encoding", "gzip")];
    assert_eq!(head(&router, "/large", &several).await["content-encoding"], "gzip");
    let response = send(&router, Method::GET, "/small", &[("accept-encoding", "gzip, br, zstd")]).await;
    assert_eq!(response.headers().get("content-encoding"), None);
    // Caches must know that it would have been compressed for others.
    assert_eq!(head(&router, "/large", &[]).await["vary"], "accept-encoding");
}

#[tokio::test]
async fn the_scripts_of_the_playground_are_compressed_already() {
    let app = TestApp::new(TestDatabase::sqlite()).await;
    let page = text_body(app.get("/").await).await;
    let script =
        page.split('"').find(|text| text.contains("playground/main-") && text.split('.').next_back() == Some("js"));
    let Some(script) = script else { return skip("the playground is made with Node.js and npm") };
    let path = format!("/{}", script.trim_start_matches(['.', '/']));
    let get = async |accepted: &str| {
        let response = send(&app.router, Method::GET, &path, &[("accept-encoding", accepted)]).await;
        let headers = response.headers();
        let coding = headers.get("content-encoding").map_or("identity", |coding| coding.to_str().expect("text"));
        let kept = ["etag", "vary", "content-type"].map(|name| headers[name].to_str().expect("text").to_owned());
        let coding = coding.to_owned();
        (coding, kept, to_bytes(response.into_body(), usize::MAX).await.expect("the body arrives"))
    };
    let (coding, kept, plain) = get("identity").await;
    assert_eq!((coding.as_str(), &*kept[1]), ("identity", "accept-encoding"));
    let (coding, kept_of_gzip, gzip) = get("gzip, deflate, br").await;
    let mut decoded = Vec::new();
    flate2::read::GzDecoder::new(&*gzip).read_to_end(&mut decoded).expect("it is gzip");
    assert_eq!((coding.as_str(), &kept_of_gzip, &decoded[..]), ("gzip", &kept, &plain[..]));
    let (coding, kept_of_br, _) = get("br").await;
    assert_eq!((coding.as_str(), kept_of_br), ("br", kept.clone()));
    for accepted in ["gzip;q=0", "deflate", ""] {
        assert_eq!(get(accepted).await, ("identity".to_owned(), kept.clone(), plain.clone()), "{accepted}");
    }
    let known = head(&app.router, &path, &[("if-none-match", &kept[0]), ("accept-encoding", "gzip")]).await;
    assert!(!known.contains_key("content-encoding") && known["etag"] == kept[0]);
    app.close().await;
}

#[tokio::test]
async fn who_takes_no_coding_is_refused_before_anything_is_executed() {
    let app = TestApp::new(TestDatabase::sqlite()).await;
    let create = r#"{"query": "mutation { createHero(input: {name: \"A\", secretName: \"B\"}) { hero { id } } }"}"#;
    for accepted in
        ["identity;q=0", "*;q=0", "zstd, identity;q=0", "gzip;q=0, br;q=0, identity;q=0.0", "deflate, *;q=0"]
    {
        let request = Request::post("/graphql").header("content-type", "application/json");
        let request = request.header("accept-encoding", accepted).body(Body::from(create)).expect("it is a request");
        let response = app.router.clone().oneshot(request).await.expect("the router answers");
        assert_eq!(response.status(), StatusCode::NOT_ACCEPTABLE, "{accepted}");
        let message =
            "answers come compressed with br or gzip, or not at all: Accept-Encoding must not exclude all three";
        let error = json!({"message": message, "extensions": {"code": "BAD_USER_INPUT"}});
        assert_eq!(json_body(response).await, json!({"errors": [error]}), "{accepted}");
    }
    assert_eq!(app.counts().await, [0, 0, 0]);
    app.close().await;
}

#[tokio::test]
async fn a_fault_is_the_answer_to_its_request_only() {
    let router = router(&[]);
    let response = send(&router, Method::GET, "/panic", &[("x-request-id", "p")]).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(response.headers()["x-request-id"], "p");
    let message = "the server failed to do this; its log has the reason";
    let error = json!({"message": message, "extensions": {"code": "INTERNAL"}});
    assert_eq!(json_body(response).await, json!({"errors": [error]}));
    assert_eq!(send(&router, Method::GET, "/small", &[]).await.status(), StatusCode::OK);
}

/// The fields of what is logged, with the id of the request, and without the times.
fn fields(log: &Log) -> Vec<Value> {
    let of_line = |line: Value| {
        let mut fields = line["fields"].clone();
        fields["id"] = line["span"]["id"].clone();
        for time in ["ms", "statement_ms"] {
            if fields.get(time).is_some() {
                assert!(fields[time].take().is_f64(), "{line}");
            }
        }
        fields
    };
    log.lines().into_iter().map(of_line).collect()
}

#[tokio::test]
async fn what_is_logged_of_a_request() {
    let measured = Measured {
        operation: Some(RequestedOperation {
            ty: OperationType::Query,
            name: Some(Name::new("Teams")),
            document: DocumentId::from_text("query Teams { teams { id } }"),
        }),
        rows: 7,
        bytes: 99,
        statements: 2,
        statement_time: Duration::from_millis(3),
        error_codes: vec!["NOT_FOUND".to_owned(), "INTERNAL".to_owned()],
        ..Measured::default()
    };
    let pages = Router::new()
        .route("/measured", get(move || async { (axum::Extension(measured), "").into_response() }))
        .route("/clean", get(|| async { (axum::Extension(Measured::default()), "").into_response() }))
        .route("/health/live", get("live"));
    let router = http::with_layers(pages, &settings(&[]), Telemetry::default());
    let heard = Log::of_this_test();

    // What happens in other tests, who may be the first to come to a place that logs, is logged for them.
    let other = router.clone();
    let another_test = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(send(&other, Method::GET, "/clean", &[]));
    });
    another_test.join().expect("it does not panic");
    let id = [("x-request-id", "i")];
    send(&router, Method::GET, "/measured?secret", &id).await;
    send(&router, Method::GET, "/clean", &id).await;
    send(&router, Method::POST, &format!("/{}", "x".repeat(1000)), &id).await;
    send(&router, Method::GET, "/health/live", &id).await;
    send(&router, Method::GET, "/clean", &[("x-request-id", "i"), ("host", "evil.example")]).await;
    let answered = |method: &str, path: &str, status: u16| json!({"message": "answered", "method": method, "path": path, "status": status, "ms": null, "id": "i"});
    let mut full = answered("GET", "/measured", 200);
    full["operation"] = json!("Teams");
    full["document"] = json!("e6323aef");
    full["rows"] = json!(7);
    full["bytes"] = json!(99);
    full["statements"] = json!(2);
    full["statement_ms"] = Value::Null;
    full["errors"] = json!("NOT_FOUND,INTERNAL");
    let mut clean = answered("GET", "/clean", 200);
    clean["statements"] = json!(0);
    clean["statement_ms"] = Value::Null;
    let long = answered("POST", &format!("/{}", "x".repeat(199)), 404);
    assert_eq!(fields(&heard), [full, clean, long, answered("GET", "/clean", 421)]);
}
