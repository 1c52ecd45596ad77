use sea_orm_migration::prelude::*;

use crate::text::text;

/// Makes the table that says which programs can work with the tables. Its one row has the name of the migration that a
/// program must know at least.
#[derive(Debug, DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create().table("schema_compat").col(text(manager, "min_program").primary_key()).take();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("schema_compat").take()).await
    }
}
