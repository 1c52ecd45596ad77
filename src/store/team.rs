//! Teams.

use std::io;

use entity::{
    hero::{self, TeamsOfHero},
    hero_team_link,
    team::{Column, Entity, Model},
};
use sea_orm::{Linked, RelationDef, Value};
use serde::Serialize;

use super::{Changes, NewRow, Table, membership::Link};

impl Table for Entity {
    const KEY: Column = Column::Id;
    const LINK: hero_team_link::Column = hero_team_link::Column::TeamId;

    type Other = hero::Entity;

    fn key(row: &Model) -> i64 {
        row.id
    }

    fn index(column: Column) -> usize {
        column as usize
    }

    fn write_json(row: &Model, column: Column, json: &mut Vec<u8>) -> io::Result<()> {
        let written = match column {
            Column::Id => serde_json::to_writer(json, &row.id),
            Column::Name => serde_json::to_writer(json, &row.name),
            Column::Headquarters => serde_json::to_writer(json, &row.headquarters),
        };
        Ok(written?)
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

    fn values(&self) -> Vec<Value> {
        let Self { name, headquarters } = self.clone();
        vec![name.into(), headquarters.into()]
    }

    fn of(row: &Model) -> Self {
        Self { name: row.name.clone(), headquarters: row.headquarters.clone() }
    }
}

/// What is to change of a team. What is none stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TeamChanges {
    pub name: Option<String>,
    pub headquarters: Option<String>,
}

impl Changes for TeamChanges {
    type Row = NewTeam;

    fn apply(&self, row: &mut NewTeam) {
        let Self { name, headquarters } = self.clone();
        row.name = name.unwrap_or_else(|| std::mem::take(&mut row.name));
        row.headquarters = headquarters.unwrap_or_else(|| std::mem::take(&mut row.headquarters));
    }
}
