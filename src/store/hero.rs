//! Heroes.

use std::io;

use entity::{
    hero::{Column, Entity, Model},
    hero_team_link,
    team::{self, HeroesOfTeam},
};
use sea_orm::{Linked, RelationDef, Value};
use serde::Serialize;

use super::{Changes, NewRow, Table, membership::Link};

impl Table for Entity {
    const KEY: Column = Column::Id;
    const LINK: hero_team_link::Column = hero_team_link::Column::HeroId;

    type Other = team::Entity;

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
            Column::SecretName => serde_json::to_writer(json, &row.secret_name),
            Column::Age => serde_json::to_writer(json, &row.age),
        };
        Ok(written?)
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

    fn values(&self) -> Vec<Value> {
        let Self { name, secret_name, age } = self.clone();
        vec![name.into(), secret_name.into(), age.into()]
    }

    fn of(row: &Model) -> Self {
        Self { name: row.name.clone(), secret_name: row.secret_name.clone(), age: row.age }
    }
}

/// What is to change of a hero. What is none stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeroChanges {
    pub name: Option<String>,
    pub secret_name: Option<String>,
    /// In years. Some of none: not known any more.
    pub age: Option<Option<i32>>,
}

impl Changes for HeroChanges {
    type Row = NewHero;

    fn apply(&self, row: &mut NewHero) {
        let Self { name, secret_name, age } = self.clone();
        row.name = name.unwrap_or_else(|| std::mem::take(&mut row.name));
        row.secret_name = secret_name.unwrap_or_else(|| std::mem::take(&mut row.secret_name));
        row.age = age.unwrap_or(row.age);
    }
}
