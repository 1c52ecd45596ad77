//! Answers that are given without asking GraphQL, in the shape of its errors.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::graphql::Code;

/// An answer with one error.
#[must_use]
pub fn refusal(status: StatusCode, code: Code, message: &str) -> Response {
    let error = json!({"errors": [{"message": message, "extensions": {"code": code.as_str()}}]});
    (status, Json(error)).into_response()
}

/// An answer to a request that can be sent again in a moment.
#[must_use]
pub fn unavailable(message: &str) -> Response {
    let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, message);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
