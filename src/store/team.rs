//! Teams.

use entity::{
    hero::{self, TeamsOfHero},
    hero_team_link,
    team::{Column, Entity, Model},
};
use sea_orm::{Linked, RelationDef};
use serde::Serialize;

use super::{NewRow, Table, membership::Link};

impl Table for Entity {
    const KEY: Column = Column::Id;
    const LINK: hero_team_link::Column = hero_team_link::Column::TeamId;

    type Other = hero::Entity;

    fn key(row: &Model) -> i64 {
        row.id
    }

    fn path() -> Vec<RelationDef> {
        TeamsOfHero.link()
    }

    fn link(team_id: i64, hero_id: i64) -> Link {
        Link { hero_id, team_id }
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
