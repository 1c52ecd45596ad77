use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};

use super::Hero;
use crate::{
    graphql::{
        id::NodeType,
        input::{Faults, Place, RelateInput},
        mutation::{self, UpdateInput},
        output::{List, Nullable, ObjectFields, Output},
        team::NewTeamInput,
    },
    store::{Change, hero::HeroChanges, team::NewTeam},
};

/// A hero to change. What is absent stays as it is.
#[derive(Debug, InputObject)]
pub struct UpdateHeroInput {
    /// The id of the hero: global, such as `Hero:1`, or the bare number.
    id: ID,
    /// The new name: not blank, at most 200 characters, no U+0000. Kept as it is when absent; not null.
    name: MaybeUndefined<String>,
    /// The new secret name: not blank, at most 200 characters, no U+0000. Kept as it is when absent; not null.
    secret_name: MaybeUndefined<String>,
    /// The new age in years, from 0 to 1,000,000; null when it is not known any more. Kept as it is when absent.
    age: MaybeUndefined<i32>,
    /// What is to change of the teams that the hero is in; nothing when absent or null.
    teams: Option<HeroTeamsUpdateInput>,
}

/// What is to change of the teams that a hero is in. `set` stands alone; the other four may be given together.
#[derive(Debug, Default, InputObject)]
pub struct HeroTeamsUpdateInput {
    /// Teams to create in any case, even when there are others with the same values. At most 1,000.
    create: Option<Vec<NewTeamInput>>,
    /// Ids of teams to link to; one that is linked already stays so. One that is not there is refused with `NOT_FOUND`. At most
    /// 1,000.
    connect: Option<Vec<ID>>,
    /// Teams with exactly these values: the oldest one, created when there is none. Equal values in one call are one team. At
    /// most 1,000.
    connect_or_create: Option<Vec<NewTeamInput>>,
    /// Ids of teams to unlink from; one that is not linked stays so. One that is not there is refused with `NOT_FOUND`, and one
    /// that is in `connect`, too, with `BAD_USER_INPUT`. The team itself stays. At most 1,000.
    disconnect: Option<Vec<ID>>,
    /// Ids of the teams to link to, and to no others; an empty list removes all links. Excludes the other four. Not null. At
    /// most 1,000.
    set: MaybeUndefined<Vec<ID>>,
}

/// What `updateHero` gives.
#[derive(Debug, SimpleObject)]
pub struct UpdateHeroPayload {
    /// The hero as it is now. Null when a field of it that cannot be null failed;
    /// it was changed all the same.
    hero: Option<Output<Hero>>,
}

/// What `updateHeroes` gives.
#[derive(Debug, SimpleObject)]
pub struct UpdateHeroesPayload {
    /// The heroes as they are now, in the order of the input. Null when a field of one that cannot be null
    /// failed; they were changed all the same.
    heroes: Option<List<Output<Hero>>>,
}

#[derive(Debug, Default)]
pub struct HeroUpdate;

#[Object]
impl HeroUpdate {
    /// Changes a hero and its links. Null when nothing was written: the errors say what was wrong, all faults of the input together
    /// (`BAD_USER_INPUT`), or what was not there (`NOT_FOUND`). To change nothing is not an error.
    async fn update_hero(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The hero, with what is to change.")] input: UpdateHeroInput,
    ) -> Nullable<Output<UpdateHeroPayload>> {
        let row = mutation::update_one(ctx, input).await;
        row.map(|row| Output(UpdateHeroPayload { hero: Some(Output(Hero(row))) })).into()
    }

    /// Changes heroes and their links: all of them, or none. Null when nothing was written: the errors say what was wrong, all
    /// faults of the input together (`BAD_USER_INPUT`), or what was not there (`NOT_FOUND`).
    async fn update_heroes(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "The heroes, each once, at most 1,000, which may name 10,000 objects together with what is nested in them."
        )]
        input: Vec<UpdateHeroInput>,
    ) -> Nullable<Output<UpdateHeroesPayload>> {
        let rows = mutation::update_many(ctx, input).await;
        rows.map(|rows| Output(UpdateHeroesPayload { heroes: Some(rows.into_iter().map(Hero).map(Output).collect()) }))
            .into()
    }
}

impl ObjectFields for UpdateHeroPayload {
    type Column = ();
    const IS_PAYLOAD: bool = true;
}

impl ObjectFields for UpdateHeroesPayload {
    type Column = ();
    const IS_PAYLOAD: bool = true;
}

impl UpdateInput for UpdateHeroInput {
    type Changes = HeroChanges;
    type Related = NewTeam;

    const NODE: NodeType = NodeType::Hero;
    const RELATED: (&'static str, NodeType) = ("teams", NodeType::Team);

    fn check(self, place: Place<'_>, faults: &mut Faults) -> Change<HeroChanges, NewTeam> {
        let Self { id, name, secret_name, age, teams } = self;
        let key = faults.key(Self::NODE, &id, place.field("id")).unwrap_or_default();
        let changes = HeroChanges {
            name: faults.not_null(name, place.field("name")),
            secret_name: faults.not_null(secret_name, place.field("secretName")),
            age: match age {
                MaybeUndefined::Undefined => None,
                MaybeUndefined::Null => Some(None),
                MaybeUndefined::Value(age) => Some(Some(age)),
            },
        };
        for (text, name) in [(&changes.name, "name"), (&changes.secret_name, "secretName")] {
            if let Some(text) = text {
                faults.check_text(text, place.field(name));
            }
        }
        faults.check_age(changes.age.flatten(), place.field("age"));
        let HeroTeamsUpdateInput { create, connect, connect_or_create, disconnect, set } = teams.unwrap_or_default();
        let teams = RelateInput { node: Self::RELATED.1, create, connect, connect_or_create, disconnect, set };
        Change { key, changes, related: teams.check(place.field(Self::RELATED.0), faults) }
    }
}
