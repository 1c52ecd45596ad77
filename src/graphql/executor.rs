//! What executes operations: async-graphql, over a database.

use std::{fmt, sync::Arc};

use async_graphql::{ID, Request, Response, SDLExportOptions, ServerError, ValidationMode};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};
use tokio::time::Instant;

use super::{
    answer::{Bounds, MAX_ERRORS, MutationRoot, QueryRoot, SubscriptionRoot, settle},
    checked_request::Execution,
    context::RequestContext,
    document::Document,
    error::{ApiError, Code, shortened},
    loaders::{Loaders, SharedLoads},
    watch::Occasion,
};
use crate::{
    config::Limits,
    db::Db,
    schema::{Api, Entity},
};

/// The schema of an API, as async-graphql has it.
pub type SchemaOf<A> = async_graphql::Schema<QueryRoot<A>, MutationRoot<A>, SubscriptionRoot<A>>;

/// Executes the operations of an API over a database.
#[derive(Clone)]
pub struct Executor {
    /// Executes an operation by async-graphql. Of the API it is all that differs in its type.
    execute: Arc<dyn Fn(Request, bool) -> BoxFuture<'static, Vec<Response>> + Send + Sync>,
    entities: &'static [&'static Entity],
    limits: Arc<Limits>,
    shared: Arc<SharedLoads>,
    pub db: Db,
}

impl Executor {
    pub fn new<A: Api>(schema: SchemaOf<A>, db: Db, limits: &Limits) -> Self {
        let execute = move |request, is_subscription| {
            let schema = schema.clone();
            async move {
                if is_subscription {
                    // One response for each event.
                    schema.execute_stream(request).collect().await
                } else {
                    vec![schema.execute(request).await]
                }
            }
            .boxed()
        };
        let (limits, shared) = (Arc::new(limits.clone()), Arc::default());
        Self { execute: Arc::new(execute), entities: A::entities(), limits, shared, db }
    }

    /// The bounds of a request.
    pub fn bounds(&self, deadline: Instant) -> Arc<Bounds> {
        Arc::new(Bounds::new(&self.limits, deadline))
    }

    /// Executes an operation, and gives what async-graphql makes of it.
    pub async fn responses(
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
            loaders: Loaders::new(db, &self.shared, self.entities, has_siblings),
            nulls,
            bounds,
            db: db.clone(),
            scopes,
            occasion,
        };
        let mut request = Request::new("").variables(variables).data(context);
        request.set_parsed_query(executable);
        settle((self.execute)(request, is_subscription)).await
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Executor").field("entities", &self.entities).finish_non_exhaustive()
    }
}

/// The schema of an API. Documents are validated and measured before it sees them.
pub fn schema_of<A: Api>() -> SchemaOf<A> {
    SchemaOf::build(QueryRoot::default(), MutationRoot::default(), SubscriptionRoot::default())
        .override_output_type_description::<ID>("The identity of an object among all objects. It is sent as a string.")
        .validation_mode(ValidationMode::Fast)
        .limit_recursive_depth(usize::MAX)
        .finish()
}

/// The schema of an API in the schema definition language.
#[must_use]
pub fn sdl<A: Api>() -> String {
    sdl_of(&schema_of::<A>())
}

/// A schema in the schema definition language.
pub fn sdl_of<A: Api>(schema: &SchemaOf<A>) -> String {
    let sdl = schema.sdl_with_options(SDLExportOptions::new().prefer_single_line_descriptions());
    format!("{}\n", sdl.trim_end())
}

/// The errors of an answer, as they are sent, of which there were `more`.
pub fn finished(errors: Vec<ServerError>, more: usize, document: &Document) -> Vec<ServerError> {
    let mut errors = bounded(errors, more);
    errors.iter_mut().for_each(with_code);
    document.locate(&mut errors);
    errors
}

/// The first errors of an answer, and how many there are when there are very many.
fn bounded(mut errors: Vec<ServerError>, more: usize) -> Vec<ServerError> {
    let more = more + errors.len().saturating_sub(MAX_ERRORS);
    if more > 0 {
        // An error of a field of the root says what has become of it.
        errors.sort_by_key(|error| error.path.len() > 1);
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
