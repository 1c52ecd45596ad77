//! The orders of lists.

use async_graphql::Enum;

use crate::store::{Order, OrderBy, Table};

/// Which end of an order comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Enum)]
pub enum OrderDirection {
    /// From the least to the greatest.
    #[default]
    Asc,
    /// From the greatest to the least.
    Desc,
}

/// Where objects come that have no value to order by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum NullsOrder {
    /// Before all others.
    First,
    /// Behind all others.
    Last,
}

/// One step of an order.
pub fn step(by: OrderBy, direction: OrderDirection, nulls: Option<NullsOrder>) -> Order {
    let descending = direction == OrderDirection::Desc;
    // Where nothing is null it makes no difference, and must make none between cursors.
    let is_nullable = matches!(by, OrderBy::Column(column) if column.is_nullable);
    let nulls_first = is_nullable && nulls.map_or(descending, |nulls| nulls == NullsOrder::First);
    Order { by, descending, nulls_first }
}

/// An order as the store takes it: it ends with the key, so that no two rows are equal.
pub fn order<E: Table>(steps: impl IntoIterator<Item = Order>) -> Vec<Order> {
    let by_key = Order::by_key::<E>(false);
    let mut order: Vec<Order> = Vec::new();
    for step in steps {
        // A step that repeats one before it changes nothing, and none behind the key does.
        if order.iter().all(|earlier| earlier.by != step.by) {
            order.push(step);
        }
        if step.by == by_key.by {
            return order;
        }
    }
    // The last step goes the way of the others, so that one index can serve them all.
    let descending = order.last().is_some_and(|step| step.descending);
    order.push(Order::by_key::<E>(descending));
    order
}
