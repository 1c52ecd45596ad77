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
    stream::{self, BoxStream},
};

use super::{event, mutation, query::query_field};
use crate::{
    graphql::types::{self, Registry},
    schema::Api,
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
