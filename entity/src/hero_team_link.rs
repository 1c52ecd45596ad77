//! The membership of a hero in a team.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "hero_team_link")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub team_id: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub hero_id: i64,
    #[sea_orm(belongs_to, from = "team_id", to = "id", on_delete = "Cascade")]
    pub team: BelongsTo<super::team::Entity>,
    #[sea_orm(belongs_to, from = "hero_id", to = "id", on_delete = "Cascade")]
    pub hero: BelongsTo<super::hero::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}
