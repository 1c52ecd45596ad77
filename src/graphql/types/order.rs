//! The orders of lists.

use super::{
    arguments::Input,
    item::{Types, item, value},
};
use crate::{
    graphql::error::ApiError,
    schema::{Entity, words},
    store::{Order, OrderBy},
};

pub fn register(types: &mut Types, entities: &[&'static Entity]) {
    for entity in entities {
        register_entity(types, entity);
    }
    let directions =
        vec![value("ASC", "From the least to the greatest."), value("DESC", "From the greatest to the least.")];
    types.enumeration("OrderDirection", "The direction of an order.", directions);
    let places = vec![value("FIRST", "Before all others."), value("LAST", "After all others.")];
    types.enumeration("NullsOrder", "The position of objects whose value is null.", places);
}

fn register_entity(types: &mut Types, entity: &Entity) {
    let (name, many) = (entity.name, entity.nouns());
    let order = format!("{name}Order");
    let field = format!("{order}Field");
    let mut fields = vec![
        item("field", format!("{field}!"), format!("The field to order the {many} by.")),
        item("direction", "OrderDirection!", "The direction.").or("ASC"),
    ];
    if entity.columns.iter().any(|column| column.is_nullable) {
        let about = format!(
            "The position of {many} whose value is null. If absent or null: last in ascending order, first in \
             descending order."
        );
        fields.push(item("nulls", "NullsOrder", about));
    }
    types.input(&order, format!("One step of an order of {many}."), fields);

    let id = value(symbol(entity.key.field), "The number in the id.");
    let columns =
        entity.columns.iter().map(|column| value(symbol(column.field), column.about).requires(column.requires));
    let counts = entity
        .relations
        .iter()
        .map(|relation| value(symbol(relation.count), format!("The number of {}.", relation.about)));
    let about =
        format!("The fields that {many} can be ordered by. Text is ordered by the code points of its characters.");
    types.enumeration(&field, about, std::iter::once(id).chain(columns).chain(counts).collect());
}

/// The enum value for a field: `SECRET_NAME` for `secretName`.
pub fn symbol(field: &str) -> String {
    let mut symbol = words(field, '_');
    symbol.make_ascii_uppercase();
    symbol
}

/// The order of a list of an entity, from an argument. It ends with the key, so that no two rows are equal.
///
/// # Errors
///
/// `BAD_USER_INPUT` when there are too many steps, or something is null.
pub fn order(entity: &'static Entity, argument: Input<'_>) -> Result<Vec<Order>, ApiError> {
    let path = argument.path();
    let mut order: Vec<Order> = Vec::new();
    for (index, entry) in argument.bounded_list()?.iter().enumerate() {
        let step = step(entity, Input::new(entry, path.entry(index)))?;
        // A step that repeats one before it changes nothing, and none after the key does.
        if order.iter().all(|earlier| earlier.by != step.by) && !order.last().is_some_and(|last| is_key(entity, last)) {
            order.push(step);
        }
    }
    if !order.last().is_some_and(|last| is_key(entity, last)) {
        // The last step goes the way of the others, so that one index can serve them all.
        let descending = order.last().is_some_and(|step| step.descending);
        order.push(Order::by_key(entity, descending));
    }
    Ok(order)
}

fn is_key(entity: &'static Entity, step: &Order) -> bool {
    step.by == OrderBy::Column(&entity.key)
}

fn step(entity: &'static Entity, input: Input<'_>) -> Result<Order, ApiError> {
    let (fields, path) = (input.object()?, input.path());
    let by = fields.get("field", &path);
    let name = by.symbol()?;
    let column = entity.all_columns().find(|column| symbol(column.field) == name).map(OrderBy::Column);
    let count = || entity.relations.iter().find(|relation| symbol(relation.count) == name).map(OrderBy::RelatedCount);
    // Validation has refused all other names.
    let by = column.or_else(count).ok_or_else(|| by.path().bad_input("is not known"))?;

    let direction = fields.get("direction", &path).not_null()?;
    let descending = direction.map_or(Ok("ASC"), |direction| direction.symbol())? == "DESC";
    let nulls = fields.get("nulls", &path).present().map(|nulls| nulls.symbol()).transpose()?;
    // Where nothing is null it makes no difference, and must make none between cursors.
    let is_nullable = matches!(by, OrderBy::Column(column) if column.is_nullable);
    let nulls_first = is_nullable && nulls.map_or(descending, |nulls| nulls == "FIRST");
    Ok(Order { by, descending, nulls_first })
}
