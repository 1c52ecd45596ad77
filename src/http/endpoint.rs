//! The GraphQL endpoint (the specification GraphQL over HTTP): a request is read and parsed, answered by the schema,
//! and sent in the media type that its client wants.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header},
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
    refusal::{refusal, unavailable},
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
///
/// # Errors
///
/// The answer to a request that is not one of GraphQL, or not allowed.
pub async fn get(
    State(endpoint): State<Arc<Endpoint>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Response> {
    let media_type = MediaType::accepted(&headers).ok_or_else(not_acceptable)?;
    let principal = endpoint.principal(media_type, &headers).await?;
    let _permit = endpoint.permits.try_acquire().map_err(|_| too_many(media_type))?;
    let params = params::of_query(query.as_deref().unwrap_or_default());
    let params = params.map_err(|message| refused(media_type, StatusCode::BAD_REQUEST, &message))?;
    Ok(endpoint.answered(media_type, params, &principal, true).await)
}

/// `POST /graphql`.
///
/// # Errors
///
/// The answer to a request that is not one of GraphQL, or not allowed.
pub async fn post(
    State(endpoint): State<Arc<Endpoint>>,
    version: Version,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Response> {
    let media_type = MediaType::accepted(&headers).ok_or_else(not_acceptable)?;
    let principal = endpoint.principal(media_type, &headers).await?;
    if !is_json(&headers) {
        let message = "the content type must be application/json, in UTF-8";
        return Err(refused(media_type, StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let coding = Coding::of_request(&headers).ok_or_else(|| {
        let message = "the content coding of a request must be gzip, once, or identity";
        let mut response = refused(media_type, StatusCode::UNSUPPORTED_MEDIA_TYPE, message);
        response.headers_mut().insert(header::ACCEPT_ENCODING, coding::ACCEPTED);
        response
    })?;
    let body = read_body(body, endpoint.body).await.map_err(|error| {
        let mut response = refused(media_type, error.status(), &error.message());
        if version < Version::HTTP_2 {
            // The rest of the body is in the way of a further request.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    })?;
    // Clients that are slow to send must not keep others out, and neither must those that are slow to take their
    // answers.
    let _permit = endpoint.permits.try_acquire().map_err(|_| too_many(media_type))?;
    let body = coding.decode(body, endpoint.body.bytes);
    let body = body.map_err(|error| refused(media_type, error.status(), &error.message()))?;
    match params::of_body(&body, endpoint.max_batch) {
        Ok(Parsed::One(params)) => Ok(endpoint.answered(media_type, params, &principal, false).await),
        Ok(Parsed::Batch(batch)) => Ok(endpoint.batch(media_type, batch, &principal).await),
        Err(message) => Err(refused(media_type, StatusCode::BAD_REQUEST, &message)),
    }
}

/// `GET /schema.graphql`: the schema for tools that do not introspect.
///
/// # Errors
///
/// The answer to a request that is not allowed.
pub async fn sdl(State(endpoint): State<Arc<Endpoint>>, headers: HeaderMap) -> Result<Response, Response> {
    let principal = endpoint.principal(MediaType::Json, &headers).await?;
    endpoint.schema.check_introspection(&principal, "schema.graphql").map_err(|error| {
        let (code, message) = (error.code, error.message.clone());
        let outcome = Answer::from(error).outcome;
        let mut response = refusal(status(&outcome, MediaType::GraphQlResponse), code, &message);
        response.headers_mut().extend(header_of(&outcome));
        response
    })?;
    let content_type = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((content_type, endpoint.schema.sdl().to_owned()).into_response())
}

impl Endpoint {
    fn deadline(&self) -> Instant {
        Instant::now() + self.request_timeout
    }

    /// Who sends a request.
    async fn principal(&self, media_type: MediaType, headers: &HeaderMap) -> Result<Principal, Response> {
        let principal = authenticate(&self.access, headers, self.request_timeout).await;
        principal.map_err(|refused| of_type(media_type, refused))
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
        response.headers_mut().extend(header_of(&answer.outcome));
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

/// What a client is told by a header of what it has to do instead.
fn header_of(outcome: &Outcome) -> Option<(HeaderName, HeaderValue)> {
    match outcome {
        Outcome::NotReadOnly => Some((header::ALLOW, HeaderValue::from_static("POST"))),
        Outcome::Unauthenticated => Some((header::WWW_AUTHENTICATE, CHALLENGE)),
        Outcome::Executed(_) | Outcome::Refused | Outcome::Forbidden => None,
    }
}

/// The answer to what is not a GraphQL request.
fn refused(media_type: MediaType, status: StatusCode, message: &str) -> Response {
    of_type(media_type, refusal(status, Code::BadUserInput, message))
}

/// An answer in the media type that its client wants.
fn of_type(media_type: MediaType, mut response: Response) -> Response {
    let (name, value) = media_type.content_type();
    response.headers_mut().insert(name, value);
    response
}

/// The answer when as many requests as may be are being worked on: at once, without a queue.
fn too_many(media_type: MediaType) -> Response {
    let message = "the server has as many requests as it can work on; try again in a moment";
    of_type(media_type, unavailable(message))
}

fn not_acceptable() -> Response {
    let message = "answers come as application/graphql-response+json or as application/json, in UTF-8";
    refused(MediaType::Json, StatusCode::NOT_ACCEPTABLE, message)
}

fn response(media_type: MediaType, status: StatusCode, body: Vec<u8>) -> Response {
    (status, [media_type.content_type()], body).into_response()
}
