//! The API: heroes with teams, missions, mentors and pupils.

use std::sync::LazyLock;

use entity::{hero, team};
use hero_teams::schema::{Api, Column, Entity, Link, Relation};

use super::{
    entities::{HeroesOfMission, MentorsOfHero, MissionsOfHero, PupilsOfHero, mission},
    migration::Migrator,
};

#[derive(Debug)]
pub struct Missions;

impl Api for Missions {
    type Migrator = Migrator;

    fn entities() -> &'static [&'static Entity] {
        static ENTITIES: [&Entity; 3] = [&HERO, &TEAM, &MISSION];
        &ENTITIES
    }
}

static TEAMS: LazyLock<Link> = LazyLock::new(|| Link::along("Membership", &hero::TeamsOfHero));
static HEROES: LazyLock<Link> = LazyLock::new(|| Link::along("Membership", &team::HeroesOfTeam));
static MISSIONS: LazyLock<Link> = LazyLock::new(|| Link::along("Assignment", &MissionsOfHero));
static HEROES_OF_MISSION: LazyLock<Link> = LazyLock::new(|| Link::along("Assignment", &HeroesOfMission));
static MENTORS: LazyLock<Link> = LazyLock::new(|| Link::along("Mentorship", &MentorsOfHero));
static PUPILS: LazyLock<Link> = LazyLock::new(|| Link::along("Mentorship", &PupilsOfHero));

static HERO: Entity = Entity {
    name: "Hero",
    one: "hero",
    many: "heroes",
    about: "A hero, who can belong to teams, take part in missions, and mentor other heroes.",
    table: &hero::Entity,
    key: Column::key(&hero::Column::Id),
    columns: hero_teams::schema::HERO.columns,
    relations: &[
        Relation::new("teams", "teamCount", "teams that the hero belongs to", &TEAM, &TEAMS),
        Relation::new("missions", "missionCount", "missions that the hero takes part in", &MISSION, &MISSIONS),
        Relation::new("mentors", "mentorCount", "heroes who mentor the hero", &HERO, &MENTORS),
        Relation::new("pupils", "pupilCount", "heroes whom the hero mentors", &HERO, &PUPILS),
    ],
};

static TEAM: Entity = Entity {
    name: "Team",
    one: "team",
    many: "teams",
    about: "A team, which can have any number of heroes.",
    table: &team::Entity,
    key: Column::key(&team::Column::Id),
    columns: hero_teams::schema::TEAM.columns,
    relations: &[Relation::new("heroes", "heroCount", "heroes that belong to the team", &HERO, &HEROES)],
};

static MISSION: Entity = Entity {
    name: "Mission",
    one: "mission",
    many: "missions",
    about: "A mission, which any number of heroes can take part in.",
    table: &mission::Entity,
    key: Column::key(&mission::Column::Id),
    columns: &[
        Column::text(&mission::Column::Title, "title", "The title. Several missions can have the same one."),
        Column::int(&mission::Column::Year, "year", 0..=9_999, "The year. Null if it is not known.").nullable(),
    ],
    relations: &[Relation::new(
        "heroes",
        "heroCount",
        "heroes who take part in the mission",
        &HERO,
        &HEROES_OF_MISSION,
    )],
};
