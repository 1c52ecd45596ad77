//! The GraphQL endpoint (the specification GraphQL over HTTP): a request is read and parsed, answered by the schema,
//! and sent in the media type that its client wants.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header, request::Parts},
    response::{IntoResponse, Response},
};
use tokio::{sync::Semaphore, time::Instant};

use super::{
    body::{BodyLimits, read_body},
    coding::{self, Coding},
    credential::{CHALLENGE, INSUFFICIENT_SCOPE, authenticate, credential},
    event_stream,
    headers::{AFTER, WRITTEN},
    log::Measured,
    media_type::{MediaType, is_json},
    params::{self, Parsed},
    refusal::{refusal, unavailable},
    server_timing::{self, SERVER_TIMING, server_timing},
    session::Session,
};
use crate::{
    access::{Access, Credential, Principal},
    config::{EventSettings, Origin},
    graphql::{self, Answer, CheckedRequest, Code, CostReport, DocumentId, Outcome, Params, SDL, Schema},
    server::Lifetime,
    telemetry::Telemetry,
};

/// Whether the client wants to know what its request costs: `report`, or `validate` to have it not executed.
const COST: HeaderName = HeaderName::from_static("graphql-cost");
/// The cursor of the last event that a client has (Server-Sent Events).
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The headers with the name that a client gives itself.
const CLIENT_NAMES: [HeaderName; 2] =
    [HeaderName::from_static("apollographql-client-name"), HeaderName::from_static("graphql-client-name")];
/// The greatest number of characters of the name of a client that are logged.
const MAX_CLIENT_NAME: usize = 100;

/// What a client is told when as many requests as may be are being worked on.
pub const TOO_MANY: &str = "the server has as many requests as it can work on; try again in a moment";

/// What the endpoint works with.
pub struct Endpoint {
    pub schema: Schema,
    pub access: Access,
    pub body: BodyLimits,
    /// How long a request is worked on. A batch is one request.
    pub request_timeout: Duration,
    /// As many as requests may be worked on at once.
    pub permits: Semaphore,
    /// As many sockets may be open at once.
    pub sockets: Arc<Semaphore>,
    pub events: EventSettings,
    pub lifetime: Lifetime,
    /// The sites whose pages may use the API, besides those of this server.
    pub origins: Vec<Origin>,
    /// How long a client may take nothing of what it is sent.
    pub write_timeout: Duration,
    /// The greatest number of requests in one batch; 0 refuses batches.
    pub max_batch: usize,
    pub telemetry: Telemetry,
}

