//! The tables of an API.

use entity::api_key;
use migration::{CreateApiKey, MigrationName as _, MigratorTrait as _};
use sea_orm::EntityName as _;

use crate::{db::Migrations, schema::Api};

/// The migrations of an API, and the tables that they make: those of its entities, those of their links, and the one of
/// the API keys.
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
    // A project with migrations of its own may leave it out.
    let has_api_keys = A::Migrator::migrations().iter().any(|migration| migration.name() == CreateApiKey.name());
    let own = if has_api_keys { vec![api_key::Entity.table_name().to_owned()] } else { Vec::new() };
    Migrations::new::<A::Migrator>(tables, own)
}
