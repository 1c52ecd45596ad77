//! How a request is answered, step by step.

use std::{fmt, pin::pin, sync::Arc, time::Duration};

use async_graphql::{
    ID, Name, Request, Response, SDLExportOptions, ServerError, ValidationMode, Value, Variables,
    indexmap::IndexMap,
    parser::types::{ExecutableDocument, OperationType},
};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};
use tokio::time::Instant;

use super::{
    answer::{Bounds, MutationRoot, QueryRoot, SubscriptionRoot, settle},
    context::RequestContext,
    cost::{Cost, CostReport},
    definition::Definition,
    document::{self, Document, Nulls, Operation, RootFields},
    documents::{Documents, Requested},
    error::{ApiError, Code, shortened, tell_written},
    introspection,
    loaders::Loaders,
    observe::Explained,
    request::{Answer, Outcome, Params, RequestedOperation, Timing},
    subscription::Feeds,
    types, variables,
    watch::Occasion,
};
use crate::{
    access::Principal,
    config::{GraphQlSettings, Introspection},
    db::{Db, Written},
    events::Events,
    schema::{Api, Entity, Scope, Scopes},
    telemetry::{OperationSeries, Taken},
};

type Executor<A> = async_graphql::Schema<QueryRoot<A>, MutationRoot<A>, SubscriptionRoot<A>>;

/// The schema in the schema definition language, as errors name it.
pub const SDL: &str = "schema.graphql";
/// The greatest number of errors in one answer.
const MAX_ERRORS: usize = 1_000;

/// The schema of an API over a database: what answers requests.
#[derive(Clone)]
pub struct Schema {
    /// Executes an operation by async-graphql. Of the API it is all that differs in its type.
    executor: Arc<dyn Fn(Request, bool) -> BoxFuture<'static, Vec<Response>> + Send + Sync>,
    entities: &'static [&'static Entity],
    definition: Arc<Definition>,
    pub(super) db: Db,
    documents: Arc<Documents>,
    introspection: Introspection,
    events: Option<Events>,
    pub(super) feeds: Feeds,
    pub(super) explained: Arc<Explained>,
}

impl Schema {
    /// The schema of an API over this database.
    ///
    /// # Errors
    ///
    /// When the declarations of the API make no valid schema.
    pub fn new<A: Api>(db: Db, settings: &GraphQlSettings) -> anyhow::Result<Self> {
        validate::<A>()?;
        // Documents are validated and measured before async-graphql sees them.
        let executor = builder::<A>().validation_mode(ValidationMode::Fast).limit_recursive_depth(usize::MAX).finish();
        let definition = Definition::new(sdl_of(&executor));
        let definition = Arc::new(definition.map_err(|errors| anyhow::anyhow!("the schema is not valid: {errors}"))?);
        let documents = Arc::new(Documents::new(Arc::clone(&definition), settings, db.telemetry().clone()));
        documents.trusted.load(&documents.validator)?;
        Ok(Self {
            executor: Arc::new(move |request, is_subscription| {
                let executor = executor.clone();
                async move {
                    if is_subscription {
                        // One response for each event.
                        executor.execute_stream(request).collect().await
                    } else {
                        vec![executor.execute(request).await]
                    }
                }
                .boxed()
            }),
            entities: A::entities(),
            documents,
            definition,
            db,
            introspection: settings.introspection(),
            events: None,
            feeds: Feeds::default(),
            explained: Arc::default(),
        })
    }

    /// The same schema, with subscriptions to these events.
    #[must_use]
    pub fn with_events(self, events: Events) -> Self {
        Self { events: Some(events).filter(Events::are_written), ..self }
    }

    /// The bounds of a request.
    pub(super) fn bounds(&self, deadline: Instant) -> Arc<Bounds> {
        Arc::new(Bounds::new(&self.documents.validator.limits, deadline))
    }

    /// The database, until a deadline.
    pub(super) fn db_for_request(&self, deadline: Instant) -> Db {
        self.db.for_request(deadline)
    }

