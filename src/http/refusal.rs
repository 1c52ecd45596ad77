//! Answers that are given without asking GraphQL, in the shape of its errors.

use axum::{
    Json,
    http::StatusCode,
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
