//! The roots, which async-graphql executes.

use std::{borrow::Cow, marker::PhantomData};

use async_graphql::{
    ContainerType, Context, ContextSelectionSet, ObjectType, OutputType, Positioned, Response, ServerResult,
    SubscriptionType, Value,
    parser::types::Field,
    resolver_utils::{resolve_container, resolve_container_serial},
};
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};

use super::{
    Json,
    connection::connections,
    event,
    fields::{Answered, Fault, Objects},
    json::JsonColumn,
    list::lists,
    mutation,
    node::{node, nodes, one, or_null},
};
use crate::{
    graphql::{
        context::RequestContext,
        loaders::Source,
        types::{self, Registry},
    },
    schema::{Api, Entity},
};

/// The query root of an API.
#[derive(Debug)]
pub struct QueryRoot<A>(PhantomData<A>);

/// The subscription root of an API.
#[derive(Debug)]
pub struct SubscriptionRoot<A>(PhantomData<A>);

/// The mutation root of an API.
#[derive(Debug)]
pub struct MutationRoot<A>(PhantomData<A>);

impl<A> Default for QueryRoot<A> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<A> Default for MutationRoot<A> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<A> Default for SubscriptionRoot<A> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<A: Api> OutputType for QueryRoot<A> {
    fn type_name() -> Cow<'static, str> {
        "Query".into()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        types::register(registry, types::types(A::entities()));
        Self::qualified_type_name()
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, _field: &Positioned<Field>) -> ServerResult<Value> {
        resolve_container(ctx, self).await
    }
}

impl<A: Api> ContainerType for QueryRoot<A> {
    async fn resolve_field(&self, ctx: &Context<'_>) -> ServerResult<Option<Value>> {
        match query_field(ctx, A::entities()).await {
            Some(answered) => Ok(Some(answered.map_err(|fault| fault.into_server_error(ctx))?.into_value())),
            None => Ok(None),
        }
    }
}

/// The value of a field of the query root. One that can be null is null when it failed, which is reported.
async fn query_field(ctx: &Context<'_>, entities: &'static [&'static Entity]) -> Option<Answered> {
    let name = ctx.item.node.name.node.as_str();
    for entity in entities {
        // The root is a parent like any other.
        let (source, parents) = (Source::All(entity), || vec![0]);
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

impl<A: Api> ObjectType for QueryRoot<A> {}

impl<A: Api> OutputType for MutationRoot<A> {
    fn type_name() -> Cow<'static, str> {
        "Mutation".into()
    }

    fn create_type_info(_registry: &mut Registry) -> String {
        // The query root has registered all types.
        Self::qualified_type_name()
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, _field: &Positioned<Field>) -> ServerResult<Value> {
        resolve_container_serial(ctx, self).await
    }
}

impl<A: Api> ContainerType for MutationRoot<A> {
    async fn resolve_field(&self, ctx: &Context<'_>) -> ServerResult<Option<Value>> {
        mutation::answer(ctx, A::entities()).boxed().await
    }
}

impl<A: Api> ObjectType for MutationRoot<A> {}

impl<A: Api> SubscriptionType for SubscriptionRoot<A> {
    fn type_name() -> Cow<'static, str> {
        "Subscription".into()
    }

    fn create_type_info(_registry: &mut Registry) -> String {
        // The query root has registered all types.
        Self::qualified_type_name()
    }

    /// One response for each of the events that the request is executed for ([`event::Occasion`]).
    fn create_field_stream<'a>(&'a self, ctx: &'a Context<'_>) -> Option<BoxStream<'a, Response>> {
        let responses = async move { event::respond(ctx, A::entities()).await.unwrap_or_default() };
        Some(stream::once(responses.boxed()).flat_map(stream::iter).boxed())
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
