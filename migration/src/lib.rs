//! How the tables came to be: SeaORM migrations, in order.
//!
//! Migrations are the only thing that makes tables, in tests as well. They name tables and columns by text and import
//! no entity, so that a change of an entity never changes what an old migration does.

use sea_orm_migration::prelude::*;

mod m20261122_000001_create_hero;
mod m20261122_000002_create_team;
mod m20261122_000003_create_hero_team_link;
mod m20261126_000004_create_api_key;
mod m20261126_000005_create_event;
mod m20261126_000006_create_schema_compat;
mod m20261127_000007_create_import_batch;
mod text;

/// The ordered list of migrations.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261122_000001_create_hero::Migration),
            Box::new(m20261122_000002_create_team::Migration),
            Box::new(m20261122_000003_create_hero_team_link::Migration),
            Box::new(m20261126_000004_create_api_key::Migration),
            Box::new(m20261126_000005_create_event::Migration),
            Box::new(m20261126_000006_create_schema_compat::Migration),
            Box::new(m20261127_000007_create_import_batch::Migration),
        ]
    }
}

/// The migrations that only add what older programs can do without, so that these go on beside newer ones: tables,
/// indexes, and columns that may be null or have a default.
pub const ADDITIVE: &[&str] = &["m20261127_000007_create_import_batch"];

pub use self::{
    m20261126_000004_create_api_key::Migration as CreateApiKey,
    m20261126_000005_create_event::Migration as CreateEvent,
    m20261126_000006_create_schema_compat::Migration as CreateSchemaCompat,
    m20261127_000007_create_import_batch::Migration as CreateImportBatch, text::text,
};
/// What further migrations are written with.
pub use sea_orm_migration::{MigrationName, MigratorTrait, async_trait, prelude, schema};
