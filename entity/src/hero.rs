//! A hero.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, Hash, DeriveEntityModel, Deserialize)]
#[sea_orm(table_name = "hero")]
pub struct Model {
    /// Given by the database, never used again after a delete.
    #[sea_orm(primary_key)]
    pub id: i64,
    #[sea_orm(indexed)]
    pub name: String,
    pub secret_name: String,
    /// In years.
    #[sea_orm(indexed)]
    pub age: Option<i32>,
    #[sea_orm(has_many, via = "hero_team_link")]
    pub teams: HasMany<super::team::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

/// The way from a hero through its memberships to its teams.
#[derive(Clone, Copy, Debug)]
pub struct TeamsOfHero;

impl Linked for TeamsOfHero {
    type FromEntity = Entity;
    type ToEntity = super::team::Entity;

    fn link(&self) -> Vec<RelationDef> {
        vec![super::hero_team_link::Relation::Hero.def().rev(), super::hero_team_link::Relation::Team.def()]
    }
}
