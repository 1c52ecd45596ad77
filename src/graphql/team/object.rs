use std::sync::Arc;

use async_graphql::{Context, ID, Object, Value};
use entity::team::Model;

use crate::graphql::{
    error::ApiError,
    hero::Hero,
    id::NodeType,
    loaders::Loaders,
    output::{ObjectFields, Output},
    page::page,
};

/// A row of `team` as clients see it.
#[derive(Clone, Debug)]
pub struct Team(pub Arc<Model>);

/// A group that any number of heroes may be in.
#[Object]
impl Team {
    /// The global id, such as `Team:1`. It stays the same for as long as the team exists and is never used again.
    pub async fn id(&self) -> ID {
        NodeType::Team.id(self.0.id)
    }

    /// The name. Several teams may have the same one.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Where the team meets.
    async fn headquarters(&self) -> &str {
        &self.0.headquarters
    }

    /// The heroes who are in the team, in the order of their ids; an empty list when there are none. Reads one statement for
    /// all teams of the query.
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
        let page = page(limit, offset)?;
        let heroes = ctx.data_unchecked::<Loaders>().heroes_of_team(self.0.id, page).await?;
        Ok(heroes.iter().cloned().map(Hero).map(Output).collect())
    }
}

impl ObjectFields for Team {
    fn column(&self, field: &str) -> Option<Value> {
        match field {
            "id" => Some(Value::from(NodeType::Team.id(self.0.id).0)),
            "name" => Some(Value::from(self.0.name.as_str())),
            "headquarters" => Some(Value::from(self.0.headquarters.as_str())),
            _ => None,
        }
    }
}
