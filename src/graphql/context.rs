//! What a request carries.

use async_graphql::ContextBase;

use super::{answer::Bounds, document::Nulls, loaders::Loaders};
use crate::{schema::Entity, store::Db};

/// What the fields of a request are answered with.
#[derive(Debug)]
pub struct RequestContext {
    /// The entities of the schema.
    pub entities: &'static [&'static Entity],
    /// The database, until the deadline of the request.
    pub db: Db,
    /// The loaders of the request.
    pub loaders: Loaders,
    /// The errors of arguments with variables that are null where nothing may be.
    pub nulls: Nulls,
    /// What the answer may take.
    pub bounds: Bounds,
}

impl RequestContext {
    /// The one of the request that is executed.
    pub fn of<'a, T>(ctx: &ContextBase<'a, T>) -> &'a Self {
        // `Schema::execute` puts it into each request.
        ctx.data_unchecked()
    }
}
