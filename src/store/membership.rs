//! The links between heroes and teams.

use entity::hero_team_link::{Column, Entity};
use sea_orm::{
    ConnectionTrait,
    sea_query::{Expr, ExprTrait, InsertStatement, OnConflict, Query, SelectStatement},
};
use serde::Serialize;

use super::{StoreError, Table, rows};

const COLUMNS: [Column; 2] = [Column::HeroId, Column::TeamId];

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
    let mut insert = insertion(COLUMNS, records(db, links)?)?;
    insert.on_conflict(OnConflict::columns(COLUMNS).do_nothing().to_owned());
    db.execute(&insert).await?;
    Ok(())
}

/// The statement that links the pairs which another one gives in the order of `columns`.
///
/// # Errors
///
/// When that one gives something else than pairs.
pub fn insertion(columns: [Column; 2], pairs: SelectStatement) -> Result<InsertStatement, StoreError> {
    let mut insert = Query::insert();
    insert.into_table(Entity).columns(columns).select_from(pairs).map_err(rows::statement_error)?;
    Ok(insert)
}

/// Unlinks the pairs. One that is not linked stays so.
///
/// # Errors
///
/// When the database does not answer.
pub async fn delete(db: &impl ConnectionTrait, links: &[Link]) -> Result<(), StoreError> {
    if links.is_empty() {
        return Ok(());
    }
    let mut delete = Query::delete();
    delete.from_table(Entity).and_where(pair().in_subquery(records(db, links)?));
    db.execute(&delete).await?;
    Ok(())
}

/// Unlinks the rows of `E` with these keys from all rows on the other side.
///
/// # Errors
///
/// When the database does not answer.
pub async fn delete_all<E: Table>(db: &impl ConnectionTrait, keys: &[i64]) -> Result<(), StoreError> {
    if keys.is_empty() {
        return Ok(());
    }
    let mut delete = Query::delete();
    delete.from_table(Entity).and_where(rows::is_in(db.get_database_backend(), Expr::col(E::LINK), keys));
    db.execute(&delete).await?;
    Ok(())
}

fn pair() -> Expr {
    Expr::tuple(COLUMNS.map(Expr::col))
}

fn records(db: &impl ConnectionTrait, links: &[Link]) -> Result<SelectStatement, StoreError> {
    Ok(rows::records::<Entity>(db.get_database_backend(), links, &COLUMNS)?)
}
