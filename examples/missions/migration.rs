//! The tables: those of heroes and teams, and three more. In a copy of this project that has them already, they stay.

use migration::{
    MigratorTrait, async_trait,
    prelude::*,
    schema::{big_integer, big_pk_auto, integer_null},
    text,
};

#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut migrations = migration::Migrator::migrations();
        migrations.push(Box::new(CreateMissions));
        migrations
    }
}

struct CreateMissions;

impl MigrationName for CreateMissions {
    fn name(&self) -> &'static str {
        "m20261126_000001_create_missions"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateMissions {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut mission = Table::create().table("mission").if_not_exists().col(big_pk_auto("id")).take();
        mission.col(text(manager, "title")).col(integer_null("year"));
        manager.create_table(mission).await?;
        for column in ["title", "year"] {
            let name = format!("ix_mission_{column}");
            let index = Index::create().name(name).if_not_exists().table("mission").col(column).col("id").take();
            manager.create_index(index).await?;
        }
        create_link(manager, "hero_mission_link", [("hero_id", "hero"), ("mission_id", "mission")]).await?;
        create_link(manager, "mentorship", [("mentor_id", "hero"), ("pupil_id", "hero")]).await
    }
}

/// A link table with an index for each direction.
async fn create_link(
    manager: &SchemaManager<'_>,
    table: &'static str,
    [(one, one_table), (other, other_table)]: [(&'static str, &'static str); 2],
) -> Result<(), DbErr> {
    let key =
        |column, to| ForeignKey::create().from(table, column).to(to, "id").on_delete(ForeignKeyAction::Cascade).take();
    let mut link = Table::create().table(table).if_not_exists().col(big_integer(one)).col(big_integer(other)).take();
    link.primary_key(Index::create().col(one).col(other));
    link.foreign_key(&mut key(one, one_table)).foreign_key(&mut key(other, other_table));
    manager.create_table(link).await?;
    let name = format!("ix_{table}_{other}");
    let back = Index::create().name(name).if_not_exists().table(table).col(other).col(one).take();
    manager.create_index(back).await
}
