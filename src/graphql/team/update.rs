use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};

use super::Team;
use crate::{
    graphql::{
        hero::NewHeroInput,
        id::NodeType,
        input::{Faults, Place, RelateInput},
        mutation::{self, UpdateInput},
        output::{List, Nullable, ObjectFields, Output},
    },
    store::{Change, hero::NewHero, team::TeamChanges},
};

/// A team to change. What is absent stays as it is.
#[derive(Debug, InputObject)]
pub struct UpdateTeamInput {
    /// The id of the team: global, such as `Team:1`, or the bare number.
    id: ID,
    /// The new name: not blank, at most 200 characters, no U+0000. Kept as it is when absent; not null.
    name: MaybeUndefined<String>,
    /// Where the team meets from now on: not blank, at most 200 characters, no U+0000. Kept as it is when absent; not null.
    headquarters: MaybeUndefined<String>,
    /// What is to change of the heroes who are in the team; nothing when absent or null.
    heroes: Option<TeamHeroesUpdateInput>,
}

/// What is to change of the heroes who are in a team. `set` stands alone; the other four may be given together.
#[derive(Debug, Default, InputObject)]
pub struct TeamHeroesUpdateInput {
    /// Heroes to create in any case, even when there are others with the same values. At most 1,000.
    create: Option<Vec<NewHeroInput>>,
    /// Ids of heroes to link to; one that is linked already stays so. One that is not there is refused with `NOT_FOUND`. At most
    /// 1,000.
    connect: Option<Vec<ID>>,
    /// Heroes with exactly these values: the oldest one, created when there is none. Equal values in one call are one hero. At
    /// most 1,000.
    connect_or_create: Option<Vec<NewHeroInput>>,
    /// Ids of heroes to unlink from; one that is not linked stays so. One that is not there is refused with `NOT_FOUND`, and one
    /// that is in `connect`, too, with `BAD_USER_INPUT`. The hero itself stays. At most 1,000.
    disconnect: Option<Vec<ID>>,
    /// Ids of the heroes to link to, and to no others; an empty list removes all links. Excludes the other four. Not null. At
    /// most 1,000.
    set: MaybeUndefined<Vec<ID>>,
}

/// What `updateTeam` gives.
#[derive(Debug, SimpleObject)]
pub struct UpdateTeamPayload {
    /// The team as it is now. Null when a field of it that cannot be null failed;
    /// it was changed all the same.
    team: Option<Output<Team>>,
}

/// What `updateTeams` gives.
#[derive(Debug, SimpleObject)]
pub struct UpdateTeamsPayload {
    /// The teams as they are now, in the order of the input. Null when a field of one that cannot be null
    /// failed; they were changed all the same.
    teams: Option<List<Output<Team>>>,
}

#[derive(Debug, Default)]
pub struct TeamUpdate;

#[Object]
impl TeamUpdate {
    /// Changes a team and its links. Null when nothing was written: the errors say what was wrong, all faults of the input together
    /// (`BAD_USER_INPUT`), or what was not there (`NOT_FOUND`). To change nothing is not an error.
    async fn update_team(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The team, with what is to change.")] input: UpdateTeamInput,
    ) -> Nullable<Output<UpdateTeamPayload>> {
        let row = mutation::update_one(ctx, input).await;
        row.map(|row| Output(UpdateTeamPayload { team: Some(Output(Team(row))) })).into()
    }

    /// Changes teams and their links: all of them, or none. Null when nothing was written: the errors say what was wrong, all
    /// faults of the input together (`BAD_USER_INPUT`), or what was not there (`NOT_FOUND`).
    async fn update_teams(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "The teams, each once, at most 1,000, which may name 10,000 objects together with what is nested in them."
        )]
        input: Vec<UpdateTeamInput>,
    ) -> Nullable<Output<UpdateTeamsPayload>> {
        let rows = mutation::update_many(ctx, input).await;
        rows.map(|rows| Output(UpdateTeamsPayload { teams: Some(rows.into_iter().map(Team).map(Output).collect()) }))
            .into()
    }
}

impl ObjectFields for UpdateTeamPayload {
    type Column = ();
    const IS_PAYLOAD: bool = true;
}

impl ObjectFields for UpdateTeamsPayload {
    type Column = ();
    const IS_PAYLOAD: bool = true;
}

impl UpdateInput for UpdateTeamInput {
    type Changes = TeamChanges;
    type Related = NewHero;

    const NODE: NodeType = NodeType::Team;
    const RELATED: (&'static str, NodeType) = ("heroes", NodeType::Hero);

    fn check(self, place: Place<'_>, faults: &mut Faults) -> Change<TeamChanges, NewHero> {
        let Self { id, name, headquarters, heroes } = self;
        let key = faults.key(Self::NODE, &id, place.field("id")).unwrap_or_default();
        let changes = TeamChanges {
            name: faults.not_null(name, place.field("name")),
            headquarters: faults.not_null(headquarters, place.field("headquarters")),
        };
        for (text, name) in [(&changes.name, "name"), (&changes.headquarters, "headquarters")] {
            if let Some(text) = text {
                faults.check_text(text, place.field(name));
            }
        }
        let TeamHeroesUpdateInput { create, connect, connect_or_create, disconnect, set } = heroes.unwrap_or_default();
        let heroes = RelateInput { node: Self::RELATED.1, create, connect, connect_or_create, disconnect, set };
        Change { key, changes, related: heroes.check(place.field(Self::RELATED.0), faults) }
    }
}
