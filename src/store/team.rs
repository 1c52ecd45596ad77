//! Teams.

use entity::hero_team_link;
use entity::team::{Column, Entity, HeroesOfTeam, Model};
use sea_orm::{RelationDef, RelationTrait};
use serde::Serialize;

use super::{Membership, NewRow, Table, membership::Link};

impl Table for Entity {
    const KEY: Column = Column::Id;

    fn key(row: &Model) -> i64 {
        row.id
    }
}

/// A team that is about to be made.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct NewTeam {
    pub name: String,
    pub headquarters: String,
}

impl NewRow for NewTeam {
    type Entity = Entity;
    const COLUMNS: &[Column] = &[Column::Name, Column::Headquarters];

    fn of(row: &Model) -> Self {
        Self { name: row.name.clone(), headquarters: row.headquarters.clone() }
    }
}

impl Membership for HeroesOfTeam {
    const FROM: hero_team_link::Column = hero_team_link::Column::TeamId;
    const TO: hero_team_link::Column = hero_team_link::Column::HeroId;

    fn pair(team_id: i64, hero_id: i64) -> Link {
        Link { hero_id, team_id }
    }

    fn last_step() -> RelationDef {
        hero_team_link::Relation::Hero.def()
    }
}
