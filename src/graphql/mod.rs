//! What clients see: the schema. It translates, and holds no query.

mod connection;
mod cost;
mod error;
mod filter;
mod hero;
mod id;
mod input;
mod list;
mod loaders;
mod mutation;
mod node;
mod order;
mod output;
mod settle;
mod team;
mod variables;

use async_graphql::{
    EmptySubscription, ID, MergedObject, Request, Response, SDLExportOptions, ServerError, Value, parser::parse_query,
};

use self::{
    error::{ApiError, Code},
    hero::{HeroMutation, HeroQuery},
    loaders::Loaders,
    node::NodeQuery,
    settle::settle,
    team::{TeamMutation, TeamQuery},
};
use crate::store::Db;

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

/// The code of a request that is wrong.
pub const BAD_USER_INPUT: &str = Code::BadUserInput.as_str();

type GraphQlSchema = async_graphql::Schema<Query, Mutation, EmptySubscription>;

/// Characters of a message of async-graphql, at most.
const MAX_MESSAGE: usize = 500;

/// The schema over a database.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "async-graphql's schema has none")]
pub struct Schema {
    schema: GraphQlSchema,
    db: Db,
}

impl Schema {
    /// The schema over this database.
    #[must_use]
    pub fn new(db: Db) -> Self {
        let schema = builder().data(db.clone()).finish();
        Self { schema, db }
    }

    /// Executes a request with loaders of its own.
    pub async fn execute(&self, request: Request) -> Response {
        let request = match prepared(request) {
            Ok(request) => request.data(Loaders::new(&self.db)),
            Err(error) => return refused(error),
        };
        let response = settle(self.schema.execute(request)).await;
        with_codes(with_null_data(response))
    }
}

/// The schema in the schema definition language.
#[must_use]
pub fn sdl() -> String {
    let options = SDLExportOptions::new().prefer_single_line_descriptions();
    let mut sdl = builder().finish().sdl_with_options(options);
    sdl.truncate(sdl.trim_end().len());
    sdl.push('\n');
    sdl
}

fn builder() -> async_graphql::SchemaBuilder<Query, Mutation, EmptySubscription> {
    GraphQlSchema::build(Query::default(), Mutation::default(), EmptySubscription)
        .override_output_type_description::<ID>("What tells one object from all others. It is sent as a string.")
}

/// The request with its document parsed and measured, and without what its unset variables stand for.
fn prepared(mut request: Request) -> Result<Request, ApiError> {
    cost::check_nesting(&request.query)?;
    // A document that does not parse is for async-graphql to refuse.
    let Ok(mut document) = parse_query(&request.query) else { return Ok(request) };
    cost::check_selections(&document)?;
    variables::remove_unset(&mut document, &request);
    request.set_parsed_query(document);
    Ok(request)
}

/// The answer to a request that is not executed.
fn refused(error: ApiError) -> Response {
    let error = async_graphql::Error::from(error);
    let mut refusal = ServerError::new(error.message, None);
    refusal.extensions = error.extensions;
    Response::from_errors(vec![refusal])
}

/// async-graphql leaves a field of the root out when it cannot be null and failed. The specification asks for no data
/// then (Handling Field Errors).
fn with_null_data(mut response: Response) -> Response {
    if let Value::Object(fields) = &response.data {
        let is_left_out = |error: &async_graphql::ServerError| match error.path.first() {
            Some(async_graphql::PathSegment::Field(field)) => !fields.contains_key(field.as_str()),
            _ => false,
        };
        if response.errors.iter().any(is_left_out) {
            response.data = Value::Null;
        }
    }
    response
}

/// The server's own errors all have a code. Those without one are async-graphql's: a document that does not parse or is
/// not valid, or a variable of the wrong type.
fn with_codes(mut response: Response) -> Response {
    for error in &mut response.errors {
        let extensions = error.extensions.get_or_insert_default();
        if extensions.get("code").is_none() {
            extensions.set("code", Code::BadUserInput.as_str());
            // They repeat what was sent, which may be long.
            if let Some((end, _)) = error.message.char_indices().nth(MAX_MESSAGE) {
                error.message.truncate(end);
                error.message.push('…');
            }
        }
    }
    response
}
