//! The tutorial's data.

use super::{Create, Creation, Db, Relate, StoreError, Transaction, UnitOfWork, create, hero::NewHero, team::NewTeam};

/// Makes the tutorial's three heroes with their two teams. What is there already stays as it is.
///
/// Gives the number of heroes that were made.
///
/// # Errors
///
/// When the database does not answer.
pub async fn tutorial(db: &Db) -> Result<usize, StoreError> {
    db.write(Tutorial(story())).await
}

struct Tutorial(Vec<Create<NewHero, NewTeam>>);

impl UnitOfWork for Tutorial {
    type Output = usize;

    async fn run(&self, txn: &Transaction, attempt: u32) -> Result<usize, StoreError> {
        let Self(story) = self;
        let present = create::find(txn, &story.iter().map(|new| &new.row).collect()).await?;
        let new = story.iter().filter(|new| !present.contains_key(&new.row)).cloned().collect();
        Ok(Creation { new }.run(txn, attempt).await?.len())
    }
}

fn story() -> Vec<Create<NewHero, NewTeam>> {
    let team = |name: &str, headquarters: &str| NewTeam { name: name.into(), headquarters: headquarters.into() };
    let z_force = team("Z-Force", "Sister Margaret's Bar");
    let preventers = team("Preventers", "Sharp Tower");
    let hero = |name: &str, secret_name: &str, age, teams: &[&NewTeam]| Create {
        row: NewHero { name: name.into(), secret_name: secret_name.into(), age },
        related: Relate { connect_or_create: teams.iter().copied().cloned().collect(), ..Relate::default() },
    };
    vec![
        hero("Deadpond", "Dive Wilson", None, &[&z_force, &preventers]),
        hero("Rusty-Man", "Tommy Sharp", Some(48), &[&preventers]),
        hero("Spider-Boy", "Pedro Parqueador", None, &[&preventers]),
    ]
}
