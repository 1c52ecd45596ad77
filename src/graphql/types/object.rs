//! The object types of entities.

use super::item::{Item, Types, item};
use crate::schema::{Column, Entity, Kind, Relation};

pub fn register(types: &mut Types, entities: &[&'static Entity]) {
    for entity in entities {
        let name = entity.name;
        let id = format!("The global id, such as `{name}:1`. It never changes and is never used again after a delete.");
        let columns = entity
            .columns
            .iter()
            .map(|column| item(column.field, output_type(column), column.about).requires(column.requires));
        let relations = entity.relations.iter().flat_map(|relation| related(entity, relation));
        let fields = std::iter::once(item("id", "ID!", id)).chain(columns).chain(relations);
        types.object(name, entity.about, fields.collect());
    }
}

fn output_type(column: &Column) -> String {
    let nullability = if column.is_nullable { "" } else { "!" };
    format!("{}{nullability}", scalar(column.kind))
}

/// The scalar type of a column.
pub fn scalar(kind: Kind) -> &'static str {
    match kind {
        Kind::Key => "ID",
        Kind::Text { .. } => "String",
        Kind::Int { .. } => "Int",
    }
}

fn related(entity: &Entity, relation: &Relation) -> [Item; 3] {
    let Relation { field, count, about, to, .. } = relation;
    let many = entity.nouns();
    [
        item(
            *field,
            format!("[{}!]!", to.name),
            format!(
                "The {about}, ordered by id unless `orderBy` says otherwise. Empty if there are none. One SQL \
                 statement loads them for all {many} of the query."
            ),
        )
        .with(list_arguments(to)),
        item(
            format!("{field}Connection"),
            format!("{}Connection!", to.name),
            format!(
                "A page of the {about} (Relay Cursor Connections Specification). One SQL statement loads it for all \
                 {many} of the query. `totalCount`, and `pageInfo` with a cursor, take one more each if they are \
                 selected."
            ),
        )
        .with(connection_arguments(to)),
        item(
            *count,
            "Int!",
            format!("The number of {about}. One SQL statement counts them for all {many} of the query."),
        )
        .with(vec![where_argument(to, "Counts")]),
    ]
}

fn where_argument(entity: &Entity, verb: &str) -> Item {
    let about = format!("{verb} only the {} that match this filter. All if absent or null.", entity.nouns());
    item("where", format!("{}Filter", entity.name), about)
}

fn order_argument(entity: &Entity) -> Item {
    let about = format!(
        "The order of the {}. Equal ones are ordered by id, in the direction of the last step. By ascending id if \
         absent, null or empty.",
        entity.nouns()
    );
    item("orderBy", format!("[{}Order!]", entity.name), about)
}

/// The arguments of a plain list.
pub fn list_arguments(entity: &Entity) -> Vec<Item> {
    let many = entity.nouns();
    vec![
        where_argument(entity, "Returns"),
        order_argument(entity),
        item(
            "limit",
            "Int",
            format!(
                "The maximum number of {many} to return, from 0 to 1,000. A larger number is refused with \
                 `BAD_USER_INPUT`."
            ),
        )
        .or("100"),
        item("offset", "Int", format!("The number of {many} to skip, 0 or more.")).or("0"),
    ]
}

/// The arguments of a connection.
pub fn connection_arguments(entity: &Entity) -> Vec<Item> {
    let many = entity.nouns();
    let cursor = "The cursor comes from another page of the same list in the same order.";
    vec![
        where_argument(entity, "Returns"),
        order_argument(entity),
        item(
            "first",
            "Int",
            format!(
                "The maximum number of {many} to return from the start of the list, from 0 to 1,000. 100 if neither \
                 `first` nor `last` is given."
            ),
        ),
        item("after", "String", format!("Returns only {many} after this cursor. {cursor}")),
        item(
            "last",
            "Int",
            format!(
                "The maximum number of {many} to return from the end of the list, from 0 to 1,000. Excludes `first`."
            ),
        ),
        item("before", "String", format!("Returns only {many} before this cursor. {cursor}")),
    ]
}
