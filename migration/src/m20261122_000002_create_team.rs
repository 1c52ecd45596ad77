use sea_orm_migration::{
    prelude::*,
    schema::{big_pk_auto, text},
};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create().table("team").col(big_pk_auto("id")).col(text("name")).col(text("headquarters")).take(),
            )
            .await?;
        manager.create_index(Index::create().name("ix_team_name").table("team").col("name").take()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("team").take()).await
    }
}