/// `GET /graphql`: a query, or a subscription as a stream of events.
///
/// # Errors
///
/// The answer to a request that is not one of GraphQL, or not allowed.
pub async fn get(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Result<Response, Response> {
    let headers = request.headers();
    let media_type = MediaType::accepted(headers).ok_or_else(not_acceptable)?;
    let client = endpoint.client(media_type, headers, request.extensions()).await?;
    let _permit = endpoint.permits.try_acquire().map_err(|_| client.noted(&endpoint, endpoint.too_many(media_type)))?;
    let params = params::of_query(request.uri().query().unwrap_or_default());
    let params =
        params.map_err(|message| client.noted(&endpoint, refused(media_type, StatusCode::BAD_REQUEST, &message)))?;
    let response = endpoint.answered(media_type, params, client, headers, true).await?;
    Ok(unless_known(response, request.headers()))
}

/// `POST /graphql`.
///
/// # Errors
///
/// The answer to a request that is not one of GraphQL, or not allowed.
pub async fn post(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Result<Response, Response> {
    let (Parts { headers, version, extensions, .. }, body) = request.into_parts();
    let media_type = MediaType::accepted(&headers).ok_or_else(not_acceptable)?;
    let client = endpoint.client(media_type, &headers, &extensions).await?;
    let noted = |response| client.noted(&endpoint, response);
    if !is_json(&headers) {
        let message = "the content type must be application/json, in UTF-8";
        return Err(noted(refused(media_type, StatusCode::UNSUPPORTED_MEDIA_TYPE, message)));
    }
    let coding = Coding::of_request(&headers).ok_or_else(|| {
        let message = "the content coding of a request must be gzip, once, or identity";
        let mut response = refused(media_type, StatusCode::UNSUPPORTED_MEDIA_TYPE, message);
        response.headers_mut().insert(header::ACCEPT_ENCODING, coding::ACCEPTED);
        noted(response)
    })?;
    let body = read_body(body, endpoint.body).await.map_err(|error| {
        endpoint.note_refused(error.reason());
        let mut response = refused(media_type, error.status(), &error.message());
        if version < Version::HTTP_2 {
            // The rest of the body is in the way of a further request.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        noted(response)
    })?;
    // Clients that are slow to send must not keep others out, and neither must those that are slow to take their
    // answers.
    let _permit = endpoint.permits.try_acquire().map_err(|_| noted(endpoint.too_many(media_type)))?;
    let body = coding.decode(body, endpoint.body.bytes);
    let body = body.map_err(|error| {
        endpoint.note_refused(error.reason());
        noted(refused(media_type, error.status(), &error.message()))
    })?;
    let wrong = |message: &str| noted(refused(media_type, StatusCode::BAD_REQUEST, message));
    match params::of_body(&body, endpoint.max_batch).map_err(|message| wrong(&message))? {
        Parsed::One(params) => endpoint.answered(media_type, *params, client, &headers, false).await,
        Parsed::Batch(_) if media_type == MediaType::EventStream => {
            Err(wrong("a batch is not answered as text/event-stream: send one request at a time"))
        }
        // What is rare is boxed. In the future of each request, which is moved several times, it would take kilobytes.
        Parsed::Batch(batch) => Box::pin(endpoint.batch(media_type, batch, &client, &headers)).await,
    }
}

/// `GET /schema.graphql`: the schema for tools that do not introspect.
///
/// # Errors
///
/// The answer to a request that is not allowed.
pub async fn sdl(State(endpoint): State<Arc<Endpoint>>, headers: HeaderMap) -> Result<Response, Response> {
    let client = endpoint.client(MediaType::Json, &headers, &Extensions::new()).await?;
    endpoint.schema.check_introspection(&client.principal, SDL).map_err(|error| {
        let (code, message) = (error.code, error.message.clone());
        let outcome = Answer::from(error).outcome;
        let mut response = refusal(status(&outcome, MediaType::GraphQlResponse), code, &message);
        let header = header_of(&outcome, response.status());
        response.headers_mut().extend(header);
        client.noted(&endpoint, response)
    })?;
    let content_type = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok(client.noted(&endpoint, (content_type, endpoint.schema.sdl().to_owned()).into_response()))
}

/// Who sends a request.
struct Client<'a> {
    credential: Option<Credential<'a>>,
    principal: Principal,
    /// Whether it is told how long its request took.
    is_timed: bool,
}

impl Client<'_> {
    /// Tells how long its request took, if it may know.
    fn tell_time(&self, response: &mut Response, answers: &[Answer]) {
        if self.is_timed {
            response.headers_mut().extend(server_timing(answers).map(|timing| (SERVER_TIMING, timing)));
        }
    }

    /// A response to this client, for the log.
    fn noted(&self, endpoint: &Endpoint, mut response: Response) -> Response {
        response.extensions_mut().insert(endpoint.measured(&[], &self.principal));
        response
    }
}

impl Endpoint {
    /// Until when a request that has just begun may take.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.request_timeout
    }

    /// Notes a request that is refused at a limit, if that is a reason to.
    pub fn note_refused(&self, reason: Option<&'static str>) {
        if let (Some(metrics), Some(reason)) = (self.telemetry.metrics(), reason) {
            metrics.note_refused(reason);
        }
    }

    /// The answer when as many requests as may be are being worked on: at once, without a queue.
    fn too_many(&self, media_type: MediaType) -> Response {
        self.note_refused(Some("max_requests"));
        of_type(media_type, unavailable(TOO_MANY))
    }

    async fn client<'a>(
        &self,
        media_type: MediaType,
        headers: &'a HeaderMap,
        extensions: &Extensions,
    ) -> Result<Client<'a>, Response> {
        let refused = |response| of_type(media_type, response);
        let credential = credential(&self.access, headers).map_err(refused)?;
        let principal = authenticate(&self.access, credential, self.request_timeout).await.map_err(refused)?;
        let is_timed = server_timing::is_wanted(headers, extensions.get(), &principal);
        Ok(Client { credential, principal, is_timed })
    }

    /// The name that a client gives itself, shortened, where the log has it.
    pub fn client_name(&self, headers: &HeaderMap) -> Option<String> {
        if !self.schema.logs_documents() {
            return None;
        }
        let name = CLIENT_NAMES.iter().find_map(|name| headers.get(name)?.to_str().ok())?;
        Some(name.chars().take(MAX_CLIENT_NAME).collect())
    }

    /// Answers a request.
    ///
    /// # Errors
    ///
    /// The answer to one that asks for its cost by another word.
    async fn answered(
        &self,
        media_type: MediaType,
        params: Params,
        client: Client<'_>,
        headers: &HeaderMap,
        is_read_only: bool,
    ) -> Result<Response, Response> {
        let cost = cost(headers)
            .map_err(|message| client.noted(self, refused(media_type, StatusCode::BAD_REQUEST, message)))?;
        let params = Params { after: after(headers), cost, client: self.client_name(headers), ..params };
        let checked = self.schema.check(params, &client.principal, is_read_only);
        let is_subscription = checked.as_ref().is_ok_and(|request| request.is_subscription());
        // Whoever asks for events takes them as they come, or not at all.
        let is_stream =
            media_type == MediaType::EventStream || (is_subscription && MediaType::takes_event_stream(headers));
        let answer = match checked {
            Ok(request) if is_subscription && is_stream => {
                match Box::pin(self.subscribed(request, &client, headers)).await {
                    Ok(response) => return Ok(response),
                    Err(answer) => answer,
                }
            }
            Ok(request) => self.schema.run(request, self.deadline()).await,
            Err(answer) => *answer,
        };
        let is_refused = matches!(answer.outcome, Outcome::NotReadOnly | Outcome::Unauthenticated);
        let mut response = if is_stream && !is_refused {
            event_stream::answered(&answer)
        } else {
            let body = answer.to_json();
            let etag = is_read_only && answer.is_by_id && answer.errors.is_empty();
            let etag = etag.then(|| etag_of(&body)).flatten();
            let mut response = response(media_type, status(&answer.outcome, media_type), body);
            response.headers_mut().extend(etag.into_iter().flatten());
            response
        };
        let header = header_of(&answer.outcome, response.status());
        response.headers_mut().extend(header);
        tell_written(&mut response, &answer);
        client.tell_time(&mut response, std::slice::from_ref(&answer));
        response.extensions_mut().insert(self.measured(std::slice::from_ref(&answer), &client.principal));
        Ok(response)
    }

    /// The events of a subscription, as they come.
    async fn subscribed(
        &self,
        request: Box<CheckedRequest>,
        client: &Client<'_>,
        headers: &HeaderMap,
    ) -> Result<Response, Answer> {
        let operation = request.operation().clone();
        let last_event_id = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
        let (time, max_time) = (self.request_timeout, self.events.max_subscription_time);
        let subscription = self.schema.subscribe(request, last_event_id, time, max_time, "sse").await?;
        let session = Session::new(&self.access, client.credential.map(Into::into), client.principal.clone());
        let mut response = {
            let counted = self.telemetry.metrics().map(|metrics| metrics.socket("sse"));
            event_stream::subscribed(subscription, session, self.lifetime.stopping(), counted)
        };
        let measured = Measured { operation: Some(operation), ..self.measured(&[], &client.principal) };
        response.extensions_mut().insert(measured);
        Ok(response)
    }

    /// Answers the requests of a batch one after another, so that a later one reads what an earlier one has written.
    async fn batch(
        &self,
        media_type: MediaType,
        batch: Vec<Params>,
        client: &Client<'_>,
        headers: &HeaderMap,
    ) -> Result<Response, Response> {
        let cost = cost(headers)
            .map_err(|message| client.noted(self, refused(media_type, StatusCode::BAD_REQUEST, message)))?;
        let deadline = self.deadline();
        let mut answers: Vec<Answer> = Vec::with_capacity(batch.len());
        let sent = after(headers);
        let name = self.client_name(headers);
        for params in batch {
            // What was written before in the batch is read also where replicas do not have it yet.
            let written = answers.iter().rev().find_map(|answer| answer.written);
            let after = written.map_or_else(|| sent.clone(), |written| vec![written.to_string()]);
            let params = Params { after, cost, client: name.clone(), ..params };
            answers.push(self.schema.execute(params, &client.principal, false, deadline).await);
        }
        let body = answers.iter().map(Answer::to_json).collect::<Vec<_>>().join(&b","[..]);
        let mut response = response(media_type, StatusCode::OK, [b"[", &body[..], b"]"].concat());
        if let Some(answer) = answers.iter().rev().find(|answer| answer.written.is_some()) {
            tell_written(&mut response, answer);
        }
        client.tell_time(&mut response, &answers);
        response.extensions_mut().insert(self.measured(&answers, &client.principal));
        Ok(response)
    }

    /// What the log is told of answers: the first operation, and the sums of what they cost.
    pub fn measured(&self, answers: &[Answer], principal: &Principal) -> Measured {
        let principal = self.access.is_set().then(|| principal.clone());
        let mut measured = Measured { principal, ..Measured::default() };
        for answer in answers {
            measured.operation = measured.operation.or_else(|| answer.operation.clone());
            measured.span = measured.span.or_else(|| answer.span.clone());
            measured.rows += answer.taken.rows;
            measured.bytes += answer.taken.bytes;
            measured.statements += answer.usage.statements;
            measured.statement_time += answer.usage.time;
            measured.replica = measured.replica.or(answer.usage.replica);
            for code in answer.errors.iter().filter_map(graphql::code) {
                if !measured.error_codes.contains(&code) {
                    measured.error_codes.push(code);
                }
            }
        }
        measured
    }
}

