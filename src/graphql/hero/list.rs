//! Lists of heroes: their filter and their order.

use async_graphql::{Enum, InputObject, MaybeUndefined};
use entity::hero::{Column, Entity};

use super::Hero;
use crate::{
    graphql::{
        error::ApiError,
        filter::{All, Conditions, FilterInput, IdFilter, IntFilter, StringFilter, given},
        id::NodeType,
        input::Place,
        list::Listed,
        loaders::{CountLoader, Loaders, PageLoader},
        order::{NullsOrder, OrderDirection, step},
        team::TeamListFilter,
    },
    store::{Filter, Order, OrderBy, Quantifier, Record},
};

/// Which heroes are wanted. All that is given must hold; an empty filter takes all of them.
#[derive(Debug, InputObject)]
pub struct HeroFilter {
    /// What the id must be.
    id: MaybeUndefined<IdFilter>,
    /// What the name must be.
    name: MaybeUndefined<StringFilter>,
    /// What the secret name must be.
    secret_name: MaybeUndefined<StringFilter>,
    /// What the age must be.
    age: MaybeUndefined<IntFilter>,
    /// What the teams of the hero must be.
    teams: MaybeUndefined<TeamListFilter>,
    /// All of these hold.
    and: MaybeUndefined<Vec<HeroFilter>>,
    /// One of these holds; none does when the list is empty.
    or: MaybeUndefined<Vec<HeroFilter>>,
    /// This does not hold.
    not: MaybeUndefined<Box<HeroFilter>>,
}

/// What the heroes of a team must be. All that is given must hold.
#[derive(Debug, InputObject)]
pub struct HeroListFilter {
    /// At least one hero is like this.
    some: MaybeUndefined<Box<HeroFilter>>,
    /// Each hero is like this, also when there are none.
    every: MaybeUndefined<Box<HeroFilter>>,
    /// Not one hero is like this.
    none: MaybeUndefined<Box<HeroFilter>>,
}

/// One step of an order of heroes.
#[derive(Debug, InputObject)]
pub struct HeroOrder {
    /// What the heroes are ordered by.
    field: HeroOrderField,
    /// Which end comes first.
    #[graphql(default)]
    direction: OrderDirection,
    /// Where heroes come whose age is null: last in ascending order and first in descending order, unless this says otherwise.
    nulls: Option<NullsOrder>,
}

/// What heroes are ordered by. Text is ordered by the code points of its characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum HeroOrderField {
    /// The number in the id.
    Id,
    /// The name.
    Name,
    /// The secret name.
    SecretName,
    /// The age.
    Age,
    /// The number of teams.
    TeamCount,
}

impl FilterInput for HeroFilter {
    fn check(self, conditions: &mut Conditions, place: Place<'_>) -> Result<Filter, ApiError> {
        let Self { id, name, secret_name, age, teams, and, or, not } = self;
        let mut all = All::new(conditions);
        all.id(NodeType::Hero, Column::Id, id, place.field("id"))?;
        all.text(Column::Name, name, place.field("name"))?;
        all.text(Column::SecretName, secret_name, place.field("secretName"))?;
        all.int(Column::Age, age, place.field("age"))?;
        if let Some(teams) = given(teams, place.field("teams"))? {
            teams.check(&mut all, place.field("teams"))?;
        }
        all.junctions(and, or, not, place)?;
        Ok(all.filter())
    }
}

impl HeroListFilter {
    /// Adds what the heroes of a team must be.
    pub fn check(self, all: &mut All<'_>, place: Place<'_>) -> Result<(), ApiError> {
        all.linked(Quantifier::Some, self.some, place.field("some"))?;
        all.linked(Quantifier::Every, self.every, place.field("every"))?;
        all.linked(Quantifier::None, self.none, place.field("none"))
    }
}

impl From<HeroOrder> for Order {
    fn from(HeroOrder { field, direction, nulls }: HeroOrder) -> Self {
        let by = match field {
            HeroOrderField::Id => OrderBy::Column(Column::Id.into()),
            HeroOrderField::Name => OrderBy::Column(Column::Name.into()),
            HeroOrderField::SecretName => OrderBy::Column(Column::SecretName.into()),
            HeroOrderField::Age => OrderBy::Column(Column::Age.into()),
            HeroOrderField::TeamCount => OrderBy::Linked,
        };
        step(by, direction, nulls)
    }
}

impl Listed for Hero {
    type Entity = Entity;
    type Filter = HeroFilter;
    type Order = HeroOrder;

    fn new(row: Record<Entity>) -> Self {
        Self(row)
    }

    fn pages(loaders: &Loaders) -> &PageLoader<Entity> {
        loaders.hero_pages()
    }

    fn counts(loaders: &Loaders) -> &CountLoader<Entity> {
        loaders.hero_counts()
    }
}
