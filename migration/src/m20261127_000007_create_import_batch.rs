use sea_orm_migration::{prelude::*, schema::big_integer};

use crate::text::text;

/// Makes the table that says how far the import of a file has come: a row for each batch that was written.
#[derive(Debug, DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut import_batch = Table::create().table("import_batch").take();
        import_batch.col(text(manager, "file")).col(big_integer("records")).col(text(manager, "keys"));
        import_batch.primary_key(Index::create().col("file").col("records"));
        manager.create_table(import_batch).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("import_batch").take()).await
    }
}
