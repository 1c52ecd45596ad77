//! The GraphQL endpoint (the specification GraphQL over HTTP): a request is read and parsed, answered by the schema, and sent
//! in the media type that its client wants.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{RawQuery, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{
    media_type::{MediaType, is_json},
    params::{self, Body},
};
use crate::graphql::{self, Answer, Outcome, Params, Schema};

/// What the endpoint works with.
#[derive(Clone)]
pub struct Endpoint {
    pub schema: Schema,
    /// Requests in one batch, at most; 0 refuses batches.
    pub max_batch: usize,
}

/// `GET /graphql`, for queries alone.
pub async fn get(State(endpoint): State<Arc<Endpoint>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let Some(media_type) = MediaType::accepted(&headers) else { return not_acceptable() };
    match params::of_query(query.as_deref().unwrap_or_default()) {
        Ok(params) => answered(media_type, &endpoint.schema.execute(params, true).await),
        Err(message) => refusal(media_type, StatusCode::BAD_REQUEST, &message),
    }
}

/// `POST /graphql`.
pub async fn post(
    State(endpoint): State<Arc<Endpoint>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Some(media_type) = MediaType::accepted(&headers) else { return not_acceptable() };
    if !is_json(&headers) {
        let message = "the content type must be application/json, in UTF-8";
        return refusal(media_type, StatusCode::UNSUPPORTED_MEDIA_TYPE, message);
    }
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return refusal(media_type, rejection.status(), &rejection.body_text()),
    };
    match params::of_body(&body, endpoint.max_batch) {
        Ok(Body::One(params)) => answered(media_type, &endpoint.schema.execute(params, false).await),
        Ok(Body::Batch(batch)) => batched(media_type, &endpoint.schema, batch).await,
        Err(message) => refusal(media_type, StatusCode::BAD_REQUEST, &message),
    }
}

/// `GET /schema.graphql`: the schema for tools that do not introspect.
pub async fn sdl() -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], graphql::sdl()).into_response()
}

/// Answers the requests of a batch one after another, so that a later one reads what an earlier one has written.
async fn batched(media_type: MediaType, schema: &Schema, batch: Vec<Params>) -> Response {
    let mut answers = Vec::with_capacity(batch.len());
    for params in batch {
        answers.push(schema.execute(params, false).await);
    }
    json_response(media_type, StatusCode::OK, &answers)
}

fn answered(media_type: MediaType, answer: &Answer) -> Response {
    let status = match (&answer.outcome, media_type) {
        (Outcome::NotReadOnly, _) => StatusCode::METHOD_NOT_ALLOWED,
        (Outcome::Refused, MediaType::GraphQlResponse) => StatusCode::BAD_REQUEST,
        (Outcome::Refused, MediaType::Json) | (Outcome::Executed(_), _) => StatusCode::OK,
    };
    let mut response = json_response(media_type, status, answer);
    if answer.outcome == Outcome::NotReadOnly {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// The answer to what is not a GraphQL request.
fn refusal(media_type: MediaType, status: StatusCode, message: &str) -> Response {
    let error = json!({"errors": [{"message": message, "extensions": {"code": graphql::BAD_USER_INPUT}}]});
    json_response(media_type, status, &error)
}

fn not_acceptable() -> Response {
    let message = "answers come as application/graphql-response+json or as application/json, in UTF-8";
    refusal(MediaType::Json, StatusCode::NOT_ACCEPTABLE, message)
}

fn json_response(media_type: MediaType, status: StatusCode, answer: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(answer) {
        Ok(body) => (status, [media_type.content_type()], body).into_response(),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
