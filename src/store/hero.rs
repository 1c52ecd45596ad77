//! Heroes.

use entity::hero::{Column, Entity, Model, TeamsOfHero};
use entity::hero_team_link;
use sea_orm::{RelationDef, RelationTrait};
use serde::Serialize;

use super::{Membership, NewRow, Table, membership::Link};

impl Table for Entity {
    const KEY: Column = Column::Id;

    fn key(row: &Model) -> i64 {
        row.id
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

impl Membership for TeamsOfHero {
    const FROM: hero_team_link::Column = hero_team_link::Column::HeroId;
    const TO: hero_team_link::Column = hero_team_link::Column::TeamId;

    fn pair(hero_id: i64, team_id: i64) -> Link {
        Link { hero_id, team_id }
    }

    fn last_step() -> RelationDef {
        hero_team_link::Relation::Team.def()
    }
}
