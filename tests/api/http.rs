//! What comes in and goes out over HTTP.

use axum::http::{StatusCode, header::CONTENT_TYPE};
use serde_json::json;

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
    assert!(!page.contains("://"), "{page}");
    app.close().await;
}
