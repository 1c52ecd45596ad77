//! In which order rows come, and which of them come after a position in it.

use sea_orm::sea_query::{Alias, Expr, ExprTrait, NullOrdering, Query, SelectStatement};

use super::{
    dialect::key,
    row::{Row, Scalar},
};
use crate::schema::{Column, Entity, Relation};

/// One step of an order. An order is a list of them that ends with the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Order {
    /// What the rows are ordered by.
    pub by: OrderBy,
    /// Whether the greatest value comes first.
    pub descending: bool,
    /// Whether rows without a value come first.
    pub nulls_first: bool,
}

/// What rows are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderBy {
    /// The value of a column. Text is ordered by its code points.
    Column(&'static Column),
    /// The number of related rows.
    RelatedCount(&'static Relation),
}

/// Where a slice of an ordered list begins or ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bound {
    /// The value of each step of the order.
    pub position: Vec<Scalar>,
    /// Whether the row at this very position belongs to the slice.
    pub inclusive: bool,
}

impl Order {
    /// The order by key.
    #[must_use]
    pub fn by_key(entity: &'static Entity, descending: bool) -> Self {
        Self { by: OrderBy::Column(&entity.key), descending, nulls_first: false }
    }

    /// The opposite order.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { descending: !self.descending, nulls_first: !self.nulls_first, ..self }
    }

    fn is_nullable(self) -> bool {
        matches!(self.by, OrderBy::Column(column) if column.is_nullable)
    }

    fn expression(self, entity: &'static Entity) -> Expr {
        match self.by {
            OrderBy::Column(column) => Expr::col((entity.table(), column.name())),
            OrderBy::RelatedCount(relation) => related_count(entity, relation),
        }
    }

    /// Orders a statement by this step. Where the rows come through the links of a relation, the key is read from the
    /// link, so that its index gives the order as well.
    pub fn apply(self, select: &mut SelectStatement, entity: &'static Entity, relation: Option<&'static Relation>) {
        let direction = if self.descending { sea_orm::Order::Desc } else { sea_orm::Order::Asc };
        match relation {
            Some(relation) if self.by == OrderBy::Column(&entity.key) => {
                let link = &**relation.link;
                select.order_by((link.table.clone(), link.far.clone()), direction);
            }
            _ if self.is_nullable() => {
                let nulls = if self.nulls_first { NullOrdering::First } else { NullOrdering::Last };
                select.order_by_expr_with_nulls(self.expression(entity), direction, nulls);
            }
            _ => {
                select.order_by_expr(self.expression(entity), direction);
            }
        }
    }

    /// The rows that come after a value by this step alone.
    fn after(self, entity: &'static Entity, value: &Scalar) -> Expr {
        let expression = self.expression(entity);
        match value.value() {
            None if self.nulls_first => expression.is_not_null(),
            None => Expr::Constant(false.into()),
            Some(value) => {
                let after = if self.descending { expression.clone().lt(value) } else { expression.clone().gt(value) };
                if self.is_nullable() && !self.nulls_first { after.or(expression.is_null()) } else { after }
            }
        }
    }

    /// The rows at a value or after it by this step alone, when they are one range.
    fn range(self, entity: &'static Entity, value: &Scalar) -> Option<Expr> {
        if matches!(self.by, OrderBy::RelatedCount(_)) || (self.is_nullable() && !self.nulls_first) {
            return None;
        }
        let expression = self.expression(entity);
        value.value().map(|value| if self.descending { expression.lte(value) } else { expression.gte(value) })
    }

    fn equal(self, entity: &'static Entity, value: &Scalar) -> Expr {
        match value.value() {
            None => self.expression(entity).is_null(),
            Some(value) => self.expression(entity).eq(value),
        }
    }
}

/// The number of rows that are related to a row of an entity.
pub fn related_count(entity: &'static Entity, relation: &'static Relation) -> Expr {
    let (links, link) = (Alias::new("links"), &**relation.link);
    let near = || Expr::col((links.clone(), link.near.clone()));
    Query::select()
        .expr(near().count())
        .from_as(link.table.clone(), links.clone())
        .and_where(near().equals(key(entity)))
        .take()
        .into()
}

/// The rows after a bound (keyset pagination).
pub fn after(entity: &'static Entity, order: &[Order], bound: &Bound) -> Expr {
    let values = &bound.position;
    let same_direction = order.iter().all(|step| !step.is_nullable() && step.descending == order[0].descending);
    if same_direction {
        // A comparison of rows, which an index over the same columns serves on both databases.
        let row = Expr::tuple(order.iter().map(|step| step.expression(entity)));
        let position = Expr::tuple(values.iter().filter_map(Scalar::value).map(Expr::val));
        return match (order[0].descending, bound.inclusive) {
            (false, false) => row.gt(position),
            (false, true) => row.gte(position),
            (true, false) => row.lt(position),
            (true, true) => row.lte(position),
        };
    }
    // a > x OR (a = x AND (b > y OR (b = y AND …)))
    let condition =
        order.iter().zip(values).rev().fold(Expr::Constant(bound.inclusive.into()), |further, (step, value)| {
            step.after(entity, value).or(step.equal(entity, value).and(further))
        });
    // What follows from it once more in front, as a range that an index serves.
    match order.first().zip(values.first()).and_then(|(step, value)| step.range(entity, value)) {
        Some(range) => range.and(condition),
        None => condition,
    }
}

/// Where a row is in an order.
#[must_use]
pub fn position(entity: &'static Entity, order: &[Order], row: &Row) -> Vec<Scalar> {
    let mut counts = 1 + entity.columns.len()..;
    let value = |step: &Order| match step.by {
        OrderBy::Column(column) => {
            let index = entity.all_columns().position(|other| other == column);
            index.map_or(Scalar::Null, |index| row.get(index))
        }
        // The numbers come after the columns, in the order of the steps.
        OrderBy::RelatedCount(_) => counts.next().map_or(Scalar::Null, |index| row.get(index)),
    };
    order.iter().map(value).collect()
}
