//! What a request carries.

use std::sync::Arc;

use async_graphql::ContextBase;

use super::{
    answer::{Bounds, Occasion},
    document::Nulls,
    loaders::Loaders,
};
use crate::{access::Scopes, db::Db, schema::Entity};

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
    pub nulls: Arc<Nulls>,
    /// What the answer may take.
    pub bounds: Arc<Bounds>,
    /// What the principal may do.
    pub scopes: Scopes,
    /// What a subscription is executed for.
    pub occasion: Occasion,
}

impl RequestContext {
    /// The one of the request that is executed.
    pub fn from_context<'a, T>(ctx: &ContextBase<'a, T>) -> &'a Self {
        // `Schema::execute` puts it into each request.
        ctx.data_unchecked()
    }
}
