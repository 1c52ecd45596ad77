use sea_orm_migration::{
    prelude::*,
    schema::{big_pk_auto, integer_null, text},
};

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
                    .col(text("name"))
                    .col(text("secret_name"))
                    .col(integer_null("age"))
                    .take(),
            )
            .await?;
        for column in ["name", "age"] {
            manager
                .create_index(Index::create().name(format!("ix_hero_{column}")).table("hero").col(column).take())
                .await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("hero").take()).await
    }
}
