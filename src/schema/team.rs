//! The entity of teams, as clients see it.

use entity::team;

use super::{Column, Entity, HERO, Relation, membership::HEROES_OF_TEAM};

/// Teams.
pub static TEAM: Entity = Entity {
    name: "Team",
    one: "team",
    many: "teams",
    about: "A team, which can have any number of heroes.",
    table: &team::Entity,
    key: Column::key(&team::Column::Id),
    columns: &[
        Column::text(&team::Column::Name, "name", "The name. Several teams can have the same one."),
        Column::text(&team::Column::Headquarters, "headquarters", "The place where the team meets."),
    ],
    relations: &[Relation::new("heroes", "heroCount", "heroes that belong to the team", &HERO, &HEROES_OF_TEAM)],
};
