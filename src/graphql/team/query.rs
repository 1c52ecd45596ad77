use async_graphql::{Context, ID, Object};

use super::{Team, TeamFilter, TeamOrder};
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
pub struct TeamQuery;

#[Object]
impl TeamQuery {
    /// The team with this id; null when there is none. The id of another type is refused with `BAD_USER_INPUT`.
    async fn team(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id of a team: global, such as `Team:1`, or the bare number.")] id: ID,
    ) -> Nullable<Output<Team>> {
        let team = async {
            let key = NodeType::Team.key(&id, Place::argument("id"))?;
            Ok(ctx.data_unchecked::<Loaders>().team(key).await?.map(Team).map(Output))
        };
        Nullable::from(team.await)
    }

    /// All teams, or those that are wanted; an empty list when there are none.
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
        list::list(ctx, Source::Root, (filter, order_by), (limit, offset)).await
    }

    /// All teams, or those that are wanted, for clients that page.
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
        connection("Query.teamsConnection", Source::Root, (filter, order_by), page)
    }
}
