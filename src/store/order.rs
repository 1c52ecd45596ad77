//! In which order rows come, and what is before and behind a place in it.

use std::str::FromStr;

use entity::hero_team_link;
use sea_orm::{
    Value,
    sea_query::{Alias, Expr, ExprTrait, NullOrdering, Query, SelectStatement},
};

use super::{Table, filter::Column, record::Record};

/// One step of an order. An order is a list of them that ends with the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Order {
    pub by: OrderBy,
    pub descending: bool,
    /// Whether rows without a value come first.
    pub nulls_first: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderBy {
    /// The value of a column. Text is ordered by its code points.
    Column(Column),
    /// The number of rows on the other side of the memberships.
    Linked,
}

/// A place in an order: the value of each step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position(pub Vec<Key>);

/// The value of one step of an order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    Null,
    Int(i64),
    Text(String),
}

/// Where a slice of an ordered list begins or ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bound {
    pub position: Position,
    /// Whether the row at this very position belongs to the slice.
    pub inclusive: bool,
}

impl Order {
    /// The order by key.
    pub fn by_key<E: Table>(descending: bool) -> Self {
        Self { by: OrderBy::Column(E::KEY.into()), descending, nulls_first: false }
    }

    /// The opposite order.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { descending: !self.descending, nulls_first: !self.nulls_first, ..self }
    }

    /// Its direction, as SeaORM has it.
    #[must_use]
    pub fn direction(self) -> sea_orm::Order {
        if self.descending { sea_orm::Order::Desc } else { sea_orm::Order::Asc }
    }

    fn is_nullable(self) -> bool {
        matches!(self.by, OrderBy::Column(column) if column.is_nullable)
    }

    fn expression<E: Table>(self) -> Expr {
        match self.by {
            OrderBy::Column(column) => Expr::col((E::default(), column.name)),
            OrderBy::Linked => linked_count::<E>(),
        }
    }

    /// Orders a statement by this step. Where the rows come through their links (`linked`), the key is read from the link,
    /// so that its index gives the order, too.
    pub fn apply<E: Table>(self, select: &mut SelectStatement, linked: bool) {
        let direction = self.direction();
        if linked && self.by == Self::by_key::<E>(false).by {
            select.order_by((hero_team_link::Entity, E::LINK), direction);
        } else if self.is_nullable() {
            let nulls = if self.nulls_first { NullOrdering::First } else { NullOrdering::Last };
            select.order_by_expr_with_nulls(self.expression::<E>(), direction, nulls);
        } else {
            select.order_by_expr(self.expression::<E>(), direction);
        }
    }

    /// The rows that come behind `key` by this step alone.
    fn behind<E: Table>(self, key: &Key) -> Expr {
        let expression = self.expression::<E>();
        match key.value() {
            None if self.nulls_first => expression.is_not_null(),
            None => Expr::Constant(false.into()),
            Some(value) => {
                let behind = if self.descending { expression.clone().lt(value) } else { expression.clone().gt(value) };
                if self.is_nullable() && !self.nulls_first { behind.or(expression.is_null()) } else { behind }
            }
        }
    }

    /// The rows at `key` or behind it by this step alone, when they are one range.
    fn range<E: Table>(self, key: &Key) -> Option<Expr> {
        if self.by == OrderBy::Linked || (self.is_nullable() && !self.nulls_first) {
            return None;
        }
        let expression = self.expression::<E>();
        key.value().map(|value| if self.descending { expression.lte(value) } else { expression.gte(value) })
    }

    fn equal<E: Table>(self, key: &Key) -> Expr {
        match key.value() {
            None => self.expression::<E>().is_null(),
            Some(value) => self.expression::<E>().eq(value),
        }
    }
}

/// The number of rows that are linked to a row of `E`.
pub fn linked_count<E: Table>() -> Expr {
    let links = Alias::new("links");
    Query::select()
        .expr(Expr::col((links.clone(), E::LINK)).count())
        .from_as(hero_team_link::Entity, links.clone())
        .and_where(Expr::col((links, E::LINK)).equals((E::default(), E::KEY)))
        .take()
        .into()
}

/// The rows behind a bound (keyset pagination).
pub fn behind<E: Table>(order: &[Order], bound: &Bound) -> Expr {
    let keys = &bound.position.0;
    let one_way = order.iter().all(|step| !step.is_nullable() && step.descending == order[0].descending);
    if one_way {
        // A comparison of rows, which an index over the same columns serves on both databases.
        let row = Expr::tuple(order.iter().map(|step| step.expression::<E>()));
        let position = Expr::tuple(keys.iter().filter_map(Key::value).map(Expr::val));
        return match (order[0].descending, bound.inclusive) {
            (false, false) => row.gt(position),
            (false, true) => row.gte(position),
            (true, false) => row.lt(position),
            (true, true) => row.lte(position),
        };
    }
    // a > x OR (a = x AND (b > y OR (b = y AND …)))
    let condition =
        order.iter().zip(keys).rev().fold(Expr::Constant(bound.inclusive.into()), |further, (step, key)| {
            step.behind::<E>(key).or(step.equal::<E>(key).and(further))
        });
    // What follows from it once more in front, as a range that an index serves.
    match order.first().zip(keys.first()).and_then(|(step, key)| step.range::<E>(key)) {
        Some(range) => range.and(condition),
        None => condition,
    }
}

impl Key {
    fn value(&self) -> Option<Value> {
        match self {
            Self::Null => None,
            Self::Int(number) => Some((*number).into()),
            Self::Text(text) => Some(text.clone().into()),
        }
    }
}

impl Position {
    /// Where a row stands in an order.
    #[must_use]
    pub fn of<E: Table>(order: &[Order], row: &Record<E>, linked: Option<i64>) -> Self {
        let key = |step: &Order| match step.by {
            OrderBy::Column(column) => E::Column::from_str(column.name).map_or(Key::Null, |column| row.get(column)),
            OrderBy::Linked => linked.map_or(Key::Null, Key::Int),
        };
        Self(order.iter().map(key).collect())
    }
}
