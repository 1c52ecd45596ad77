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
    credential::{CHALLENGE, authenticate},
    log::Measured,
    media_type::{MediaType, is_json},
    params::{self, Parsed},
    refusal::refusal,
};
use crate::{
    access::{Access, Principal},
    graphql::{self, Answer, Code, Outcome, Params, Schema},
};

/// What the endpoint works with.
pub struct Endpoint {
    pub schema: Schema,
    pub access: Access,
    pub body: BodyLimits,
    /// How long a request is worked on. A batch is one request.
    pub request_timeout: Duration,
    /// As many as requests may be worked on at once.
    pub permits: Semaphore,
    /// The greatest number of requests in one batch; 0 refuses batches.
    pub max_batch: usize,
}

/// `GET /graphql`, for queries alone.
pub async fn get(State(endpoint): State<Arc<Endpoint>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let Some(media_type) = MediaType::accepted(&headers) else { return not_acceptable() };
    let principal = match endpoint.principal(media_type, &headers).await {
        Ok(principal) => principal,
        Err(refused) => return refused,
    };
    let Ok(_permit) = endpoint.permits.try_acquire() else { return too_many(media_type) };
    match params::of_query(query.as_deref().unwrap_or_default()) {
        Ok(params) => endpoint.answered(media_type, params, &principal, true).await,
        Err(message) => refused(media_type, StatusCode::BAD_REQUEST, &message),
    }
}

/// `POST /graphql`.
pub async fn post(State(endpoint): State<Arc<Endpoint>>, version: Version, headers: HeaderMap, body: Body) -> Response {
    let Some(media_type) = MediaType::accepted(&headers) else { return not_acceptable() };
    let principal = match endpoint.principal(media_type, &headers).await {
        Ok(principal) => principal,
        Err(refused) => return refused,
    };
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
        Ok(Parsed::One(params)) => endpoint.answered(media_type, params, &principal, false).await,
        Ok(Parsed::Batch(batch)) => endpoint.batch(media_type, batch, &principal).await,
        Err(message) => refused(media_type, StatusCode::BAD_REQUEST, &message),
    }
}

/// `GET /schema.graphql`: the schema for tools that do not introspect.
pub async fn sdl(State(endpoint): State<Arc<Endpoint>>, headers: HeaderMap) -> Response {
    let principal = match endpoint.principal(MediaType::Json, &headers).await {
        Ok(principal) => principal,
        Err(refused) => return refused,
    };
    if let Err(error) = endpoint.schema.check_introspection(&principal, "schema.graphql") {
        let (status, is_anonymous) = match error.code {
            Code::Unauthenticated => (StatusCode::UNAUTHORIZED, true),
            _ => (StatusCode::FORBIDDEN, false),
        };
        let mut response = refusal(status, error.code, &error.message);
        if is_anonymous {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        return response;
    }
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], endpoint.schema.sdl().to_owned()).into_response()
}

impl Endpoint {
    fn deadline(&self) -> Instant {
        Instant::now() + self.request_timeout
    }

    /// Who sends a request.
    async fn principal(&self, media_type: MediaType, headers: &HeaderMap) -> Result<Principal, Response> {
        authenticate(&self.access, headers, self.request_timeout).await.map_err(|mut refused| {
            let (name, value) = media_type.content_type();
            refused.headers_mut().insert(name, value);
            refused
        })
    }

    /// Answers a request.
    async fn answered(
        &self,
        media_type: MediaType,
        params: Params,
        principal: &Principal,
        is_read_only: bool,
    ) -> Response {
        let answer = self.schema.execute(params, principal, is_read_only, self.deadline()).await;
        let mut response = response(media_type, status(&answer.outcome, media_type), answer.to_json());
        let header = match answer.outcome {
            Outcome::NotReadOnly => Some((header::ALLOW, HeaderValue::from_static("POST"))),
            Outcome::Unauthenticated => Some((header::WWW_AUTHENTICATE, CHALLENGE)),
            _ => None,
        };
        response.headers_mut().extend(header);
        response.extensions_mut().insert(self.measured(std::slice::from_ref(&answer), principal));
        response
    }

    /// Answers the requests of a batch one after another, so that a later one reads what an earlier one has written.
    async fn batch(&self, media_type: MediaType, batch: Vec<Params>, principal: &Principal) -> Response {
        let deadline = self.deadline();
        let mut answers = Vec::with_capacity(batch.len());
        for params in batch {
            answers.push(self.schema.execute(params, principal, false, deadline).await);
        }
        let body = answers.iter().map(Answer::to_json).collect::<Vec<_>>().join(&b","[..]);
        let mut response = response(media_type, StatusCode::OK, [b"[", &body[..], b"]"].concat());
        response.extensions_mut().insert(self.measured(&answers, principal));
        response
    }

    /// What the log is told of answers: the name of the first operation, and the sums of what they cost.
    fn measured(&self, answers: &[Answer], principal: &Principal) -> Measured {
        let principal = self.access.is_set().then(|| principal.clone());
        let mut measured = Measured { principal, ..Measured::default() };
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
}

fn status(outcome: &Outcome, media_type: MediaType) -> StatusCode {
    match (outcome, media_type) {
        (Outcome::NotReadOnly, _) => StatusCode::METHOD_NOT_ALLOWED,
        (Outcome::Unauthenticated, _) => StatusCode::UNAUTHORIZED,
        (Outcome::Forbidden, MediaType::GraphQlResponse) => StatusCode::FORBIDDEN,
        (Outcome::Refused, MediaType::GraphQlResponse) => StatusCode::BAD_REQUEST,
        (Outcome::Forbidden | Outcome::Refused, MediaType::Json) | (Outcome::Executed(_), _) => StatusCode::OK,
    }
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
