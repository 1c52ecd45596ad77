//! The types of connections (Relay Cursor Connections Specification).

use super::item::{Types, item};
use crate::schema::Entity;

pub fn register(types: &mut Types, entities: &[&'static Entity]) {
    for entity in entities {
        let (name, one, many) = (entity.name, entity.noun(), entity.nouns());
        types.object(
            format!("{name}Connection"),
            format!("A page of a list of {many}."),
            vec![
                item(
                    "edges",
                    format!("[{name}Edge!]!"),
                    format!("The {many} of the page with their cursors, in the order of the list, also with `last`."),
                ),
                item("nodes", format!("[{name}!]!"), format!("The {many} of the page without cursors.")),
                item("pageInfo", "PageInfo!", "The position of the page in its list."),
                item(
                    "totalCount",
                    "Int!",
                    format!(
                        "The number of {many} in the whole list. Counted only if it is selected. An estimate where \
                         `totalCountIsExact` is false."
                    ),
                ),
                item(
                    "totalCountIsExact",
                    "Boolean!",
                    "Whether `totalCount` was counted. On PostgreSQL it is estimated if there are more than the server \
                     counts, a million by default.",
                ),
            ],
        );
        types.object(
            format!("{name}Edge"),
            format!("One entry of a `{name}Connection`."),
            vec![
                item("cursor", "String!", "The position in the list, for `after` and `before`. An opaque value."),
                item("node", format!("{name}!"), format!("The {one}.")),
            ],
        );
    }
    types.object(
        "PageInfo",
        "The position of a page in its list.",
        vec![
            item(
                "hasNextPage",
                "Boolean!",
                "Whether the list has objects after this page. With `first`, only objects before the cursor `before` \
                 count.",
            ),
            item(
                "hasPreviousPage",
                "Boolean!",
                "Whether the list has objects before this page. With `last`, only objects after the cursor `after` \
                 count.",
            ),
            item("startCursor", "String", "The cursor of the first object of the page. Null if the page is empty."),
            item("endCursor", "String", "The cursor of the last object of the page. Null if the page is empty."),
        ],
    );
}
