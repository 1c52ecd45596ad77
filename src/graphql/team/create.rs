use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};

use super::Team;
use crate::{
    graphql::{
        hero::NewHeroInput,
        id::NodeType,
        input::{Faults, Place, RelateInput, RowInput},
        mutation::{self, CreateInput},
        output::{List, Nullable, ObjectFields, Output},
    },
    store::{Create, hero::NewHero, team::NewTeam},
};

/// A team to create, with the heroes who are to be in it.
#[derive(Debug, InputObject)]
pub struct CreateTeamInput {
    /// The name: not blank, at most 200 characters, no U+0000. Kept as it is.
    name: String,
    /// Where the team meets: not blank, at most 200 characters, no U+0000. Kept as it is.
    headquarters: String,
    /// The heroes who are to be in the team; none when absent or null.
    heroes: Option<TeamHeroesCreateInput>,
}

/// The heroes who are to be in a new team. All three lists may be given together; a hero whom they name twice counts once.
#[derive(Debug, Default, InputObject)]
pub struct TeamHeroesCreateInput {
    /// Heroes to create in any case, even when there are others with the same values. At most 1,000.
    create: Option<Vec<NewHeroInput>>,
    /// Ids of heroes who are there: global, such as `Hero:1`, or bare numbers. One who is not there is refused with
    /// `NOT_FOUND`. At most 1,000.
    connect: Option<Vec<ID>>,
    /// Heroes with exactly these values: the oldest one, created when there is none. Equal values in one call are one hero.
    /// At most 1,000.
    connect_or_create: Option<Vec<NewHeroInput>>,
}

/// A team to create, on its own.
#[derive(Debug, InputObject)]
pub struct NewTeamInput {
    /// The name: not blank, at most 200 characters, no U+0000. Kept as it is.
    name: String,
    /// Where the team meets: not blank, at most 200 characters, no U+0000. Kept as it is.
    headquarters: String,
}

/// What `createTeam` gives.
#[derive(Debug, SimpleObject)]
pub struct CreateTeamPayload {
    /// The team that was created. Null when a field of it that cannot be null failed;
    /// it was created all the same.
    team: Option<Output<Team>>,
}

/// What `createTeams` gives.
#[derive(Debug, SimpleObject)]
pub struct CreateTeamsPayload {
    /// The teams that were created, in the order of the input. Null when a field of one that cannot be null
    /// failed; they were created all the same.
    teams: Option<List<Output<Team>>>,
}

#[derive(Debug, Default)]
pub struct TeamCreation;

#[Object]
impl TeamCreation {
    /// Creates a team, together with the heroes who are to be in it. Null when nothing was written: the errors say what was
    /// wrong, all faults of the input together (`BAD_USER_INPUT`), or what was not there (`NOT_FOUND`).
    async fn create_team(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The team, with instructions for the heroes.")] input: CreateTeamInput,
    ) -> Nullable<Output<CreateTeamPayload>> {
        let row = mutation::create_one(ctx, input).await;
        row.map(|row| Output(CreateTeamPayload { team: Some(Output(Team(row))) })).into()
    }

    /// Creates teams, together with the heroes who are to be in them: all of them, or none. Null when nothing was written:
    /// the errors say what was wrong, all faults of the input together (`BAD_USER_INPUT`), or what was not there (`NOT_FOUND`).
    async fn create_teams(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "The teams, at most 1,000, which may name 10,000 objects together with what is nested in them."
        )]
        input: Vec<CreateTeamInput>,
    ) -> Nullable<Output<CreateTeamsPayload>> {
        let rows = mutation::create_many(ctx, input).await;
        rows.map(|rows| Output(CreateTeamsPayload { teams: Some(rows.into_iter().map(Team).map(Output).collect()) }))
            .into()
    }
}

impl ObjectFields for CreateTeamPayload {
    type Column = ();
    const IS_PAYLOAD: bool = true;
}

impl ObjectFields for CreateTeamsPayload {
    type Column = ();
    const IS_PAYLOAD: bool = true;
}

impl CreateInput for CreateTeamInput {
    type Row = NewTeam;
    type Related = NewHero;

    const RELATED: (&'static str, NodeType) = ("heroes", NodeType::Hero);

    fn check(self, place: Place<'_>, faults: &mut Faults) -> Create<NewTeam, NewHero> {
        let Self { name, headquarters, heroes } = self;
        let TeamHeroesCreateInput { create, connect, connect_or_create } = heroes.unwrap_or_default();
        let heroes = RelateInput {
            node: Self::RELATED.1,
            create,
            connect,
            connect_or_create,
            disconnect: None,
            set: MaybeUndefined::Undefined,
        };
        Create {
            row: NewTeamInput { name, headquarters }.check(place, faults),
            related: heroes.check(place.field(Self::RELATED.0), faults),
        }
    }
}

impl RowInput for NewTeamInput {
    type Row = NewTeam;

    fn check(self, place: Place<'_>, faults: &mut Faults) -> NewTeam {
        faults.check_text(&self.name, place.field("name"));
        faults.check_text(&self.headquarters, place.field("headquarters"));
        NewTeam { name: self.name, headquarters: self.headquarters }
    }
}
