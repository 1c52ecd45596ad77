use async_graphql::{Context, ID, Object};

use super::{Hero, HeroFilter, HeroOrder};
use crate::graphql::{
    connection::{Connection, PageArguments, connection},
    error::ApiError,
    id::NodeType,
    input::Place,
    list::{self, Source},
    loaders::Loaders,
    output::{List, Nullable, Output},
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

    /// All heroes, or those that are wanted; an empty list when there are none.
    async fn heroes(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "where", desc = "Which heroes are wanted; all when absent or null.")] filter: Option<
            HeroFilter,
        >,
        #[graphql(desc = "The order; by id when absent. Equal ones come by id, in the direction of the last step.")]
        order_by: Option<Vec<HeroOrder>>,
        #[graphql(
            desc = "Heroes at most, from 0 to 1,000; more is refused with `BAD_USER_INPUT`.",
            default_with = "Some(100)"
        )]
        limit: Option<i32>,
        #[graphql(desc = "Heroes that are passed over first; not negative.", default_with = "Some(0)")] offset: Option<
            i32,
        >,
    ) -> Result<List<Output<Hero>>, ApiError> {
        list::list(ctx, Source::Root, (filter, order_by), (limit, offset)).await
    }

    /// All heroes, or those that are wanted, for clients that page.
    async fn heroes_connection(
        &self,
        #[graphql(name = "where", desc = "Which heroes are wanted; all when absent or null.")] filter: Option<
            HeroFilter,
        >,
        #[graphql(desc = "The order; by id when absent. Equal ones come by id, in the direction of the last step.")]
        order_by: Option<Vec<HeroOrder>>,
        #[graphql(
            desc = "The first heroes behind `after`, this many at most, from 0 to 1,000; 100 when neither `first` nor `last` is given."
        )]
        first: Option<i32>,
        #[graphql(
            desc = "Only heroes behind this cursor, which another page of this list has given under the same order."
        )]
        after: Option<String>,
        #[graphql(
            desc = "The last heroes before `before`, this many at most, from 0 to 1,000; not together with `first`."
        )]
        last: Option<i32>,
        #[graphql(
            desc = "Only heroes before this cursor, which another page of this list has given under the same order."
        )]
        before: Option<String>,
    ) -> Result<Output<Connection<Hero>>, ApiError> {
        let page = PageArguments { first, after, last, before };
        connection("Query.heroesConnection", Source::Root, (filter, order_by), page)
    }
}
