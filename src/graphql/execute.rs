//! How a request is answered, step by step.

use std::{fmt, pin::pin, sync::Arc, time::Duration};

use async_graphql::{Name, Pos, Value, Variables, indexmap::IndexMap, parser::types::OperationType};
use tokio::time::Instant;

use super::{
    checked_request::{CheckedRequest, Execution, Prepared},
    cost::{Cost, CostReport},
    definition::Definition,
    document::{self, Document, Operation, RootFields},
    documents::{Documents, Requested},
    error::{ApiError, Code, tell_written},
    executor::{Executor, finished, schema_of, sdl_of},
    introspection, observe,
    request::{Answer, Outcome, Params, RequestedOperation, Timing},
    subscription::{Feed, Feeds, Subscription},
    types, variables,
    watch::Occasion,
};
use crate::{
    access::Principal,
    config::{GraphQlSettings, Introspection},
    db::Db,
    events::{Events, Listener},
    schema::{Api, Scope},
    telemetry::{Taken, Telemetry},
};

/// The schema in the schema definition language, as errors name it.
pub const SDL: &str = "schema.graphql";

/// The greatest number of characters of the names in an operation that asks for the schema. The answer has each of them
/// as often as there are types, fields and arguments, and is made before it is measured. Tools ask with about 1,000.
const MAX_INTROSPECTION_NAMES: usize = 20_000;

/// The schema of an API over a database: what answers requests.
#[derive(Clone)]
pub struct Schema {
    executor: Executor,
    definition: Arc<Definition>,
    documents: Arc<Documents>,
    introspection: Introspection,
    events: Option<Events>,
    feeds: Feeds,
}

impl Schema {
    /// The schema of an API over this database.
    ///
    /// # Errors
    ///
    /// When the declarations of the API make no valid schema.
    pub fn new<A: Api>(db: Db, settings: &GraphQlSettings) -> anyhow::Result<Self> {
        validate::<A>()?;
        let schema = schema_of::<A>();
        let definition = Definition::new(sdl_of(&schema));
        let definition = Arc::new(definition.map_err(|errors| anyhow::anyhow!("the schema is not valid: {errors}"))?);
        let documents = Arc::new(Documents::new(Arc::clone(&definition), settings, db.telemetry().clone()));
        documents.trusted.load(&documents.validator)?;
        let executor = Executor::new(schema, db, &settings.limits);
        let (introspection, feeds) = (settings.introspection(), Feeds::default());
        Ok(Self { executor, definition, documents, introspection, events: None, feeds })
    }

    /// The same schema, with subscriptions to these events.
    #[must_use]
    pub fn with_events(self, events: Events) -> Self {
        Self { events: Some(events).filter(Events::are_written), ..self }
    }

    fn telemetry(&self) -> &Telemetry {
        self.executor.db.telemetry()
    }

