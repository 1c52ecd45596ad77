//! The root types, and the interface of all objects.

use super::{
    input,
    item::{Item, Types, item},
    object::{connection_arguments, list_arguments},
};
use crate::schema::Entity;

/// The interface of all objects with a global id.
pub const NODE: &str = "Node";

const QUERY: &str = "The query root of the API.

A field that fails is null if its type allows null. Otherwise the closest field above it whose type allows null is \
null.";

const MUTATION: &str = "The mutation root of the API.

Each field is one transaction: all of it is written, or nothing. The fields of a request run one after another. A \
field that fails is null, and its errors say why; it does not undo or hide the others. Any field can fail with \
`CONFLICT`, when other requests changed the same data at the same time (nothing was written, and the request can be \
repeated), or with `UNAVAILABLE`, when the database cannot be reached or written.";

pub fn register(types: &mut Types, entities: &[&'static Entity]) {
    let mut queries: Vec<Item> = entities.iter().flat_map(|entity| queries(entity)).collect();
    queries.push(
        item(
            "node",
            NODE,
            "Returns the object with this global id, or null if it does not exist. An id that is not global is \
             refused with `BAD_USER_INPUT`.",
        )
        .with(vec![item("id", "ID!", format!("The global id, such as `{}:1`.", first_name(entities)))]),
    );
    queries.push(
        item(
            "nodes",
            "[Node]!",
            "Returns the objects with these global ids, in the same order, with null for each object that does not \
             exist. An id that is not global is refused with `BAD_USER_INPUT`, and its entry is null. One SQL \
             statement loads all objects of a type.",
        )
        .with(vec![item(
            "ids",
            "[ID!]!",
            format!("The global ids, such as `{}:1`. At most 1,000.", first_name(entities)),
        )]),
    );
    types.object("Query", QUERY, queries);
    types.object("Mutation", MUTATION, entities.iter().flat_map(|entity| input::mutations(entity)).collect());
    types.interface(
        NODE,
        "An object with a global id (Relay Global Object Identification Specification).",
        vec![item("id", "ID!", "The global id. It never changes and is never used again after a delete.")],
        entities.iter().map(|entity| entity.name).collect(),
    );
}

fn first_name(entities: &[&'static Entity]) -> &'static str {
    entities.first().map_or("Node", |entity| entity.name)
}

fn queries(entity: &Entity) -> [Item; 3] {
    let (name, one, many) = (entity.name, entity.noun(), entity.nouns());
    [
        item(
            entity.one,
            name,
            format!(
                "Returns the {one} with this id, or null if it does not exist. An id of another type is refused with \
                 `BAD_USER_INPUT`."
            ),
        )
        .with(vec![item(
            "id",
            "ID!",
            format!("The id of the {one}: global, such as `{name}:1`, or the bare number."),
        )]),
        item(
            entity.many,
            format!("[{name}!]!"),
            format!(
                "Returns the {many} that match the filter, ordered by id unless `orderBy` says otherwise. Empty if \
                 there are none."
            ),
        )
        .with(list_arguments(entity)),
        item(
            format!("{}Connection", entity.many),
            format!("{name}Connection!"),
            format!("Returns a page of the {many} that match the filter (Relay Cursor Connections Specification)."),
        )
        .with(connection_arguments(entity)),
    ]
}
