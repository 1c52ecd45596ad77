//! The fields of the query root.

use std::{borrow::Cow, sync::Arc};

use async_graphql::Context;
use futures_util::{FutureExt as _, future::BoxFuture};

use super::{
    Json,
    connection::connections,
    entity_rows::lists,
    fields::{Answered, Fault, Objects},
    json::JsonColumn,
    node::{node, nodes, one, or_null},
};
use crate::{
    graphql::{context::RequestContext, loaders::Source},
    schema::Entity,
};

/// The value of a field of the query root. One that can be null is null when it failed, which is reported.
pub async fn query_field(ctx: &Context<'_>, entities: &'static [&'static Entity]) -> Option<Answered> {
    let name = ctx.item.node.name.node.as_str();
    for entity in entities {
        // The root is a parent like any other.
        let (source, parents) = (Source::All(entity), || Arc::from([0]));
        if name == entity.one {
            return Some(Ok(nullable(ctx, one(ctx, entity).boxed().await)));
        }
        if name == entity.many {
            return Some(within_bounds(ctx, lists(ctx, source, parents()).boxed().await));
        }
        if name.strip_suffix("Connection") == Some(entity.many) {
            return Some(within_bounds(ctx, connections(ctx, "Query", source, parents()).boxed().await));
        }
    }
    match name {
        "node" => Some(Ok(nullable(ctx, node(ctx).boxed().await))),
        "nodes" => Some(within_bounds(ctx, nodes(ctx).boxed().await)),
        _ => None,
    }
}

/// The query root as an object, in the payload of a mutation.
#[derive(Debug)]
pub struct QueryObject(pub &'static [&'static Entity]);

impl Objects for QueryObject {
    fn type_name(&self) -> Cow<'_, str> {
        "Query".into()
    }

    fn len(&self) -> usize {
        1
    }

    fn scalar(&self, _field: &str) -> Option<usize> {
        None
    }

    fn write(&self, _object: usize, _scalar: usize, _json: &mut Json) {}

    fn answer<'a>(&'a self, ctx: &'a Context<'_>) -> BoxFuture<'a, Answered> {
        // Validation has refused all other names.
        async { query_field(ctx, self.0).await.unwrap_or_else(|| Ok(JsonColumn::default())) }.boxed()
    }
}

/// The value of a field that is null when it failed, which is reported.
fn nullable(ctx: &Context<'_>, answered: Answered) -> JsonColumn {
    or_null(ctx, within_bounds(ctx, answered))
}

/// Takes the bytes of a field for the answer.
fn within_bounds(ctx: &Context<'_>, answered: Answered) -> Answered {
    let values = answered?;
    RequestContext::from_context(ctx).bounds.take_bytes(values.bytes()).map_err(|error| Fault::new(error, ctx))?;
    Ok(values)
}
