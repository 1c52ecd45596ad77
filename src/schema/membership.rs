//! The link between heroes and teams, seen from each side.

use std::sync::LazyLock;

use entity::{hero::TeamsOfHero, team::HeroesOfTeam};

use super::Link;

pub static TEAMS_OF_HERO: LazyLock<Link> = LazyLock::new(|| Link::along("Membership", &TeamsOfHero));
pub static HEROES_OF_TEAM: LazyLock<Link> = LazyLock::new(|| Link::along("Membership", &HeroesOfTeam));
