//! Objects by their ids (Relay Global Object Identification Specification).

use async_graphql::{Context, PathSegment};
use futures_util::future::join_all;

use super::{
    entity_rows::EntityRows,
    fields::{Answered, Fault, answer_objects},
    json::JsonColumn,
};
use crate::{
    graphql::{
        context::RequestContext,
        error::ApiError,
        types::{Input, key_of, node_of},
    },
    schema::Entity,
};

/// The object of an entity with the id in the argument `id`; null when it does not exist.
pub async fn one(ctx: &Context<'_>, entity: &'static Entity) -> Answered {
    let entities = RequestContext::from_context(ctx).entities;
    let key = |id: Input<'_>| key_of(entities, entity, &id.id()?, id.path());
    let key = RequestContext::arguments(ctx).and_then(|arguments| key(arguments.get("id")));
    load(ctx, entity, key.map_err(|error| Fault::new(error, ctx))?).await
}

/// The object with the global id in the argument `id`; null when it does not exist.
pub async fn node(ctx: &Context<'_>) -> Answered {
    let node = RequestContext::arguments(ctx).and_then(|arguments| parsed(ctx, arguments.get("id")));
    let (entity, key) = node.map_err(|error| Fault::new(error, ctx))?;
    load(ctx, entity, key).await
}

/// The objects with the global ids in the argument `ids`. An entry is null when its object does not exist, or failed.
pub async fn nodes(ctx: &Context<'_>) -> Answered {
    let arguments = RequestContext::arguments(ctx).map_err(|error| Fault::new(error, ctx))?;
    let ids = arguments.get("ids");
    let list = ids.bounded_list().map_err(|error| Fault::new(error, ctx))?;
    let path = ids.path();
    let entries = list.iter().enumerate().map(async |(index, id)| {
        let node = parsed(ctx, Input::new(id, path.entry(index)));
        let answered = match node {
            Ok((entity, key)) => load(ctx, entity, key).await,
            Err(error) => Err(Fault::new(error, ctx)),
        };
        answered.map_err(|fault| fault.below(PathSegment::Index(index)))
    });
    let entries = join_all(entries).await.into_iter().map(|answered| or_null(ctx, answered)).collect::<Vec<_>>();
    let mut values = JsonColumn::default();
    values.push(|json| json.list(entries.iter(), |json, entry| json.raw(entry.get(0))));
    Ok(values)
}

fn parsed(ctx: &Context<'_>, id: Input<'_>) -> Result<(&'static Entity, i64), ApiError> {
    node_of(RequestContext::from_context(ctx).entities, &id.id()?, id.path())
}

async fn load(ctx: &Context<'_>, entity: &'static Entity, key: i64) -> Answered {
    let row = RequestContext::from_context(ctx).loaders.row(entity, key).await;
    match row.map_err(|error| Fault::new(error, ctx))? {
        Some(row) => answer_objects(&EntityRows { entity, rows: vec![&row] }, ctx).await,
        None => Ok(JsonColumn::null()),
    }
}

/// A value that is null when it failed, which is reported.
pub fn or_null(ctx: &Context<'_>, answered: Answered) -> JsonColumn {
    answered.unwrap_or_else(|fault| {
        if RequestContext::from_context(ctx).bounds.take_error() {
            ctx.add_error(fault.into_server_error(ctx));
        }
        JsonColumn::null()
    })
}
