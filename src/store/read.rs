//! Rows by key, lists of rows, and pages of linked rows.

use std::collections::HashMap;

use entity::hero_team_link;
use sea_orm::{
    EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
    sea_query::{Expr, ExprTrait},
};

use super::{Db, Membership, Page, StoreError, Table, rows};

/// The rows with these keys, in no order. A key without a row is left out.
///
/// # Errors
///
/// When the database does not answer.
pub async fn by_keys<E: Table>(db: &Db, keys: &[i64]) -> Result<Vec<E::Model>, StoreError> {
    let backend = db.read.get_database_backend();
    let select = E::find().filter(rows::is_in(backend, E::KEY, keys));
    Ok(rows::all::<E>(&db.read, select.into_query()).await?)
}

/// A page of all rows, in the order of their keys.
///
/// # Errors
///
/// When the database does not answer.
pub async fn page<E: Table>(db: &Db, page: Page) -> Result<Vec<E::Model>, StoreError> {
    let select = E::find().order_by_asc(E::KEY).limit(page.limit).offset(page.offset);
    Ok(rows::all::<E>(&db.read, select.into_query()).await?)
}

/// A page of the rows that are linked to each of `parents`, in the order of their keys.
///
/// It is one statement however many parents there are, and the page is cut in the database. A parent without linked rows
/// may have no entry.
///
/// # Errors
///
/// When the database does not answer.
pub async fn linked_page<M: Membership>(
    db: &Db,
    _: M,
    parents: &[i64],
    page: Page,
) -> Result<HashMap<i64, Vec<<M::ToEntity as EntityTrait>::Model>>, StoreError> {
    let parent = rows::parent_key(db.read.get_database_backend());
    let select = M::ToEntity::find()
        .join(JoinType::InnerJoin, M::last_step().rev())
        .filter(Expr::col((hero_team_link::Entity, M::FROM)).eq(parent))
        .order_by_asc(Expr::col((hero_team_link::Entity, M::TO)))
        .limit(page.limit)
        .offset(page.offset);
    Ok(rows::per_parent::<M::ToEntity>(&db.read, parents, select.into_query()).await?)
}
