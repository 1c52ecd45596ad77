//! The GraphQL endpoint.

use async_graphql_axum::GraphQLResponse;
use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::graphql::{self, Schema};

/// `POST /graphql`.
pub async fn graphql(
    State(schema): State<Schema>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    if !is_json(&headers) {
        // A form of a foreign page can send no other type without asking first, so this also keeps such pages out.
        return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content type must be application/json");
    }
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return refusal(rejection.status(), &rejection.body_text()),
    };
    match request(&body) {
        Some(request) => GraphQLResponse::from(schema.execute(request).await).into_response(),
        None => refusal(
            StatusCode::BAD_REQUEST,
            r#"the body must be a JSON object such as {"query": "{ heroes { name } }", "variables": {}}"#,
        ),
    }
}

fn request(body: &[u8]) -> Option<async_graphql::Request> {
    // serde takes an array for a struct, too.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    serde_json::from_slice(body).ok()
}

/// `GET /schema.graphql`: the schema for tools that do not introspect.
pub async fn sdl() -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], graphql::sdl()).into_response()
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// An answer to a request that is not a GraphQL request.
fn refusal(status: StatusCode, message: &str) -> Response {
    let error = json!({"errors": [{"message": message, "extensions": {"code": graphql::BAD_USER_INPUT}}]});
    (status, Json(error)).into_response()
}
