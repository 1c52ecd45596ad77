use async_graphql::{
    Context, ID, Object,
    futures_util::{
        FutureExt,
        future::{BoxFuture, ready},
    },
};
use entity::hero::{Column, Entity};

use crate::{
    graphql::{
        connection::{Connection, PageArguments, connection, connections},
        error::ApiError,
        id::NodeType,
        json::Json,
        list::{self, Source},
        output::{List, ObjectFields, Output, Together},
        team::{Team, TeamFilter, TeamOrder},
    },
    store::Record,
};

/// A row of `hero` as clients see it.
#[derive(Clone, Debug)]
pub struct Hero(pub Record<Entity>);

/// Somebody who may be in any number of teams.
#[Object]
impl Hero {
    /// The global id, such as `Hero:1`. It stays the same for as long as the hero exists and is never used again.
    pub async fn id(&self) -> ID {
        NodeType::Hero.id(self.0.key())
    }

    /// The name that everybody knows. Several heroes may have the same one.
    async fn name(&self) -> String {
        self.0.text(Column::Name)
    }

    /// The name that nobody knows.
    async fn secret_name(&self) -> String {
        self.0.text(Column::SecretName)
    }

    /// The age in years; null when it is not known.
    async fn age(&self) -> Option<i32> {
        self.0.int(Column::Age)
    }

    /// The teams that the hero is in; an empty list when there are none. Reads one statement for all heroes of the query.
    async fn teams(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "where", desc = "Which teams are wanted; all when absent or null.")] filter: Option<
            TeamFilter,
        >,
        #[graphql(desc = "The order; by id when absent. Equal ones come by id, in the direction of the last step.")]
        order_by: Option<Vec<TeamOrder>>,
        #[graphql(
            desc = "Teams at most, from 0 to 1,000; more is refused with `BAD_USER_INPUT`.",
            default_with = "Some(100)"
        )]
        limit: Option<i32>,
        #[graphql(desc = "Teams that are passed over first; not negative.", default_with = "Some(0)")] offset: Option<
            i32,
        >,
    ) -> Result<List<Output<Team>>, ApiError> {
        list::list(ctx, Source::Parent(self.0.key()), (filter, order_by), (limit, offset)).await
    }

    /// The teams that the hero is in, for clients that page. Reads one statement for all heroes of the query, and one more for each of
    /// `totalCount` and the page beyond a cursor when they are selected.
    async fn teams_connection(
        &self,
        #[graphql(name = "where", desc = "Which teams are wanted; all when absent or null.")] filter: Option<
            TeamFilter,
        >,
        #[graphql(desc = "The order; by id when absent. Equal ones come by id, in the direction of the last step.")]
        order_by: Option<Vec<TeamOrder>>,
        #[graphql(
            desc = "The first teams behind `after`, this many at most, from 0 to 1,000; 100 when neither `first` nor `last` is given."
        )]
        first: Option<i32>,
        #[graphql(
            desc = "Only teams behind this cursor, which another page of this list has given under the same order."
        )]
        after: Option<String>,
        #[graphql(
            desc = "The last teams before `before`, this many at most, from 0 to 1,000; not together with `first`."
        )]
        last: Option<i32>,
        #[graphql(
            desc = "Only teams before this cursor, which another page of this list has given under the same order."
        )]
        before: Option<String>,
    ) -> Result<Output<Connection<Team>>, ApiError> {
        let page = PageArguments { first, after, last, before };
        connection("Hero.teamsConnection", Source::Parent(self.0.key()), (filter, order_by), page)
    }

    /// The number of teams that the hero is in. Reads one statement for all heroes of the query.
    async fn team_count(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "where", desc = "Which teams are counted; all when absent or null.")] filter: Option<
            TeamFilter,
        >,
    ) -> Result<i32, ApiError> {
        list::count::<Team>(ctx, Source::Parent(self.0.key()), filter).await
    }
}

impl ObjectFields for Hero {
    type Column = Column;

    fn column(field: &str) -> Option<Column> {
        match field {
            "id" => Some(Column::Id),
            "name" => Some(Column::Name),
            "secretName" => Some(Column::SecretName),
            "age" => Some(Column::Age),
            _ => None,
        }
    }

    fn write_column(&self, column: Column, json: &mut Json) {
        match column {
            Column::Id => NodeType::Hero.write_id(json, |key| self.0.write_json(column, key)),
            column => self.0.write_json(column, json.bytes()),
        }
    }

    fn relation<'a>(objects: &'a [Output<Self>], ctx: &'a Context<'_>) -> BoxFuture<'a, Together> {
        let keys = objects.iter().map(|object| object.0.0.key()).collect();
        match ctx.item.node.name.node.as_str() {
            "teams" => list::lists::<Team>(ctx, keys).boxed(),
            "teamCount" => list::counts::<Team>(ctx, keys).boxed(),
            "teamsConnection" => connections::<Team>("Hero.teamsConnection", ctx, keys).boxed(),
            _ => ready(Ok(None)).boxed(),
        }
    }
}
