use sea_orm_migration::{prelude::*, schema::big_pk_auto};

use crate::text::text;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("team")
                    .col(big_pk_auto("id"))
                    .col(text(manager, "name"))
                    .col(text(manager, "headquarters"))
                    .take(),
            )
            .await?;
        // The key comes after the column, because every order ends with it.
        for column in ["name", "headquarters"] {
            manager
                .create_index(
                    Index::create().name(format!("ix_team_{column}")).table("team").col(column).col("id").take(),
                )
                .await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("team").take()).await
    }
}
