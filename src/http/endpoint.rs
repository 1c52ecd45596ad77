//! The GraphQL endpoint (the specification GraphQL over HTTP): a request is read and parsed, answered by the schema,
//! and sent in the media type that its client wants.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, Version, header},
    response::{IntoResponse, Response},
};
use tokio::{sync::Semaphore, time::Instant};

use super::{
    body::{BodyLimits, read_body},
    coding::{self, Coding},
    log::Measured,
    media_type::{MediaType, is_json},
    params::{self, Parsed},
    refusal::refusal,
};
use crate::graphql::{self, Answer, Code, Outcome, Params, Schema};

/// What the endpoint works with.
pub struct Endpoint {
    pub schema: Schema,
    pub body: BodyLimits,
    /// How long a request is worked on. A batch is one request.
    pub request_timeout: Duration,
    /// As many as requests may be worked on at once.
    pub permits: Semaphore,
    /// Requests in one batch, at most; 0 refuses batches.
    pub max_batch: usize,
}

/// `GET /graphql`, for queries alone.
pub async fn get(State(endpoint): State<Arc<Endpoint>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let Some(media_type) = MediaType::accepted(&headers) else { return not_acceptable() };
    let Ok(_permit) = endpoint.permits.try_acquire() else { return too_many(media_type) };
    match params::of_query(query.as_deref().unwrap_or_default()) {
        Ok(params) => answered(media_type, &endpoint.schema.execute(params, true, endpoint.deadline()).await),
        Err(message) => refused(media_type, StatusCode::BAD_REQUEST, &message),
    }
}

/// `POST /graphql`.
pub async fn post(State(endpoint): State<Arc<Endpoint>>, version: Version, headers: HeaderMap, body: Body) -> Response {
    let Some(media_type) = MediaType::accepted(&headers) else { return not_acceptable() };
    if !is_json(&headers) {
        let message = "the content type must be application/json, in UTF-8";
        return refused(media_type, StatusCode::UNSUPPORTED_MEDIA_TYPE, message);
    }
    let Some(coding) = Coding::of_request(&headers) else {
        let message = "the content coding of a request must be gzip, once, or identity";
        let mut response = refused(media_type, StatusCode::UNSUPPORTED_MEDIA_TYPE, message);
        response.headers_mut().insert(header::ACCEPT_ENCODING, coding::ACCEPTED);
        return response;
    };
    let body = match read_body(body, endpoint.body).await {
        Ok(body) => body,
        Err(error) => {
            let mut response = refused(media_type, error.status(), &error.message());
            if version < Version::HTTP_2 {
                // The rest of the body is in the way of a further request.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            return response;
        }
    };
    // Clients that are slow to send must not keep others out, and neither must those that are slow to take their
    // answers.
    let Ok(_permit) = endpoint.permits.try_acquire() else { return too_many(media_type) };
    let body = match coding.decode(body, endpoint.body.bytes) {
        Ok(body) => body,
        Err(error) => return refused(media_type, error.status(), &error.message()),
    };
    match params::of_body(&body, endpoint.max_batch) {
        Ok(Parsed::One(params)) => {
            answered(media_type, &endpoint.schema.execute(params, false, endpoint.deadline()).await)
        }
        Ok(Parsed::Batch(batch)) => endpoint.batch(media_type, batch).await,
        Err(message) => refused(media_type, StatusCode::BAD_REQUEST, &message),
    }
}

/// `GET /schema.graphql`: the schema for tools that do not introspect.
pub async fn sdl(State(endpoint): State<Arc<Endpoint>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], endpoint.schema.sdl().to_owned()).into_response()
}

impl Endpoint {
    fn deadline(&self) -> Instant {
        Instant::now() + self.request_timeout
    }

    /// Answers the requests of a batch one after another, so that a later one reads what an earlier one has written.
    async fn batch(&self, media_type: MediaType, batch: Vec<Params>) -> Response {
        let deadline = self.deadline();
        let mut answers = Vec::with_capacity(batch.len());
        for params in batch {
            answers.push(self.schema.execute(params, false, deadline).await);
        }
        let body = answers.iter().map(Answer::to_json).collect::<Vec<_>>().join(&b","[..]);
        let mut response = response(media_type, StatusCode::OK, [b"[", &body[..], b"]"].concat());
        response.extensions_mut().insert(measured(&answers));
        response
    }
}

fn answered(media_type: MediaType, answer: &Answer) -> Response {
    let status = match (&answer.outcome, media_type) {
        (Outcome::NotReadOnly, _) => StatusCode::METHOD_NOT_ALLOWED,
        (Outcome::Refused, MediaType::GraphQlResponse) => StatusCode::BAD_REQUEST,
        (Outcome::Refused, MediaType::Json) | (Outcome::Executed(_), _) => StatusCode::OK,
    };
    let mut response = response(media_type, status, answer.to_json());
    if answer.outcome == Outcome::NotReadOnly {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    response.extensions_mut().insert(measured(std::slice::from_ref(answer)));
    response
}

/// What the log is told of answers: the name of the first operation, and the sums of what they cost.
fn measured(answers: &[Answer]) -> Measured {
    let mut measured = Measured::default();
    for answer in answers {
        let name = || answer.operation_name.as_ref().map(ToString::to_string);
        measured.operation_name = measured.operation_name.or_else(name);
        measured.statements += answer.usage.statements;
        measured.statement_time += answer.usage.time;
        for code in answer.errors.iter().filter_map(graphql::code) {
            if !measured.error_codes.contains(&code) {
                measured.error_codes.push(code);
            }
        }
    }
    measured
}

/// The answer to what is not a GraphQL request.
fn refused(media_type: MediaType, status: StatusCode, message: &str) -> Response {
    error(media_type, status, Code::BadUserInput, message)
}

fn error(media_type: MediaType, status: StatusCode, code: Code, message: &str) -> Response {
    let mut response = refusal(status, code, message);
    let (name, value) = media_type.content_type();
    response.headers_mut().insert(name, value);
    response
}

/// The answer when as many requests as may be are being worked on: at once, without a queue.
fn too_many(media_type: MediaType) -> Response {
    let message = "the server has as many requests as it can work on; try again in a moment";
    let mut response = error(media_type, StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, message);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn not_acceptable() -> Response {
    let message = "answers come as application/graphql-response+json or as application/json, in UTF-8";
    refused(MediaType::Json, StatusCode::NOT_ACCEPTABLE, message)
}

fn response(media_type: MediaType, status: StatusCode, body: Vec<u8>) -> Response {
    (status, [media_type.content_type()], body).into_response()
}