    /// What subscriptions listen to.
    ///
    /// # Errors
    ///
    /// `BAD_USER_INPUT` when no events are written.
    pub(super) fn events(&self) -> Result<&Events, ApiError> {
        let off = || ApiError::new(Code::BadUserInput, "events are turned off on this server");
        self.events.as_ref().ok_or_else(off)
    }

    /// The schema in the schema definition language.
    #[must_use]
    pub fn sdl(&self) -> &str {
        &self.definition.sdl
    }

    /// Checks that a principal may read the schema itself.
    ///
    /// # Errors
    ///
    /// `FORBIDDEN` or `UNAUTHENTICATED` when somebody else may, `BAD_USER_INPUT` when nobody may.
    pub fn check_introspection(&self, principal: &Principal, coordinate: &str) -> Result<(), ApiError> {
        if coordinate == SDL && self.documents.trusted.is_enforced_for(principal) {
            return Err(ApiError::denied(Code::denied(principal), Scope::DocumentsBypass, coordinate));
        }
        match self.introspection {
            Introspection::All => Ok(()),
            Introspection::Authenticated if !principal.is_anonymous => Ok(()),
            Introspection::Authenticated => {
                Err(ApiError::new(Code::Unauthenticated, format!("`{coordinate}` requires a credential")))
            }
            Introspection::Admin if principal.scopes.allow(Scope::Admin) => Ok(()),
            Introspection::Admin => Err(ApiError::denied(Code::denied(principal), Scope::Admin, coordinate)),
            Introspection::None => Err(ApiError::new(Code::BadUserInput, "introspection is turned off on this server")),
        }
    }

    /// Answers a query or a mutation of a principal with loaders of its own, until the deadline. A request that
    /// `is_read_only` executes no mutation.
    pub async fn execute(
        &self,
        params: Params,
        principal: &Principal,
        is_read_only: bool,
        deadline: Instant,
    ) -> Answer {
        match self.check(params, principal, is_read_only) {
            Ok(request) => self.run(request, deadline).await,
            Err(answer) => *answer,
        }
    }

    /// Whether documents that are not trusted are logged.
    #[must_use]
    pub fn logs_documents(&self) -> bool {
        self.documents.trusted.are_others_logged()
    }

    /// Reads the trusted documents again when they change. It never ends.
    pub async fn follow_documents(&self) {
        self.documents.trusted.follow(&self.documents.validator).await;
    }

    /// Brings the metrics of the cache of documents up to date.
    pub fn tell_state(&self) {
        self.documents.tell_state();
    }

    /// Does what comes before the first field is executed.
    ///
    /// # Errors
    ///
    /// The answer to a request that is wrong or not allowed. A request that `is_read_only` has no mutation.
    pub fn check(
        &self,
        params: Params,
        principal: &Principal,
        is_read_only: bool,
    ) -> Result<Box<CheckedRequest>, Box<Answer>> {
        let start = Instant::now();
        let telemetry = self.db.telemetry();
        let name = telemetry.metrics().and_then(|_| params.operation_name.clone());
        self.checked(start, params, principal, is_read_only).map_err(|mut answer| {
            answer.timing.check = start.elapsed();
            let series = match &answer.operation {
                Some(operation) => telemetry.series(document::type_name(operation.ty), operation.name.as_deref()),
                None => telemetry.unknown_series(name.as_deref()),
            };
            self.note(series.as_ref(), &answer);
            self.record_refused(&answer);
            answer
        })
    }

