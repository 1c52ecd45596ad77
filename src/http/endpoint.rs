//! The GraphQL endpoint.

use async_graphql::ParseRequestError;
use async_graphql_axum::{GraphQLRequest, GraphQLResponse, rejection::GraphQLRejection};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::graphql::{self, Schema};

/// `POST /graphql`.
pub async fn graphql(
    State(schema): State<Schema>,
    headers: HeaderMap,
    request: Result<GraphQLRequest, GraphQLRejection>,
) -> Response {
    if !is_json(&headers) {
        // A form of a foreign page can send no other type without asking first, so this also keeps such pages out.
        return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content type must be application/json");
    }
    match request {
        Ok(request) => GraphQLResponse::from(schema.execute(request.into_inner()).await).into_response(),
        Err(GraphQLRejection(ParseRequestError::PayloadTooLarge)) => {
            refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")
        }
        Err(_) => refusal(
            StatusCode::BAD_REQUEST,
            r#"the body must be a JSON object such as {"query": "{ heroes { name } }", "variables": {}}"#,
        ),
    }
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
