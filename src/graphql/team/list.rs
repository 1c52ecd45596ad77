//! Lists of teams: their filter and their order.

use async_graphql::{Enum, InputObject, MaybeUndefined};
use entity::team::{Column, Entity};

use super::Team;
use crate::{
    graphql::{
        error::ApiError,
        filter::{All, Conditions, FilterInput, IdFilter, StringFilter, given},
        hero::HeroListFilter,
        id::NodeType,
        input::Place,
        list::Listed,
        loaders::{CountLoader, Loaders, PageLoader},
        order::{OrderDirection, step},
    },
    store::{Filter, Order, OrderBy, Quantifier, Record},
};

/// Which teams are wanted. All that is given must hold; an empty filter takes all of them.
#[derive(Debug, InputObject)]
pub struct TeamFilter {
    /// What the id must be.
    id: MaybeUndefined<IdFilter>,
    /// What the name must be.
    name: MaybeUndefined<StringFilter>,
    /// What the headquarters must be.
    headquarters: MaybeUndefined<StringFilter>,
    /// What the heroes of the team must be.
    heroes: MaybeUndefined<HeroListFilter>,
    /// All of these hold.
    and: MaybeUndefined<Vec<TeamFilter>>,
    /// One of these holds; none does when the list is empty.
    or: MaybeUndefined<Vec<TeamFilter>>,
    /// This does not hold.
    not: MaybeUndefined<Box<TeamFilter>>,
}

/// What the teams of a hero must be. All that is given must hold.
#[derive(Debug, InputObject)]
pub struct TeamListFilter {
    /// At least one team is like this.
    some: MaybeUndefined<Box<TeamFilter>>,
    /// Each team is like this, also when there are none.
    every: MaybeUndefined<Box<TeamFilter>>,
    /// Not one team is like this.
    none: MaybeUndefined<Box<TeamFilter>>,
}

/// One step of an order of teams.
#[derive(Debug, InputObject)]
pub struct TeamOrder {
    /// What the teams are ordered by.
    field: TeamOrderField,
    /// Which end comes first.
    #[graphql(default)]
    direction: OrderDirection,
}

/// What teams are ordered by. Text is ordered by the code points of its characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum TeamOrderField {
    /// The number in the id.
    Id,
    /// The name.
    Name,
    /// The headquarters.
    Headquarters,
    /// The number of heroes.
    HeroCount,
}

impl FilterInput for TeamFilter {
    fn check(self, conditions: &mut Conditions, place: Place<'_>) -> Result<Filter, ApiError> {
        let Self { id, name, headquarters, heroes, and, or, not } = self;
        let mut all = All::new(conditions);
        all.id(NodeType::Team, Column::Id, id, place.field("id"))?;
        all.text(Column::Name, name, place.field("name"))?;
        all.text(Column::Headquarters, headquarters, place.field("headquarters"))?;
        if let Some(heroes) = given(heroes, place.field("heroes"))? {
            heroes.check(&mut all, place.field("heroes"))?;
        }
        all.junctions(and, or, not, place)?;
        Ok(all.filter())
    }
}

impl TeamListFilter {
    /// Adds what the teams of a hero must be.
    pub fn check(self, all: &mut All<'_>, place: Place<'_>) -> Result<(), ApiError> {
        all.linked(Quantifier::Some, self.some, place.field("some"))?;
        all.linked(Quantifier::Every, self.every, place.field("every"))?;
        all.linked(Quantifier::None, self.none, place.field("none"))
    }
}

impl From<TeamOrder> for Order {
    fn from(TeamOrder { field, direction }: TeamOrder) -> Self {
        let by = match field {
            TeamOrderField::Id => OrderBy::Column(Column::Id.into()),
            TeamOrderField::Name => OrderBy::Column(Column::Name.into()),
            TeamOrderField::Headquarters => OrderBy::Column(Column::Headquarters.into()),
            TeamOrderField::HeroCount => OrderBy::Linked,
        };
        step(by, direction, None)
    }
}

impl Listed for Team {
    type Entity = Entity;
    type Filter = TeamFilter;
    type Order = TeamOrder;

    fn new(row: Record<Entity>) -> Self {
        Self(row)
    }

    fn pages(loaders: &Loaders) -> &PageLoader<Entity> {
        loaders.team_pages()
    }

    fn counts(loaders: &Loaders) -> &CountLoader<Entity> {
        loaders.team_counts()
    }
}