    fn checked(
        &self,
        start: Instant,
        params: Params,
        principal: &Principal,
        is_read_only: bool,
    ) -> Result<Box<CheckedRequest>, Box<Answer>> {
        // An anonymous client without scopes must not learn the schema from error messages.
        if principal.is_anonymous && principal.scopes.is_empty() && self.introspection != Introspection::All {
            return Err(Box::new(ApiError::new(Code::Unauthenticated, "a credential is required").into()));
        }
        let Requested { document, is_by_id } = self.documents.requested(&params, principal)?;
        let operation = document.operation(params.operation_name.as_deref()).map_err(|error| Box::new(error.into()))?;
        let requested = RequestedOperation { ty: operation.ty, name: operation.name.clone(), document: document.id };
        let named = |answer: Answer| Box::new(Answer { operation: Some(requested.clone()), ..answer });
        if is_read_only && operation.ty == OperationType::Mutation {
            let error = ApiError::new(Code::BadUserInput, "a mutation must be sent with POST");
            return Err(named(Answer { outcome: Outcome::NotReadOnly, ..error.into() }));
        }
        let after = params.after().map_err(|error| named(error.into()))?;
        match self.prepare(&document, operation, params.variables.unwrap_or_default(), principal) {
            Ok(prepared) => {
                let cost = params.cost.map(|report| {
                    let rows = prepared.estimated_rows;
                    let cost = Cost::new(&self.documents.validator.limits, document.tokens(), &operation.shape, rows);
                    (report, Box::new(cost))
                });
                let series = operation.series.clone();
                let check = start.elapsed();
                Ok(Box::new(CheckedRequest {
                    requested,
                    is_by_id,
                    series,
                    start,
                    check,
                    document,
                    prepared,
                    after,
                    cost,
                    begins_trace: false,
                }))
            }
            Err(errors) => {
                let mut refused = Answer::from(errors);
                document.locate(&mut refused.errors);
                Err(named(refused))
            }
        }
    }

    /// Does what comes before the first field is executed: whatever is wrong by then is an error of the request.
    fn prepare(
        &self,
        document: &Document,
        operation: &Operation,
        sent: IndexMap<Name, Value>,
        principal: &Principal,
    ) -> Result<Prepared, Vec<ApiError>> {
        let schema = &self.definition.schema;
        let variables = variables::coerce(schema, operation, sent)?;
        let denied = self.denied(document, operation, &variables, principal);
        if !denied.is_empty() {
            return Err(denied);
        }
        let estimated_rows = document.estimated_rows(operation, &variables);
        self.documents.validator.check_rows(estimated_rows).map_err(|error| vec![error])?;
        let nulls = document.nulls(&self.definition, operation, &variables);
        if !nulls.conditions.is_empty() {
            return Err(nulls.conditions);
        }
        let mut executable = operation.executable.clone();
        variables::remove_unset(operation, &variables, &mut executable);
        let fields = RootFields::collect(&mut executable, &variables, &nulls);
        let introspected = if fields.introspects {
            self.introspect(document, operation, &variables).map_err(|error| vec![error])?
        } else {
            IndexMap::new()
        };
        Ok(Prepared {
            estimated_rows,
            comment: operation.comment.clone(),
            fields,
            introspected,
            execution: Execution {
                scopes: principal.scopes,
                executable,
                variables,
                nulls: Arc::new(nulls),
                has_siblings: operation.has_siblings,
            },
        })
    }

    /// What a principal may not do of an operation.
    fn denied(
        &self,
        document: &Document,
        operation: &Operation,
        variables: &Variables,
        principal: &Principal,
    ) -> Vec<ApiError> {
        let mut denied = document.denied(&self.definition, operation, variables, principal);
        if self.introspection != Introspection::All {
            for (field, position) in document.introspections(operation) {
                if let Err(mut error) = self.check_introspection(principal, &format!("Query.{field}")) {
                    error.positions.extend(position);
                    denied.push(error);
                }
            }
        }
        denied
    }

    /// What an operation asks of the schema, by response keys.
    fn introspect(
        &self,
        document: &Document,
        operation: &Operation,
        variables: &Variables,
    ) -> Result<IndexMap<Name, Value>, ApiError> {
        let fields = introspection::introspect(&self.definition, document, operation, variables)?;
        if introspection::bytes(&fields) > self.documents.validator.limits.max_answer_bytes {
            return Err(ApiError::new(Code::QueryTooComplex, "the introspection is too large; ask for less"));
        }
        Ok(fields)
    }

