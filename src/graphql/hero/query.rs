use std::sync::Arc;

use async_graphql::{Context, ID, Object};
use entity::hero::Entity;

use super::Hero;
use crate::{
    graphql::{
        error::ApiError,
        id::NodeType,
        input::Place,
        loaders::Loaders,
        output::{Nullable, Output},
        page::page,
    },
    store::{self, Db},
};

#[derive(Debug, Default)]
pub struct HeroQuery;

#[Object]
impl HeroQuery {
    /// The hero with this id; null when there is none. The id of another type is refused with `BAD_USER_INPUT`.
    async fn hero(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id of a hero: global, such as `Hero:1`, or the bare number.")] id: ID,
    ) -> Nullable<Output<Hero>> {
        let hero = async {
            let key = NodeType::Hero.key(&id, Place::argument("id"))?;
            Ok(ctx.data_unchecked::<Loaders>().hero(key).await?.map(Hero).map(Output))
        };
        Nullable::from(hero.await)
    }

    /// Heroes in the order of their ids; an empty list when there are none.
    async fn heroes(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Heroes at most, from 0 to 1,000; more is refused with `BAD_USER_INPUT`.",
            default_with = "Some(100)"
        )]
        limit: Option<i32>,
        #[graphql(desc = "Heroes that are passed over first; not negative.", default_with = "Some(0)")] offset: Option<
            i32,
        >,
    ) -> Result<Vec<Output<Hero>>, ApiError> {
        let rows = store::page::<Entity>(ctx.data_unchecked::<Db>(), page(limit, offset)?).await?;
        Ok(rows.into_iter().map(Arc::new).map(Hero).map(Output).collect())
    }
}
