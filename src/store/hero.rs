//! Heroes.

use entity::{
    hero::{Column, Entity, Model},
    hero_team_link,
    team::{self, HeroesOfTeam},
};
use sea_orm::{Linked, RelationDef};
use serde::Serialize;

use super::{NewRow, Table, membership::Link};

impl Table for Entity {
    const KEY: Column = Column::Id;
    const LINK: hero_team_link::Column = hero_team_link::Column::HeroId;

    type Other = team::Entity;

    fn key(row: &Model) -> i64 {
        row.id
    }

    fn path() -> Vec<RelationDef> {
        HeroesOfTeam.link()
    }

    fn link(hero_id: i64, team_id: i64) -> Link {
        Link { hero_id, team_id }
    }
}

/// A hero that is about to be made.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct NewHero {
    pub name: String,
    pub secret_name: String,
    /// In years.
    pub age: Option<i32>,
}

impl NewRow for NewHero {
    type Entity = Entity;
    const COLUMNS: &[Column] = &[Column::Name, Column::SecretName, Column::Age];

    fn of(row: &Model) -> Self {
        Self { name: row.name.clone(), secret_name: row.secret_name.clone(), age: row.age }
    }
}
