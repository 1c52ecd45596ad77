//! The tables of an API.

use crate::{db::Migrations, schema::Api};

/// The migrations of an API, and the tables that they make: those of its entities, and those of their links.
#[must_use]
pub fn migrations<A: Api>() -> Migrations {
    let mut tables = Vec::new();
    for entity in A::entities() {
        let links = entity.relations.iter().map(|relation| relation.link.table.to_string());
        for table in std::iter::once(entity.table().to_owned()).chain(links) {
            if !tables.contains(&table) {
                tables.push(table);
            }
        }
    }
    Migrations::new::<A::Migrator>(tables)
}
