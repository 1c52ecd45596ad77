//! What comes in and goes out over HTTP.

use std::io::Write as _;

use axum::{
    body::Body,
    http::{Request, StatusCode, header::CONTENT_TYPE},
};
use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use tower::ServiceExt;

use crate::{
    databases::TestDatabase,
    support::{TestApp, json_body, on_both_databases, post, text_body},
};

on_both_databases! {
    async fn live_and_ready(app: TestApp) {
        let response = app.get("/health/live").await;
        assert_eq!((response.status(), text_body(response).await.as_str()), (StatusCode::OK, "live"));
        let response = app.get("/health/ready").await;
        assert_eq!((response.status(), text_body(response).await.as_str()), (StatusCode::OK, "ready"));

        app.db.read.close().await.expect("the readers close");
        let response = app.get("/health/live").await;
        assert_eq!(response.status(), StatusCode::OK);
        let response = app.get("/health/ready").await;
        let answer = (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer");
        assert_eq!((response.status(), text_body(response).await.as_str()), answer);
        let answer = app.graphql("{ hero(id: 1) { name teams { name } } }").await;
        assert_eq!(answer, json!({"data": {"hero": null}, "errors": [{
            "message": "the database is not available at the moment; try again later",
            "locations": [{"line": 1, "column": 3}], "path": ["hero"], "extensions": {"code": "UNAVAILABLE"},
        }]}));
    }
}

#[tokio::test]
async fn what_is_not_a_graphql_request() {
    let app = TestApp::new(TestDatabase::sqlite()).await;
    let query = r#"{"query": "{ heroes { name } }"}"#;
    let large = format!(r#"{{"query": "{}"}}"#, " ".repeat(1024 * 1024));
    let media_type = "the content type must be application/json, in UTF-8";
    for (content_type, body, status, message) in [
        ("text/plain", query, StatusCode::UNSUPPORTED_MEDIA_TYPE, media_type),
        ("application/x-www-form-urlencoded", query, StatusCode::UNSUPPORTED_MEDIA_TYPE, media_type),
        ("multipart/form-data; boundary=x", query, StatusCode::UNSUPPORTED_MEDIA_TYPE, media_type),
        ("", query, StatusCode::UNSUPPORTED_MEDIA_TYPE, media_type),
        ("application/json", &large, StatusCode::PAYLOAD_TOO_LARGE, "the body of a request has at most 1048576 bytes"),
    ] {
        let response = post(&app.router, content_type, body.to_owned()).await;
        assert_eq!(response.status(), status, "{content_type} {}", body.len());
        // A body that was not read to its end is in the way of a further request.
        let closes = response.headers().get("connection").is_some_and(|value| value == "close");
        assert_eq!(closes, status == StatusCode::PAYLOAD_TOO_LARGE, "{content_type} {}", body.len());
        let error = json!({"message": message, "extensions": {"code": "BAD_USER_INPUT"}});
        assert_eq!(json_body(response).await, json!({"errors": [error]}));
    }
    for content_type in ["application/json", "application/json; charset=utf-8", "Application/JSON ;charset=UTF-8"] {
        let response = post(&app.router, content_type, query.to_owned()).await;
        assert_eq!(json_body(response).await, json!({"data": {"heroes": []}}));
    }
    assert_eq!(app.get("/nothing").await.status(), StatusCode::NOT_FOUND);
    app.close().await;
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("it is memory");
    encoder.finish().expect("it is memory")
}

#[tokio::test]
async fn a_body_may_be_compressed() {
    let app = TestApp::with(TestDatabase::sqlite(), |settings| settings.serve.max_body_bytes = 100_000).await;
    let send = async |codings: &[&str], body: Vec<u8>| {
        let mut request = Request::post("/graphql").header(CONTENT_TYPE, "application/json");
        for coding in codings {
            request = request.header("content-encoding", *coding);
        }
        let request = request.body(Body::from(body)).expect("it is a request");
        let response = app.router.clone().oneshot(request).await.expect("the router answers");
        let closes = response.headers().contains_key("connection");
        let accepts =
            response.headers().get("accept-encoding").map(|codings| codings.to_str().expect("text").to_owned());
        (response.status().as_u16(), closes, accepts, json_body(response).await)
    };
    let refused = |status: u16, closes: bool, accepts: Option<&str>, message: &str| {
        let error = json!({"message": message, "extensions": {"code": "BAD_USER_INPUT"}});
        (status, closes, accepts.map(str::to_owned), json!({"errors": [error]}))
    };
    let query = br#"{"query": "{ heroes { name } }"}"#;
    let fine = (200, false, None, json!({"data": {"heroes": []}}));
    let (start, end) = query.split_at(10);
    for (codings, body) in [
        (&["gzip"][..], gzip(query)),
        (&["GZip"], gzip(query)),
        (&["x-gzip"], gzip(query)),
        (&["identity, gzip ,"], gzip(query)),
        (&["identity", "gzip"], gzip(query)),
        // It may have several members.
        (&["gzip"], [gzip(start), gzip(b""), gzip(end)].concat()),
        (&["gzip"], [gzip(query), gzip(b"").repeat(99)].concat()),
        (&["gzip"], gzip(&[query, " ".repeat(99_968).as_bytes()].concat())),
        (&["identity"], query.to_vec()),
        (&[""], query.to_vec()),
    ] {
        assert_eq!(send(codings, body).await, fine, "{codings:?}");
    }

    let unknown = "the content coding of a request must be gzip, once, or identity";
    for codings in
        [&["zstd"][..], &["br"], &["deflate"], &["gzip, zstd"], &["gzip, gzip"], &["gzip", "x-gzip"], &["utf-8"]]
    {
        for body in [gzip(query), query.to_vec(), Vec::new()] {
            assert_eq!(send(codings, body).await, refused(415, false, Some("gzip"), unknown), "{codings:?}");
        }
    }

    let whole = gzip(query);
    let mut changed = whole.clone();
    let checksum = changed.len() - 6;
    changed[checksum] ^= 1;
    for body in [
        query.to_vec(),
        whole[..whole.len() - 1].to_vec(),
        whole[..20].to_vec(),
        changed,
        [&whole, &b"x"[..]].concat(),
        [&whole[..], &gzip(b"").repeat(100)].concat(),
        Vec::new(),
    ] {
        let message = "the body of the request cannot be decompressed as gzip";
        assert_eq!(send(&["gzip"], body).await, refused(400, false, None, message));
    }
    let object = r#"the body must be a JSON object such as {"query": "{ heroes { name } }", "variables": {}}"#;
    assert_eq!(send(&["gzip"], gzip(b"")).await, refused(400, false, None, object));

    // Both what comes and what becomes of it are bounded.
    let too_large = "the body of a request has at most 100000 bytes";
    let one_too_many = gzip(&[query, " ".repeat(99_969).as_bytes()].concat());
    assert_eq!(send(&["gzip"], one_too_many).await, refused(413, false, None, too_large));
    let bomb = gzip(&vec![b' '; 80_000_000]);
    assert!(bomb.len() < 100_000);
    assert_eq!(send(&["gzip"], bomb).await, refused(413, false, None, too_large));
    let noise = std::iter::repeat_with(|| fastrand::u8(..)).take(100_001).collect();
    assert_eq!(send(&["gzip"], noise).await, refused(413, true, None, too_large));
    app.close().await;
}

#[tokio::test]
async fn the_schema_for_tools() {
    let app = TestApp::new(TestDatabase::sqlite()).await;
    let response = app.get("/schema.graphql").await;
    assert_eq!(response.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
    assert_eq!(text_body(response).await, hero_teams::graphql::sdl::<hero_teams::schema::HeroTeams>());
    app.close().await;
}

#[tokio::test]
async fn the_page_may_load_nothing_from_elsewhere() {
    let app = TestApp::new(TestDatabase::sqlite()).await;
    let response = app.get("/").await;
    let headers = response.headers();
    assert_eq!(headers[CONTENT_TYPE], "text/html; charset=utf-8");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["x-frame-options"], "DENY");
    assert_eq!(headers["referrer-policy"], "no-referrer");
    let policy = headers["content-security-policy"].to_str().expect("it is text").to_owned();
    for directive in ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(directive), "{policy}");
    }
    let page = text_body(response).await;
    assert!(page.contains("<title>"), "{page}");
    // Addresses are relative, so that a proxy may serve the page below a path.
    assert!(!page.contains("://") && !page.contains("=\"/"), "{page}");
    app.close().await;
}
