//! What exists: the entities of the API, their columns and their relations, as data.
//!
//! Object types, filters, orders, inputs, mutations, loaders and statements all follow from these declarations.

mod declare;
mod hero;
mod membership;
mod scope;
mod team;

pub use self::{
    declare::{Column, DbColumn, DbTable, Entity, Kind, Link, Relation, capitalized, links, with_article, words},
    hero::HERO,
    scope::{Scope, Scopes},
    team::TEAM,
};
use migration::ADDITIVE;
pub use migration::{Migrator, MigratorTrait};

/// An API: its entities, and the migrations that make their tables.
pub trait Api: Send + Sync + 'static {
    /// The migrations, in order.
    type Migrator: MigratorTrait;

    /// The entities, in the order in which the schema has their fields.
    fn entities() -> &'static [&'static Entity];

    /// The names of the migrations that only add what older programs can do without. Servers that do not know them yet
    /// go on, and start again, after they were applied.
    #[must_use]
    fn additive_migrations() -> &'static [&'static str] {
        &[]
    }
}

/// Heroes, teams, and the memberships that link them.
#[derive(Debug)]
pub struct HeroTeams;

impl Api for HeroTeams {
    type Migrator = Migrator;

    fn entities() -> &'static [&'static Entity] {
        static ENTITIES: [&Entity; 2] = [&HERO, &TEAM];
        &ENTITIES
    }

    fn additive_migrations() -> &'static [&'static str] {
        ADDITIVE
    }
}
