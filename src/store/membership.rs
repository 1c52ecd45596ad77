//! The links between heroes and teams.

use entity::hero_team_link::{Column, Entity};
use sea_orm::{
    ConnectionTrait,
    sea_query::{OnConflict, Query},
};
use serde::Serialize;

use super::{StoreError, rows};

/// A row of `hero_team_link`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Link {
    pub hero_id: i64,
    pub team_id: i64,
}

/// Links the pairs. One that is linked already stays as it is.
///
/// # Errors
///
/// When a row is not there, or the database does not answer.
pub async fn insert(db: &impl ConnectionTrait, links: &[Link]) -> Result<(), StoreError> {
    if links.is_empty() {
        return Ok(());
    }
    let columns = [Column::HeroId, Column::TeamId];
    let records = rows::records::<Entity>(db.get_database_backend(), links, &columns)?;
    let mut insert = Query::insert();
    insert
        .into_table(Entity)
        .columns(columns)
        .select_from(records)
        .map_err(rows::statement_error)?
        .on_conflict(OnConflict::columns(columns).do_nothing().to_owned());
    db.execute(&insert).await?;
    Ok(())
}
