//! The roots, which async-graphql executes.

use std::{borrow::Cow, marker::PhantomData};

use async_graphql::{
    ContainerType, Context, ContextSelectionSet, ObjectType, OutputType, Positioned, ServerResult, Value,
    futures_util::FutureExt as _,
    parser::types::Field,
    resolver_utils::{resolve_container, resolve_container_serial},
};

use super::{
    connection::connections,
    fields::{Answered, Fault},
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
    schema::Api,
};

/// The query root of an API.
#[derive(Debug)]
pub struct QueryRoot<A>(PhantomData<A>);

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
        let name = ctx.item.node.name.node.as_str();
        for entity in A::entities() {
            // The root is a parent like any other.
            let (source, parents) = (Source::All(entity), || vec![0]);
            if name == entity.one {
                return Ok(Some(nullable(ctx, one(ctx, entity).boxed().await)));
            }
            if name == entity.many {
                return not_null(ctx, lists(ctx, source, parents()).boxed().await);
            }
            if name.strip_suffix("Connection") == Some(entity.many) {
                return not_null(ctx, connections(ctx, "Query", source, parents()).boxed().await);
            }
        }
        match name {
            "node" => Ok(Some(nullable(ctx, node(ctx).boxed().await))),
            "nodes" => not_null(ctx, nodes(ctx).boxed().await),
            _ => Ok(None),
        }
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

/// The value of a field that is null when it failed, which is reported.
fn nullable(ctx: &Context<'_>, answered: Answered) -> Value {
    or_null(ctx, within_bounds(ctx, answered)).into_value()
}

/// The value of a field that cannot be null.
fn not_null(ctx: &Context<'_>, answered: Answered) -> ServerResult<Option<Value>> {
    let values = within_bounds(ctx, answered).map_err(|fault| fault.into_server_error(ctx))?;
    Ok(Some(values.into_value()))
}

/// Takes the bytes of a field for the answer.
fn within_bounds(ctx: &Context<'_>, answered: Answered) -> Answered {
    let values = answered?;
    RequestContext::of(ctx).bounds.take_bytes(values.bytes()).map_err(|error| Fault::new(error, ctx))?;
    Ok(values)
}
