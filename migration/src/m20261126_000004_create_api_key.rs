use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, big_integer_null},
};

use crate::text::text;

/// Makes the table of the API keys. Times are seconds since 1970 (UTC).
#[derive(Debug, DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut api_key = Table::create().table("api_key").take();
        api_key.col(text(manager, "id").primary_key());
        for column in ["name", "secret_hash", "scopes"] {
            api_key.col(text(manager, column));
        }
        api_key.col(big_integer("created_at"));
        for column in ["expires_at", "revoked_at", "last_used_at"] {
            api_key.col(big_integer_null(column));
        }
        manager.create_table(api_key).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("api_key").take()).await
    }
}
