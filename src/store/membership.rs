//! Memberships, seen from either side.

use entity::hero_team_link::{Column, Entity};
use sea_orm::{
    ConnectionTrait, Linked, RelationDef,
    sea_query::{OnConflict, Query},
};
use serde::Serialize;

use super::{StoreError, Table, rows};

/// The way from one side of the memberships to the other. What is written for it serves both sides.
pub trait Membership: Linked<FromEntity: Table, ToEntity: Table> + Copy + Send + Sync {
    /// The column of the link that names the row on this side.
    const FROM: Column;
    /// The column of the link that names the row on the other side.
    const TO: Column;

    /// The link between a row on this side and one on the other.
    fn pair(from: i64, to: i64) -> Link;

    /// The last step of the way: from the links to the rows on the other side.
    fn last_step() -> RelationDef;
}

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
