//! The tables of an API.

use entity::{api_key, event, import_batch};
use migration::{
    CreateApiKey, CreateEvent, CreateImportBatch, CreateSchemaCompat, MigrationName as _, MigratorTrait as _,
};
use sea_orm::EntityName as _;

use crate::{
    db::{Migrations, SCHEMA_COMPAT},
    schema::Api,
};

/// The migrations of an API, and the tables that they make: those of its entities, those of their links, and those of
/// the server's own.
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
    // A project with migrations of its own may leave them out.
    let migrations = A::Migrator::migrations();
    let has = |name: &str| migrations.iter().any(|migration| migration.name() == name);
    let mut own = Vec::new();
    if has(CreateApiKey.name()) {
        own.push(api_key::Entity.table_name().to_owned());
    }
    if has(CreateEvent.name()) {
        own.push(event::Entity.table_name().to_owned());
    }
    if has(CreateImportBatch.name()) {
        own.push(import_batch::Entity.table_name().to_owned());
    }
    if has(CreateSchemaCompat.name()) {
        own.push(SCHEMA_COMPAT.to_owned());
    }
    Migrations::new::<A::Migrator>(tables, own, A::additive_migrations())
}
