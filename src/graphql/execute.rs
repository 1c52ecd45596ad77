//! How a request is answered, step by step.

use std::{fmt, sync::Arc};

use async_graphql::{
    EmptySubscription, ID, Name, Request, Response, SDLExportOptions, ServerError, ValidationMode, Value, Variables,
    futures_util::{FutureExt as _, future::BoxFuture},
    indexmap::IndexMap,
    parser::types::ExecutableDocument,
};
use tokio::time::Instant;

use super::{
    answer::{Bounds, MutationRoot, QueryRoot, settle},
    context::RequestContext,
    definition::Definition,
    document::{self, Document, Documents, Nulls, Operation, RootFields},
    error::{ApiError, Code, shortened, tell_written},
    introspection,
    loaders::Loaders,
    request::{Answer, Outcome, Params},
    types, variables,
};
use crate::{
    access::{Principal, Scope},
    config::{GraphQlSettings, Introspection},
    db::Db,
    schema::{Api, Entity},
};

type Executor<A> = async_graphql::Schema<QueryRoot<A>, MutationRoot<A>, EmptySubscription>;

/// The greatest number of errors in one answer.
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
    introspection: Introspection,
}

impl Schema {
    /// The schema of an API over this database.
    ///
    /// # Errors
    ///
    /// When the declarations of the API make no valid schema.
    pub fn new<A: Api>(db: Db, settings: &GraphQlSettings) -> anyhow::Result<Self> {
        types::check(A::entities()).map_err(|fault| anyhow::anyhow!("the declarations are not right: {fault}"))?;
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
            introspection: settings.introspection(),
        })
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

    /// Answers a request of a principal with loaders of its own, until the deadline. A request that `is_read_only`
    /// executes no mutation.
    pub async fn execute(
        &self,
        params: Params,
        principal: &Principal,
        is_read_only: bool,
        deadline: Instant,
    ) -> Answer {
        // Whoever may do nothing and not read the schema is not told by errors either what it has.
        if principal.is_anonymous && principal.scopes.is_empty() && self.introspection != Introspection::All {
            return ApiError::new(Code::Unauthenticated, "a credential is required").into();
        }
        let document = match self.documents.requested(&params) {
            Ok(document) => document,
            Err(errors) => return Answer::refused(errors.to_vec()),
        };
        let operation = match document.operation(params.operation_name.as_deref()) {
            Ok(operation) => operation,
            Err(error) => return error.into(),
        };
        let answer = if is_read_only && operation.is_mutation {
            let error = ApiError::new(Code::BadUserInput, "a mutation must be sent with POST");
            Answer { outcome: Outcome::NotReadOnly, ..error.into() }
        } else {
            match self.prepare(&document, operation, params.variables.unwrap_or_default(), principal) {
                Ok(prepared) => self.run(prepared, &document, deadline).await,
                Err(errors) => {
                    let mut refused = Answer::from(errors);
                    document.locate(&mut refused.errors);
                    refused
                }
            }
        };
        Answer { operation_name: operation.name.clone(), ..answer }
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
        self.documents.check_rows(document, operation, &variables).map_err(|error| vec![error])?;
        let nulls = document.nulls(schema, operation, &variables);
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
        Ok(Prepared { is_mutation: operation.is_mutation, executable, variables, nulls, fields, introspected })
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
        if introspection::bytes(&fields) > self.documents.limits.max_answer_bytes {
            return Err(ApiError::new(Code::QueryTooComplex, "the introspection is too large; ask for less"));
        }
        Ok(fields)
    }

    /// Executes an operation, and puts its answer together.
    async fn run(&self, prepared: Prepared, document: &Document, deadline: Instant) -> Answer {
        let Prepared { is_mutation, executable, variables, nulls, mut fields, introspected: mut values } = prepared;
        let mut errors = fields.fail(&mut values);
        let db = self.db.for_request(deadline);
        if document::has_fields(&executable) {
            let mut request = Request::new("").variables(variables).data(RequestContext {
                entities: self.entities,
                loaders: Loaders::new(&db),
                nulls,
                bounds: Bounds::new(&self.documents.limits, deadline),
                db: db.clone(),
            });
            request.set_parsed_query(executable);
            let response = settle((self.executor)(request)).await;
            if let Value::Object(executed) = response.data {
                values.extend(executed);
            }
            errors.extend(response.errors);
        }
        errors = bounded(errors);
        errors.iter_mut().for_each(with_code);
        if is_mutation {
            errors.iter_mut().for_each(tell_written);
        }
        document.locate(&mut errors);
        Answer { outcome: Outcome::Executed(fields.in_order(values)), errors, operation_name: None, usage: db.usage() }
    }
}

/// An operation that can be executed.
struct Prepared {
    is_mutation: bool,
    executable: ExecutableDocument,
    variables: Variables,
    nulls: Nulls,
    fields: RootFields,
    /// The fields that ask for the schema.
    introspected: IndexMap<Name, Value>,
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