    /// Answers a query or a mutation until the deadline. A subscription is refused: it has no single answer.
    pub async fn run(&self, request: Box<CheckedRequest>, deadline: Instant) -> Answer {
        let CheckedRequest { requested, series, start, check, .. } = &*request;
        let (requested, series, start, check) = (requested.clone(), series.clone(), *start, *check);
        let is_by_id = request.is_by_id && requested.ty == OperationType::Query;
        let span = self.begin_span(&request);
        let executing = pin!(self.executed(request, deadline));
        let executed = match &span {
            Some(span) => span.scope(executing).await,
            None => executing.await,
        };
        let timing = Timing { check, execution: start.elapsed().saturating_sub(check) };
        let answer = Answer { operation: Some(requested), timing, is_by_id, span, ..executed };
        self.note(series.as_deref(), &answer);
        self.end_span(&answer);
        answer
    }

    async fn executed(&self, request: Box<CheckedRequest>, deadline: Instant) -> Answer {
        let CheckedRequest { requested, start, check, document, prepared, after, cost, .. } = *request;
        let Prepared { estimated_rows, comment, mut fields, introspected: mut values, execution } = prepared;
        let ty = requested.ty;
        if ty == OperationType::Subscription {
            let message = "a subscription is answered over WebSocket (graphql-transport-ws) or as text/event-stream, \
                           not as JSON";
            return ApiError::new(Code::BadUserInput, message).into();
        }
        let cost = match cost {
            Some((CostReport::Validate, cost)) => {
                let outcome = Outcome::Executed(Value::Null);
                return Answer { outcome, cost: Some(cost), ..Answer::not_executed(Vec::new()) };
            }
            cost => cost.map(|(_, cost)| cost),
        };
        let bounds = self.bounds(deadline);
        let mut errors = fields.fail(&mut values);
        let has_fields = document::has_fields(&execution.executable);
        // A mutation, and whatever it selects, is answered by the primary.
        let db = if ty == OperationType::Query && has_fields {
            self.db.for_query(deadline, &after).await
        } else {
            self.db.for_request(deadline)
        };
        if let Some(comment) = &comment {
            db.comment(comment);
        }
        if has_fields {
            for response in self.responses(execution, &db, Occasion::None, Arc::clone(&bounds)).await {
                if let Value::Object(executed) = response.data {
                    values.extend(executed);
                }
                errors.extend(response.errors);
            }
        }
        let mut errors = finished(errors, &document);
        if ty == OperationType::Mutation {
            errors.iter_mut().for_each(tell_written);
        }
        let outcome = Outcome::Executed(fields.in_order(values));
        let usage = db.usage();
        let cost = cost.map(|cost| Box::new(cost.executed(&self.documents.validator.limits, &bounds, usage)));
        let (rows, bytes) = bounds.taken();
        let taken = Taken { rows, rows_estimated: estimated_rows, bytes };
        let written = db.written_by_request();
        let timing = Timing { check, ..Timing::default() };
        let answer =
            Answer { outcome, errors, usage, taken, timing, written, cost, ..Answer::not_executed(Vec::new()) };
        self.report_slow(&requested, start.elapsed(), &answer, &db);
        answer
    }

    /// Executes an operation, and gives what async-graphql makes of it.
    pub(super) async fn responses(
        &self,
        execution: Execution,
        db: &Db,
        occasion: Occasion,
        bounds: Arc<Bounds>,
    ) -> Vec<Response> {
        let Execution { executable, variables, nulls, scopes, has_siblings } = execution;
        let is_subscription = !matches!(occasion, Occasion::None);
        let context = RequestContext {
            entities: self.entities,
            loaders: Loaders::new(db, self.entities, has_siblings),
            nulls,
            bounds,
            db: db.clone(),
            scopes,
            occasion,
        };
        let mut request = Request::new("").variables(variables).data(context);
        request.set_parsed_query(executable);
        settle((self.executor)(request, is_subscription)).await
    }
}

