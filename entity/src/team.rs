//! A team.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, Hash, DeriveEntityModel, Deserialize)]
#[sea_orm(table_name = "team")]
pub struct Model {
    /// Given by the database, never used again after a delete.
    #[sea_orm(primary_key)]
    pub id: i64,
    #[sea_orm(indexed)]
    pub name: String,
    pub headquarters: String,
    #[sea_orm(has_many, via = "hero_team_link")]
    pub heroes: HasMany<super::hero::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

/// The way from a team through its memberships to its heroes.
#[derive(Clone, Copy, Debug)]
pub struct HeroesOfTeam;

impl Linked for HeroesOfTeam {
    type FromEntity = Entity;
    type ToEntity = super::hero::Entity;

    fn link(&self) -> Vec<RelationDef> {
        vec![super::hero_team_link::Relation::Team.def().rev(), super::hero_team_link::Relation::Hero.def()]
    }
}