    /// What subscriptions listen to.
    ///
    /// # Errors
    ///
    /// `BAD_USER_INPUT` when no events are written.
    fn events(&self) -> Result<&Events, ApiError> {
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
        let telemetry = self.telemetry();
        let name = telemetry.metrics().and_then(|_| params.operation_name.clone());
        self.checked(start, params, principal, is_read_only).map_err(|mut answer| {
            answer.timing.check = start.elapsed();
            let series = match &answer.operation {
                Some(operation) => telemetry.series(document::type_name(operation.ty), operation.name.as_deref()),
                None => telemetry.unknown_series(name.as_deref()),
            };
            observe::note(telemetry, series.as_ref(), &answer);
            observe::record_refused(telemetry, &answer);
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
        operation.check_repeated_values(&variables).map_err(|error| vec![error])?;
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
            for field in document.introspections(operation, variables) {
                if let Err(mut error) = self.check_introspection(principal, &format!("Query.{}", field.name)) {
                    error.positions.extend(field.location().map(|location| Pos { line: 0, column: location.offset() }));
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
        document::ensure_within("characters of names", operation.shape.names, MAX_INTROSPECTION_NAMES)?;
        let max_bytes = self.documents.validator.limits.max_answer_bytes;
        introspection::introspect(&self.definition, document, operation, variables, max_bytes)
    }

    /// Answers a query or a mutation until the deadline. A subscription is refused: it has no single answer.
    pub async fn run(&self, request: Box<CheckedRequest>, deadline: Instant) -> Answer {
        let CheckedRequest { requested, series, start, check, .. } = &*request;
        let (requested, series, start, check) = (requested.clone(), series.clone(), *start, *check);
        let is_by_id = request.is_by_id && requested.ty == OperationType::Query;
        let span = observe::begin_span(self.telemetry(), &request);
        let executing = pin!(self.executed(request, deadline));
        let executed = match &span {
            Some(span) => span.scope(executing).await,
            None => executing.await,
        };
        let timing = Timing { check, execution: start.elapsed().saturating_sub(check) };
        let answer = Answer { operation: Some(requested), timing, is_by_id, span, ..executed };
        observe::note(self.telemetry(), series.as_deref(), &answer);
        observe::end_span(&answer);
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
        let bounds = self.executor.bounds(deadline);
        let mut errors = fields.fail(&mut values);
        let has_fields = document::has_fields(&execution.executable);
        // A mutation, and whatever it selects, is answered by the primary.
        let db = if ty == OperationType::Query && has_fields {
            self.executor.db.for_query(deadline, &after).await
        } else {
            self.executor.db.for_request(deadline)
        };
        if let Some(comment) = &comment {
            db.comment(comment);
        }
        if has_fields {
            for response in self.executor.responses(execution, &db, Occasion::None, Arc::clone(&bounds)).await {
                if let Value::Object(executed) = response.data {
                    values.extend(executed);
                }
                errors.extend(response.errors);
            }
        }
        let mut errors = finished(errors, bounds.more_errors(), &document);
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
        observe::report_slow(&requested, start.elapsed(), &answer, &db);
        answer
    }

    /// Begins the subscription of a request over a transport, as metrics name it. It goes on after the event that
    /// `last_event_id` is the cursor of, or that the argument `after` says. `time` is how long the beginning may take,
    /// and later each execution; after `max_time` the subscription ends, if that is not zero.
    ///
    /// # Errors
    ///
    /// The answer to a request that is wrong, or cannot be answered at the moment.
    pub async fn subscribe(
        &self,
        request: Box<CheckedRequest>,
        last_event_id: Option<&str>,
        time: Duration,
        max_time: Duration,
        transport: &'static str,
    ) -> Result<Subscription, Answer> {
        let (requested, series, start, check) =
            (request.requested.clone(), request.series.clone(), request.start, request.check);
        let span = observe::begin_span(self.telemetry(), &request);
        let opening = pin!(self.open(request, last_event_id, time));
        let opened = match &span {
            Some(span) => span.scope(opening).await,
            None => opening.await,
        };
        let (answer, opened) = match opened {
            Ok(opened) => {
                let outcome = Outcome::Executed(Value::Null);
                (Answer { outcome, ..Answer::not_executed(Vec::new()) }, Some(opened))
            }
            Err(answer) => (answer, None),
        };
        let timing = Timing { check, execution: start.elapsed().saturating_sub(check) };
        let answer = Answer { operation: Some(requested), timing, span, ..answer };
        observe::note(self.telemetry(), series.as_deref(), &answer);
        observe::end_span(&answer);
        let (feed, listener) = opened.ok_or(answer)?;
        let end = (!max_time.is_zero()).then(|| Instant::now() + max_time);
        let counted = self.telemetry().metrics().map(|metrics| metrics.subscription(transport));
        Ok(Subscription::new(feed, listener, end, counted))
    }

    async fn open(
        &self,
        request: Box<CheckedRequest>,
        last_event_id: Option<&str>,
        time: Duration,
    ) -> Result<(Arc<Feed>, Listener), Answer> {
        self.feeds.open(&self.executor, self.events()?, request, last_event_id, time).await
    }
}

/// Checks that the declarations of an API make a schema.
///
/// # Errors
///
/// What is wrong with them, and what would be right.
pub fn validate<A: Api>() -> anyhow::Result<()> {
    types::validate(A::entities()).map_err(|fault| anyhow::anyhow!("the declarations are not right: {fault}"))
}

impl fmt::Debug for Schema {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Schema").field("executor", &self.executor).finish_non_exhaustive()
    }
}
