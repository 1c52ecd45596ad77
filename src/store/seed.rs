//! The tutorial's data.

use super::{Create, Creation, Db, Relate, Scalar, StoreError, Transaction, UnitOfWork, insert};
use crate::schema::HERO;

/// Creates the tutorial's three heroes with their two teams. Heroes that exist already stay as they are.
///
/// Gives the number of heroes that were created.
///
/// # Errors
///
/// When the database does not answer.
pub async fn tutorial(db: &Db) -> Result<usize, StoreError> {
    db.write(Tutorial(story())).await
}

struct Tutorial(Vec<Create>);

impl UnitOfWork for Tutorial {
    type Output = usize;

    async fn run(&self, txn: &Transaction, attempt: u32) -> Result<usize, StoreError> {
        let Self(story) = self;
        let present = insert::find(txn, &HERO, &story.iter().map(|new| &new.values).collect()).await?;
        let new = story.iter().filter(|new| !present.contains_key(&new.values)).cloned().collect();
        Ok(Creation { entity: &HERO, new }.run(txn, attempt).await?.len())
    }
}

/// The heroes, by their name, secret name and age, with their teams, by their name and headquarters.
fn story() -> Vec<Create> {
    let text = |text: &str| Scalar::Text(text.to_owned());
    let team = |name, headquarters| vec![text(name), text(headquarters)];
    let z_force = team("Z-Force", "Sister Margaret's Bar");
    let preventers = team("Preventers", "Sharp Tower");
    let hero = |name, secret_name, age, teams| Create {
        values: vec![text(name), text(secret_name), age],
        related: vec![Relate { connect_or_create: teams, ..Relate::default() }],
    };
    vec![
        hero("Deadpond", "Dive Wilson", Scalar::Null, vec![z_force, preventers.clone()]),
        hero("Rusty-Man", "Tommy Sharp", Scalar::Int(48), vec![preventers.clone()]),
        hero("Spider-Boy", "Pedro Parqueador", Scalar::Null, vec![preventers]),
    ]
}
