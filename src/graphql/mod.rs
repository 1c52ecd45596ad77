//! What clients see: the schema. It translates, and holds no query.

mod bounds;
mod connection;
mod document;
mod error;
mod filter;
mod hero;
mod id;
mod input;
mod introspection;
mod json;
mod list;
mod loaders;
mod mutation;
mod node;
mod order;
mod output;
mod persisted;
mod request;
mod root;
mod settle;
mod team;
mod variables;

use std::sync::{Arc, LazyLock};

use async_graphql::{
    EmptySubscription, ID, MergedObject, Request, SDLExportOptions, ServerError, ValidationMode, Value,
    indexmap::IndexMap,
};
use tokio::time::Instant;

pub use self::error::{Code, code};
pub use self::request::{Answer, Outcome, Params, PersistedQuery};
use self::{
    bounds::Bounds,
    document::{Document, Documents, Operation},
    error::{ApiError, shortened, tell_written},
    hero::{HeroMutation, HeroQuery},
    loaders::Loaders,
    node::NodeQuery,
    root::RootFields,
    settle::settle,
    team::{TeamMutation, TeamQuery},
};
use crate::{config::GraphQlSettings, store::Db};

/// Everything that can be read.
///
/// A field that fails is null when it may be; otherwise the next field above it is.
#[derive(Debug, Default, MergedObject)]
pub struct Query(HeroQuery, TeamQuery, NodeQuery);

/// Everything that can be written.
///
/// Each field is one transaction: all of it, or nothing. Several fields in one request run one after another. A field that
/// fails is null and undoes none of the others; its errors say why. Any of them may be refused with `CONFLICT`, when other
/// requests were in the way (nothing was written, and it may be repeated), or with `UNAVAILABLE`, when the database was.
#[derive(Debug, Default, MergedObject)]
pub struct Mutation(HeroMutation, TeamMutation);

type GraphQlSchema = async_graphql::Schema<Query, Mutation, EmptySubscription>;

/// Errors in one answer, at most.
const MAX_ERRORS: usize = 1_000;

/// The schema over a database: what answers requests.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "async-graphql's schema has none")]
pub struct Schema {
    executor: GraphQlSchema,
    db: Db,
    documents: Arc<Documents>,
    introspection: bool,
}

impl Schema {
    /// The schema over this database.
    #[must_use]
    pub fn new(db: Db, settings: &GraphQlSettings) -> Self {
        // Documents are validated and measured before async-graphql sees them.
        let executor = builder().validation_mode(ValidationMode::Fast).limit_recursive_depth(usize::MAX).finish();
        let documents = Arc::new(Documents::new(settings));
        Self { executor, db, documents, introspection: !settings.no_introspection }
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
        let variables = match variables::coerce(operation, sent) {
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
            match introspection::introspect(document, operation, &variables) {
                Ok(fields) if introspection::bytes(&fields) > self.documents.limits.max_answer_bytes => {
                    return ApiError::new(Code::QueryTooComplex, "the introspection is too large; ask for less").into();
                }
                Ok(fields) => values = fields,
                Err(error) => return Answer::refused(vec![error]),
            }
        }
        let mut errors = Vec::new();
        let db = self.db.for_request(deadline);
        if root::has_fields(&executable) {
            let request = Request::new("").variables(variables).data(db.clone()).data(Loaders::new(&db));
            let mut request = request.data(Bounds::new(&self.documents.limits, deadline));
            request.set_parsed_query(executable);
            let response = settle(self.executor.execute(request)).await;
            if let Value::Object(executed) = response.data {
                values.extend(executed);
            }
            errors = bounded(response.errors);
            document.locate(&mut errors);
            errors.iter_mut().for_each(with_code);
            if operation.is_mutation {
                errors.iter_mut().for_each(tell_written);
            }
        }
        Answer { outcome: Outcome::Executed(fields.in_order(values)), errors, operation_name: None, usage: db.usage() }
    }
}

/// The schema in the schema definition language.
#[must_use]
pub fn sdl() -> &'static str {
    static SDL: LazyLock<String> = LazyLock::new(|| {
        let options = SDLExportOptions::new().prefer_single_line_descriptions();
        let sdl = builder().finish().sdl_with_options(options);
        format!("{}\n", sdl.trim_end())
    });
    &SDL
}

fn builder() -> async_graphql::SchemaBuilder<Query, Mutation, EmptySubscription> {
    GraphQlSchema::build(Query::default(), Mutation::default(), EmptySubscription)
        .override_output_type_description::<ID>("What tells one object from all others. It is sent as a string.")
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
