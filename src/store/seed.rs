//! The tutorial's data.

use super::{Create, Creation, Relate, Scalar, Values, insert};
use crate::{
    db::{Db, StoreError, Transaction, UnitOfWork},
    schema::{Column, Entity, HERO, Relation, TEAM},
};

/// Creates the tutorial's three heroes with their two teams. Heroes that exist already stay as they are.
///
/// Gives the number of heroes that were created.
///
/// # Errors
///
/// When the database does not answer.
pub async fn tutorial(db: &Db) -> Result<usize, StoreError> {
    db.write(Tutorial { story: story(), events: db.writes_events() }).await
}

struct Tutorial {
    story: Vec<Create>,
    events: bool,
}

impl UnitOfWork for Tutorial {
    type Output = usize;

    async fn run(&self, txn: &Transaction, attempt: u32) -> Result<usize, StoreError> {
        let Self { story, events } = self;
        let present = insert::find(txn, &HERO, &story.iter().map(|new| &new.values).collect()).await?;
        let new = story.iter().filter(|new| !present.contains_key(&new.values)).cloned().collect();
        Ok(Creation { entity: &HERO, new, events: *events }.run(txn, attempt).await?.len())
    }
}

/// The heroes with their teams.
fn story() -> Vec<Create> {
    let text = |text: &str| Scalar::Text(text.to_owned());
    let team = |name, headquarters| values(&TEAM, &[("name", text(name)), ("headquarters", text(headquarters))]);
    let z_force = team("Z-Force", "Sister Margaret's Bar");
    let preventers = team("Preventers", "Sharp Tower");
    let hero = |name, secret_name, age, teams| Create {
        values: values(&HERO, &[("name", text(name)), ("secretName", text(secret_name)), ("age", age)]),
        related: related(&HERO, "teams", &Relate { connect_or_create: teams, ..Relate::default() }),
    };
    vec![
        hero("Deadpond", "Dive Wilson", Scalar::Null, vec![z_force, preventers.clone()]),
        hero("Rusty-Man", "Tommy Sharp", Scalar::Int(48), vec![preventers.clone()]),
        hero("Spider-Boy", "Pedro Parqueador", Scalar::Null, vec![preventers]),
    ]
}

/// The values of a row, by the fields of its columns. A column that is not named is null.
fn values(entity: &Entity, named: &[(&str, Scalar)]) -> Values {
    let value =
        |column: &Column| named.iter().find(|(field, _)| *field == column.field).map(|(_, value)| value.clone());
    entity.columns.iter().map(|column| value(column).unwrap_or(Scalar::Null)).collect()
}

/// What a row is linked to along one relation of its entity, and to nothing along the others.
fn related(entity: &Entity, field: &str, relate: &Relate) -> Vec<Relate> {
    let is_it = |relation: &Relation| relation.field == field;
    entity.relations.iter().map(|relation| if is_it(relation) { relate.clone() } else { Relate::default() }).collect()
}