/// Whether two entity tags are the same by weak comparison (RFC 9110, 8.8.3.2).
pub fn is_same_etag(one: &str, other: &str) -> bool {
    one.trim().trim_start_matches("W/") == other.trim_start_matches("W/")
}

/// What lets a client keep the answer to a query, and ask whether it is still the same (RFC 9110, 8.8.3).
fn etag_of(body: &[u8]) -> Option<[(HeaderName, HeaderValue); 3]> {
    // A weak one, because the answer may be compressed on its way.
    let etag = HeaderValue::try_from(format!("W/\"{}\"", DocumentId::from_bytes(body))).ok()?;
    Some([
        (header::ETAG, etag),
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
        // The media type is the one that the client asks for, and the answer has what it has written.
        (header::VARY, HeaderValue::from_static("accept, x-hero-teams-after")),
    ])
}

/// The answer, or that it is still the one that the client has (RFC 9110, 13.1.2).
fn unless_known(response: Response, request: &HeaderMap) -> Response {
    let Some(etag) = response.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok()) else { return response };
    let known = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
    let mut known = known.flat_map(|tags| tags.split(','));
    if !known.any(|tag| is_same_etag(tag, etag) || tag.trim() == "*") {
        return response;
    }
    let (mut head, _) = response.into_parts();
    head.status = StatusCode::NOT_MODIFIED;
    head.headers.remove(header::CONTENT_TYPE);
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, Body::empty())
}

