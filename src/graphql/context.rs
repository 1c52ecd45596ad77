//! What a request carries.

use std::sync::Arc;

use async_graphql::{Context, ContextBase};

use super::{
    answer::Bounds,
    document::Nulls,
    error::{ApiError, Code},
    loaders::Loaders,
    types::Arguments,
    watch::Occasion,
};
use crate::{
    db::Db,
    schema::{Entity, Scopes},
};

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

    /// The arguments of the field that is answered.
    ///
    /// # Errors
    ///
    /// `BAD_USER_INPUT` when a variable is null where nothing may be.
    pub fn arguments(ctx: &Context<'_>) -> Result<Arguments, ApiError> {
        let nulls = &Self::from_context(ctx).nulls;
        let mut values = ctx.item.node.arguments.iter().map(|(_, value)| value.pos.column);
        if let Some(null) = values.find_map(|offset| nulls.of_argument(offset)) {
            return Err(null.clone());
        }
        let arguments = ctx.field().arguments();
        arguments.map(Arguments).map_err(|error| ApiError::new(Code::BadUserInput, error.message))
    }
}
