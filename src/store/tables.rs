//! The tables of an API.

use entity::{api_key, event, import_batch};
use migration::{
    CreateApiKey, CreateEvent, CreateImportBatch, CreateSchemaCompat, MigrationName as _, MigratorTrait as _,
};
use sea_orm::EntityName as _;

use crate::{
    db::{Migrations, SCHEMA_COMPAT},
    schema::{Api, links},
};

/// The migrations of an API, and the tables that they make: those of its entities, those of their links, and those of
/// the server's own.
#[must_use]
pub fn migrations<A: Api>() -> Migrations {
    let entities = A::entities();
    let mut tables: Vec<_> = entities.iter().map(|entity| entity.table().to_owned()).collect();
    tables.extend(links(entities).map(|(_, relation)| relation.link.table.to_string()));
    // A project with migrations of its own may leave them out.
    let migrations = A::Migrator::migrations();
    let has = |name: &str| migrations.iter().any(|migration| migration.name() == name);
    let mut own = Vec::new();
    if has(CreateApiKey.name()) {
        own.push(api_key::Entity.table_name().to_owned());
    }
    let has_events = has(CreateEvent.name());
    if has_events {
        own.push(event::Entity.table_name().to_owned());
    }
    if has(CreateImportBatch.name()) {
        own.push(import_batch::Entity.table_name().to_owned());
    }
    if has(CreateSchemaCompat.name()) {
        own.push(SCHEMA_COMPAT.to_owned());
    }
    let migrations = Migrations::new::<A::Migrator>(tables, own, A::additive_migrations());
    if has_events { migrations.with_events() } else { migrations }
}