/// What a client wants to be told of the costs of its request.
fn cost(headers: &HeaderMap) -> Result<Option<CostReport>, &'static str> {
    let mut values = headers.get_all(COST).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let named = CostReport::named(value.to_str().unwrap_or_default()).filter(|_| values.next().is_none());
    named.map(Some).ok_or("the header GraphQL-Cost is `report` or `validate`, once")
}

/// What a client has written, as it was told: one value, or several with commas.
fn after(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(AFTER).into_iter().map(|value| value.to_str().unwrap_or("?"));
    // Empty elements of a list are ignored (RFC 9110, 5.6.1).
    let elements = values.flat_map(|value| value.split(',')).map(str::trim).filter(|element| !element.is_empty());
    elements.map(str::to_owned).collect()
}

fn tell_written(response: &mut Response, answer: &Answer) {
    let written = answer.written.and_then(|written| HeaderValue::try_from(written.to_string()).ok());
    response.headers_mut().extend(written.map(|written| (WRITTEN, written)));
}

fn status(outcome: &Outcome, media_type: MediaType) -> StatusCode {
    match (outcome, media_type) {
        (Outcome::NotReadOnly, _) => StatusCode::METHOD_NOT_ALLOWED,
        (Outcome::Unauthenticated, _) => StatusCode::UNAUTHORIZED,
        (Outcome::Forbidden | Outcome::NotTrusted, MediaType::GraphQlResponse) => StatusCode::FORBIDDEN,
        (Outcome::RequestError, MediaType::GraphQlResponse) => StatusCode::BAD_REQUEST,
        (
            Outcome::Forbidden | Outcome::NotTrusted | Outcome::RequestError,
            MediaType::Json | MediaType::EventStream,
        )
        | (Outcome::Executed(_), _) => StatusCode::OK,
    }
}

/// What a client is told by a header of what it has to do instead.
fn header_of(outcome: &Outcome, status: StatusCode) -> Option<(HeaderName, HeaderValue)> {
    match outcome {
        Outcome::NotReadOnly => Some((header::ALLOW, HeaderValue::from_static("POST"))),
        Outcome::Unauthenticated => Some((header::WWW_AUTHENTICATE, CHALLENGE)),
        Outcome::Forbidden if status == StatusCode::FORBIDDEN => Some((header::WWW_AUTHENTICATE, INSUFFICIENT_SCOPE)),
        Outcome::Executed(_) | Outcome::RequestError | Outcome::Forbidden | Outcome::NotTrusted => None,
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

fn not_acceptable() -> Response {
    let message = "answers come as application/graphql-response+json or as application/json, in UTF-8";
    refused(MediaType::Json, StatusCode::NOT_ACCEPTABLE, message)
}

fn response(media_type: MediaType, status: StatusCode, body: Vec<u8>) -> Response {
    (status, [media_type.content_type()], body).into_response()
}
