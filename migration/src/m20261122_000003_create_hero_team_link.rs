use sea_orm_migration::{prelude::*, schema::big_integer};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let foreign_key = |column: &'static str, table: &'static str| {
            ForeignKey::create()
                .name(format!("fk_hero_team_link_{column}"))
                .from("hero_team_link", column)
                .to(table, "id")
                .on_delete(ForeignKeyAction::Cascade)
                .take()
        };
        manager
            .create_table(
                Table::create()
                    .table("hero_team_link")
                    .col(big_integer("team_id"))
                    .col(big_integer("hero_id"))
                    .primary_key(Index::create().col("team_id").col("hero_id"))
                    .foreign_key(&mut foreign_key("team_id", "team"))
                    .foreign_key(&mut foreign_key("hero_id", "hero"))
                    .take(),
            )
            .await?;
        // The primary key serves the way from a team to its heroes, this index the way back. Both columns are in it,
        // so that neither way has to look at the table itself.
        manager
            .create_index(
                Index::create()
                    .name("ix_hero_team_link_hero_id_team_id")
                    .table("hero_team_link")
                    .col("hero_id")
                    .col("team_id")
                    .take(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("hero_team_link").take()).await
    }
}
