use std::sync::Arc;

use async_graphql::{Context, ID, Object, Value};
use entity::hero::Model;

use crate::graphql::{
    error::ApiError,
    id::NodeType,
    loaders::Loaders,
    output::{ObjectFields, Output},
    page::page,
    team::Team,
};

/// A row of `hero` as clients see it.
#[derive(Clone, Debug)]
pub struct Hero(pub Arc<Model>);

/// Somebody who may be in any number of teams.
#[Object]
impl Hero {
    /// The global id, such as `Hero:1`. It stays the same for as long as the hero exists and is never used again.
    pub async fn id(&self) -> ID {
        NodeType::Hero.id(self.0.id)
    }

    /// The name that everybody knows. Several heroes may have the same one.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// The name that nobody knows.
    async fn secret_name(&self) -> &str {
        &self.0.secret_name
    }

    /// The age in years; null when it is not known.
    async fn age(&self) -> Option<i32> {
        self.0.age
    }

    /// The teams that the hero is in, in the order of their ids; an empty list when there are none. Reads one statement for
    /// all heroes of the query.
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
        let page = page(limit, offset)?;
        let teams = ctx.data_unchecked::<Loaders>().teams_of_hero(self.0.id, page).await?;
        Ok(teams.iter().cloned().map(Team).map(Output).collect())
    }
}

impl ObjectFields for Hero {
    fn column(&self, field: &str) -> Option<Value> {
        match field {
            "id" => Some(Value::from(NodeType::Hero.id(self.0.id).0)),
            "name" => Some(Value::from(self.0.name.as_str())),
            "secretName" => Some(Value::from(self.0.secret_name.as_str())),
            "age" => Some(self.0.age.map_or(Value::Null, Value::from)),
            _ => None,
        }
    }
}
