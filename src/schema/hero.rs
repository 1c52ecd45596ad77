//! The entity of heroes, as clients see it.

use entity::hero;

use super::Scope;
use super::{Column, Entity, Relation, TEAM, membership::TEAMS_OF_HERO};

/// Heroes.
pub static HERO: Entity = Entity {
    name: "Hero",
    one: "hero",
    many: "heroes",
    about: "A hero, who can belong to any number of teams.",
    table: &hero::Entity,
    key: Column::key(&hero::Column::Id),
    columns: &[
        Column::text(&hero::Column::Name, "name", "The public name. Several heroes can have the same one."),
        Column::text(&hero::Column::SecretName, "secretName", "The secret name.").requires(Scope::ReadSecrets),
        Column::int(&hero::Column::Age, "age", 0..=1_000_000, "The age in years. Null if it is not known.").nullable(),
    ],
    relations: &[Relation::new("teams", "teamCount", "teams that the hero belongs to", &TEAM, &TEAMS_OF_HERO)],
};
