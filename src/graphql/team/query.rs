use std::sync::Arc;

use async_graphql::{Context, ID, Object};
use entity::team::Entity;

use super::Team;
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

    /// Teams in the order of their ids; an empty list when there are none.
    async fn teams(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Teams at most, from 0 to 1,000; more is refused with `BAD_USER_INPUT`.",
            default_with = "Some(100)"
        )]
        limit: Option<i32>,
        #[graphql(desc = "Teams that are passed over first; not negative.", default_with = "Some(0)")] offset: Option<
            i32,
        >,
    ) -> Result<Vec<Output<Team>>, ApiError> {
        let rows = store::page::<Entity>(ctx.data_unchecked::<Db>(), page(limit, offset)?).await?;
        Ok(rows.into_iter().map(Arc::new).map(Team).map(Output).collect())
    }
}
