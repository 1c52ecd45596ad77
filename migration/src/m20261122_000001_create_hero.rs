use sea_orm_migration::{
    prelude::*,
    schema::{big_pk_auto, integer_null},
};

use crate::text::text;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("hero")
                    .col(big_pk_auto("id"))
                    .col(text(manager, "name"))
                    .col(text(manager, "secret_name"))
                    .col(integer_null("age"))
                    .take(),
            )
            .await?;
        // The key comes after the column, because every order ends with it.
        for column in ["name", "secret_name", "age"] {
            manager
                .create_index(
                    Index::create().name(format!("ix_hero_{column}")).table("hero").col(column).col("id").take(),
                )
                .await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("hero").take()).await
    }
}
