//! What clients see: the schema. It translates, and holds no query.

mod answer;
mod context;
mod document;
mod error;
mod introspection;
mod loaders;
mod persisted;
mod request;
mod types;
mod variables;

use std::{fmt, sync::Arc};

use async_graphql::{
    EmptySubscription, ID, Request, Response, SDLExportOptions, ServerError, ValidationMode, Value,
    futures_util::{FutureExt as _, future::BoxFuture},
    indexmap::IndexMap,
};
use tokio::time::Instant;

pub use self::error::{Code, code};
pub use self::request::{Answer, Outcome, Params, PersistedQuery};
use self::{
    answer::{Bounds, MutationRoot, QueryRoot, settle},
    context::RequestContext,
    document::{Document, Documents, Operation, RootFields},
    error::{ApiError, shortened},
    introspection::Definition,
    loaders::Loaders,
};
use crate::{
    config::GraphQlSettings,
    schema::{Api, Entity},
    store::Db,
};

type Executor<A> = async_graphql::Schema<QueryRoot<A>, MutationRoot<A>, EmptySubscription>;

/// Errors in one answer, at most.
const MAX_ERRORS: usize = 1_000;

/// The schema of an API over a database: what answers requests.
#[derive(Clone)]
pub struct Schema {
    /// Executes an operation by async-graphql. Of the API it is all that differs in its type.
    executor: Arc<dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync>,
    entities: &'static [&'static Entity],
    definition: Arc<Definition>,
    db: Db,
    documents: Arc<Documents>,
    introspection: bool,
}

impl Schema {
    /// The schema of an API over this database.
    ///
    /// # Errors
    ///
    /// When the declarations of the API make no valid schema.
    pub fn new<A: Api>(db: Db, settings: &GraphQlSettings) -> anyhow::Result<Self> {
        // Documents are validated and measured before async-graphql sees them.
        let executor = builder::<A>().validation_mode(ValidationMode::Fast).limit_recursive_depth(usize::MAX).finish();
        let definition = Definition::new(written(&executor));
        let definition = Arc::new(definition.map_err(|errors| anyhow::anyhow!("the schema is not valid: {errors}"))?);
        Ok(Self {
            executor: Arc::new(move |request| {
                let executor = executor.clone();
                async move { executor.execute(request).await }.boxed()
            }),
            entities: A::entities(),
            documents: Arc::new(Documents::new(Arc::clone(&definition), settings)),
            definition,
            db,
            introspection: !settings.no_introspection,
        })
    }

    /// The schema in the schema definition language.
    #[must_use]
    pub fn sdl(&self) -> &str {
        &self.definition.sdl
    }

    /// Answers a request: finds or checks its document, coerces its variables, and executes its operation with loaders of its
    /// own, until the deadline. A request that `is_read_only` executes no mutation.
    pub async fn execute(&self, params: Params, is_read_only: bool, deadline: Instant) -> Answer {
        let document = match self.documents.requested(&params) {
            Ok(document) => document,
            Err(faults) => return Answer::refused(faults.to_vec()),
        };
        let operation = match document.operation(params.operation_name.as_deref()) {
            Ok(operation) => operation,
            Err(error) => return error.into(),
        };
        let answer = if is_read_only && operation.is_mutation {
            let error = ApiError::new(Code::BadUserInput, "a mutation must be sent with POST");
            Answer { outcome: Outcome::NotReadOnly, ..error.into() }
        } else {
            let sent = params.variables.unwrap_or_default();
            self.execute_operation(&document, operation, sent, deadline).await
        };
        Answer { operation_name: operation.name.clone(), ..answer }
    }

    async fn execute_operation(
        &self,
        document: &Document,
        operation: &Operation,
        sent: IndexMap<async_graphql::Name, Value>,
        deadline: Instant,
    ) -> Answer {
        let variables = match variables::coerce(&self.definition.schema, operation, sent) {
            Ok(variables) => variables,
            Err(faults) => return Answer::refused(faults.into_iter().map(|fault| fault.at(None)).collect()),
        };
        if let Err(error) = self.documents.check_rows(document, operation, &variables) {
            return error.into();
        }
        let mut executable = operation.executable.clone();
        variables::remove_unset(operation, &variables, &mut executable);
        let fields = RootFields::collect(&mut executable, &variables);
        let mut values = IndexMap::new();
        if fields.introspects {
            if !self.introspection {
                return ApiError::new(Code::BadUserInput, "introspection is turned off on this server").into();
            }
            match introspection::introspect(&self.definition, document, operation, &variables) {
                Ok(fields) if introspection::bytes(&fields) > self.documents.limits.max_answer_bytes => {
                    return ApiError::new(Code::QueryTooComplex, "the introspection is too large; ask for less").into();
                }
                Ok(fields) => values = fields,
                Err(error) => return Answer::refused(vec![error]),
            }
        }
        let mut errors = Vec::new();
        let db = self.db.for_request(deadline);
        if document::has_fields(&executable) {
            let mut request = Request::new("").variables(variables).data(RequestContext {
                entities: self.entities,
                loaders: Loaders::new(&db),
                bounds: Bounds::new(&self.documents.limits, deadline),
                db: db.clone(),
            });
            request.set_parsed_query(executable);
            let response = settle((self.executor)(request)).await;
            if let Value::Object(executed) = response.data {
                values.extend(executed);
            }
            errors = bounded(response.errors);
            document.locate(&mut errors);
            errors.iter_mut().for_each(with_code);
        }
        Answer { outcome: Outcome::Executed(fields.in_order(values)), errors, operation_name: None, usage: db.usage() }
    }
}

/// The schema of an API in the schema definition language.
#[must_use]
pub fn sdl<A: Api>() -> String {
    written(&builder::<A>().finish())
}

fn written<A: Api>(executor: &Executor<A>) -> String {
    let sdl = executor.sdl_with_options(SDLExportOptions::new().prefer_single_line_descriptions());
    format!("{}\n", sdl.trim_end())
}

fn builder<A: Api>() -> async_graphql::SchemaBuilder<QueryRoot<A>, MutationRoot<A>, EmptySubscription> {
    Executor::<A>::build(QueryRoot::default(), MutationRoot::default(), EmptySubscription)
        .override_output_type_description::<ID>("The identity of an object among all objects. It is sent as a string.")
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

/// The server's own errors all have a code. Those without one are async-graphql's: a variable that is null where it cannot be.
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
