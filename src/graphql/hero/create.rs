use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};

use super::Hero;
use crate::{
    graphql::{
        id::NodeType,
        input::{Faults, Place, RelateInput, RowInput},
        mutation::{self, CreateInput},
        output::{List, Nullable, ObjectFields, Output},
        team::NewTeamInput,
    },
    store::{Create, hero::NewHero, team::NewTeam},
};

/// A hero to create, with the teams that the hero is to be in.
#[derive(Debug, InputObject)]
pub struct CreateHeroInput {
    /// The name that everybody knows: not blank, at most 200 characters, no U+0000. Kept as it is.
    name: String,
    /// The name that nobody knows: not blank, at most 200 characters, no U+0000. Kept as it is.
    secret_name: String,
    /// The age in years, from 0 to 1,000,000; null when it is not known.
    age: Option<i32>,
    /// The teams that the hero is to be in; none when absent or null.
    teams: Option<HeroTeamsCreateInput>,
}

/// The teams that a new hero is to be in. All three lists may be given together; a team that they name twice counts once.
#[derive(Debug, Default, InputObject)]
pub struct HeroTeamsCreateInput {
    /// Teams to create in any case, even when there are others with the same values. At most 1,000.
    create: Option<Vec<NewTeamInput>>,
    /// Ids of teams that are there: global, such as `Team:1`, or bare numbers. One that is not there is refused with
    /// `NOT_FOUND`. At most 1,000.
    connect: Option<Vec<ID>>,
    /// Teams with exactly these values: the oldest one, created when there is none. Equal values in one call are one team.
    /// At most 1,000.
    connect_or_create: Option<Vec<NewTeamInput>>,
}

/// A hero to create, on its own.
#[derive(Debug, InputObject)]
pub struct NewHeroInput {
    /// The name that everybody knows: not blank, at most 200 characters, no U+0000. Kept as it is.
    name: String,
    /// The name that nobody knows: not blank, at most 200 characters, no U+0000. Kept as it is.
    secret_name: String,
    /// The age in years, from 0 to 1,000,000; null when it is not known.
    age: Option<i32>,
}

/// What `createHero` gives.
#[derive(Debug, SimpleObject)]
pub struct CreateHeroPayload {
    /// The hero that was created. Null when a field of it that cannot be null failed;
    /// it was created all the same.
    hero: Option<Output<Hero>>,
}

/// What `createHeroes` gives.
#[derive(Debug, SimpleObject)]
pub struct CreateHeroesPayload {
    /// The heroes that were created, in the order of the input. Null when a field of one that cannot be null
    /// failed; they were created all the same.
    heroes: Option<List<Output<Hero>>>,
}

#[derive(Debug, Default)]
pub struct HeroCreation;

#[Object]
impl HeroCreation {
    /// Creates a hero, together with the teams that the hero is to be in. Null when nothing was written: the errors say what
    /// was wrong, all faults of the input together (`BAD_USER_INPUT`), or what was not there (`NOT_FOUND`).
    async fn create_hero(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The hero, with instructions for the teams.")] input: CreateHeroInput,
    ) -> Nullable<Output<CreateHeroPayload>> {
        let rows = mutation::create_one(ctx, input).await;
        rows.map(|row| Output(CreateHeroPayload { hero: Some(Output(Hero(row))) })).into()
    }

    /// Creates heroes, together with the teams that they are to be in: all of them, or none. Null when nothing was written:
    /// the errors say what was wrong, all faults of the input together (`BAD_USER_INPUT`), or what was not there (`NOT_FOUND`).
    async fn create_heroes(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "The heroes, at most 1,000, which may name 10,000 objects together with what is nested in them."
        )]
        input: Vec<CreateHeroInput>,
    ) -> Nullable<Output<CreateHeroesPayload>> {
        let rows = mutation::create_many(ctx, input).await;
        rows.map(|rows| Output(CreateHeroesPayload { heroes: Some(rows.into_iter().map(Hero).map(Output).collect()) }))
            .into()
    }
}

impl ObjectFields for CreateHeroPayload {
    type Column = ();
    const IS_PAYLOAD: bool = true;
}

impl ObjectFields for CreateHeroesPayload {
    type Column = ();
    const IS_PAYLOAD: bool = true;
}

impl CreateInput for CreateHeroInput {
    type Row = NewHero;
    type Related = NewTeam;

    const RELATED: (&'static str, NodeType) = ("teams", NodeType::Team);

    fn check(self, place: Place<'_>, faults: &mut Faults) -> Create<NewHero, NewTeam> {
        let Self { name, secret_name, age, teams } = self;
        let HeroTeamsCreateInput { create, connect, connect_or_create } = teams.unwrap_or_default();
        let teams = RelateInput {
            node: Self::RELATED.1,
            create,
            connect,
            connect_or_create,
            disconnect: None,
            set: MaybeUndefined::Undefined,
        };
        Create {
            row: NewHeroInput { name, secret_name, age }.check(place, faults),
            related: teams.check(place.field(Self::RELATED.0), faults),
        }
    }
}

impl RowInput for NewHeroInput {
    type Row = NewHero;

    fn check(self, place: Place<'_>, faults: &mut Faults) -> NewHero {
        faults.check_text(&self.name, place.field("name"));
        faults.check_text(&self.secret_name, place.field("secretName"));
        faults.check_age(self.age, place.field("age"));
        NewHero { name: self.name, secret_name: self.secret_name, age: self.age }
    }
}
