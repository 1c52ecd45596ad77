use async_graphql::{
    Context, ID, Object,
    futures_util::{
        FutureExt,
        future::{BoxFuture, ready},
    },
};
use entity::team::{Column, Entity};

use crate::{
    graphql::{
        connection::{Connection, PageArguments, connection, connections},
        error::ApiError,
        hero::{Hero, HeroFilter, HeroOrder},
        id::NodeType,
        json::Json,
        list::{self, Source},
        output::{List, ObjectFields, Output, Together},
    },
    store::Record,
};

/// A row of `team` as clients see it.
#[derive(Clone, Debug)]
pub struct Team(pub Record<Entity>);

/// A group that any number of heroes may be in.
#[Object]
impl Team {
    /// The global id, such as `Team:1`. It stays the same for as long as the team exists and is never used again.
    pub async fn id(&self) -> ID {
        NodeType::Team.id(self.0.key())
    }

    /// The name. Several teams may have the same one.
    async fn name(&self) -> String {
        self.0.text(Column::Name)
    }

    /// Where the team meets.
    async fn headquarters(&self) -> String {
        self.0.text(Column::Headquarters)
    }

    /// The heroes who are in the team; an empty list when there are none. Reads one statement for all teams of the query.
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
        list::list(ctx, Source::Parent(self.0.key()), (filter, order_by), (limit, offset)).await
    }

    /// The heroes who are in the team, for clients that page. Reads one statement for all teams of the query, and one more for each of
    /// `totalCount` and the page beyond a cursor when they are selected.
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
        connection("Team.heroesConnection", Source::Parent(self.0.key()), (filter, order_by), page)
    }

    /// The number of heroes who are in the team. Reads one statement for all teams of the query.
    async fn hero_count(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "where", desc = "Which heroes are counted; all when absent or null.")] filter: Option<
            HeroFilter,
        >,
    ) -> Result<i32, ApiError> {
        list::count::<Hero>(ctx, Source::Parent(self.0.key()), filter).await
    }
}

impl ObjectFields for Team {
    type Column = Column;

    fn column(field: &str) -> Option<Column> {
        match field {
            "id" => Some(Column::Id),
            "name" => Some(Column::Name),
            "headquarters" => Some(Column::Headquarters),
            _ => None,
        }
    }

    fn write_column(&self, column: Column, json: &mut Json) {
        match column {
            Column::Id => NodeType::Team.write_id(json, |key| self.0.write_json(column, key)),
            column => self.0.write_json(column, json.bytes()),
        }
    }

    fn relation<'a>(objects: &'a [Output<Self>], ctx: &'a Context<'_>) -> BoxFuture<'a, Together> {
        let keys = objects.iter().map(|object| object.0.0.key()).collect();
        match ctx.item.node.name.node.as_str() {
            "heroes" => list::lists::<Hero>(ctx, keys).boxed(),
            "heroCount" => list::counts::<Hero>(ctx, keys).boxed(),
            "heroesConnection" => connections::<Hero>("Team.heroesConnection", ctx, keys).boxed(),
            _ => ready(Ok(None)).boxed(),
        }
    }
}