/// A request that is well-formed, valid and allowed.
#[expect(missing_debug_implementations, reason = "a document has none that helps")]
pub struct CheckedRequest {
    pub(super) requested: RequestedOperation,
    /// Whether it was asked for by the id of a trusted document.
    is_by_id: bool,
    /// How long such operations take, if that is measured.
    pub(super) series: Option<Arc<OperationSeries>>,
    /// When it came, and how long it took to check it.
    pub(super) start: Instant,
    pub(super) check: Duration,
    pub(super) document: Arc<Document>,
    pub(super) prepared: Prepared,
    after: Vec<Written>,
    cost: Option<(CostReport, Box<Cost>)>,
    /// Whether it begins a trace, because no request of HTTP is around it.
    pub begins_trace: bool,
}

impl CheckedRequest {
    /// Whether it asks for events.
    #[must_use]
    pub fn is_subscription(&self) -> bool {
        self.requested.ty == OperationType::Subscription
    }

    /// Its operation.
    #[must_use]
    pub fn operation(&self) -> &RequestedOperation {
        &self.requested
    }
}

/// An operation that can be executed.
#[derive(Clone)]
pub(super) struct Prepared {
    estimated_rows: u64,
    /// What its SQL statements end with.
    comment: Option<Arc<str>>,
    fields: RootFields,
    /// The fields that ask for the schema.
    introspected: IndexMap<Name, Value>,
    pub execution: Execution,
}

/// What async-graphql executes.
#[derive(Clone)]
pub(super) struct Execution {
    pub executable: ExecutableDocument,
    pub variables: Variables,
    nulls: Arc<Nulls>,
    pub scopes: Scopes,
    /// Whether loaders wait for further fields of a level.
    has_siblings: bool,
}

/// Checks that the declarations of an API make a schema.
///
/// # Errors
///
/// What is wrong with them, and what would be right.
pub fn validate<A: Api>() -> anyhow::Result<()> {
    types::validate(A::entities()).map_err(|fault| anyhow::anyhow!("the declarations are not right: {fault}"))
}

/// The schema of an API in the schema definition language.
#[must_use]
pub fn sdl<A: Api>() -> String {
    sdl_of(&builder::<A>().finish())
}

fn sdl_of<A: Api>(executor: &Executor<A>) -> String {
    let sdl = executor.sdl_with_options(SDLExportOptions::new().prefer_single_line_descriptions());
    format!("{}\n", sdl.trim_end())
}

fn builder<A: Api>() -> async_graphql::SchemaBuilder<QueryRoot<A>, MutationRoot<A>, SubscriptionRoot<A>> {
    Executor::<A>::build(QueryRoot::default(), MutationRoot::default(), SubscriptionRoot::default())
        .override_output_type_description::<ID>("The identity of an object among all objects. It is sent as a string.")
}

/// The errors of an answer, as they are sent.
pub(super) fn finished(errors: Vec<ServerError>, document: &Document) -> Vec<ServerError> {
    let mut errors = bounded(errors);
    errors.iter_mut().for_each(with_code);
    document.locate(&mut errors);
    errors
}

/// The first errors of an answer, and how many there are when there are very many.
fn bounded(mut errors: Vec<ServerError>) -> Vec<ServerError> {
    if errors.len() > MAX_ERRORS {
        let more = errors.len() - MAX_ERRORS;
        errors.truncate(MAX_ERRORS);
        errors.push(ApiError::new(Code::BadUserInput, format!("and {more} more errors")).at(None));
    }
    errors
}

/// The server's own errors all have a code. Those without one are async-graphql's, which should not happen.
fn with_code(error: &mut ServerError) {
    let extensions = error.extensions.get_or_insert_default();
    if extensions.get("code").is_none() {
        extensions.set("code", Code::BadUserInput.as_str());
        error.message = shortened(std::mem::take(&mut error.message));
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Schema").field("entities", &self.entities).finish_non_exhaustive()
    }
}
