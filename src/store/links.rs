//! The links of relations.

use std::collections::BTreeSet;

use sea_orm::{
    ConnectionTrait, DynIden,
    sea_query::{Expr, ExprTrait, InsertStatement, OnConflict, Query, SelectStatement},
};

use super::{dialect, row::Scalar};
use crate::{db::StoreError, schema::Link};

/// Links pairs, each in the order of [`Link::columns`]. One that is linked already stays so.
///
/// # Errors
///
/// When a row does not exist, or the database does not answer.
pub async fn insert(db: &impl ConnectionTrait, link: &Link, pairs: &BTreeSet<[i64; 2]>) -> Result<(), StoreError> {
    if pairs.is_empty() {
        return Ok(());
    }
    let columns = link.columns();
    let mut insert = insertion(link, columns, records(db, link, pairs)?)?;
    insert.on_conflict(OnConflict::columns(columns.map(DynIden::clone)).do_nothing().to_owned());
    db.execute(&insert).await?;
    Ok(())
}

/// The statement that links the pairs which another one gives in the order of `columns`.
///
/// # Errors
///
/// When that one gives something else than pairs.
pub fn insertion(link: &Link, columns: [&DynIden; 2], pairs: SelectStatement) -> Result<InsertStatement, StoreError> {
    let mut insert = Query::insert();
    insert
        .into_table(link.table.clone())
        .columns(columns.map(DynIden::clone))
        .select_from(pairs)
        .map_err(dialect::statement_error)?;
    Ok(insert)
}

/// Unlinks pairs, each in the order of [`Link::columns`]. One that is not linked stays so.
///
/// # Errors
///
/// When the database does not answer.
pub async fn delete(db: &impl ConnectionTrait, link: &Link, pairs: &BTreeSet<[i64; 2]>) -> Result<(), StoreError> {
    if pairs.is_empty() {
        return Ok(());
    }
    let pair = Expr::tuple(link.columns().map(|column| Expr::col(column.clone())));
    let mut delete = Query::delete();
    delete.from_table(link.table.clone()).and_where(pair.in_subquery(records(db, link, pairs)?));
    db.execute(&delete).await?;
    Ok(())
}

/// Unlinks the rows with these keys, from which the relation starts, from all related rows.
///
/// # Errors
///
/// When the database does not answer.
pub async fn delete_all(db: &impl ConnectionTrait, link: &Link, keys: &[i64]) -> Result<(), StoreError> {
    if keys.is_empty() {
        return Ok(());
    }
    let is_near = dialect::is_in(db.get_database_backend(), Expr::col(link.near.clone()), keys);
    let mut delete = Query::delete();
    delete.from_table(link.table.clone()).and_where(is_near);
    db.execute(&delete).await?;
    Ok(())
}

fn records(db: &impl ConnectionTrait, link: &Link, pairs: &BTreeSet<[i64; 2]>) -> Result<SelectStatement, StoreError> {
    let pairs: Vec<_> = pairs.iter().map(|pair| pair.map(Scalar::Int)).collect();
    let columns = link.columns().map(DynIden::clone);
    let records = pairs.iter().map(|pair| &pair[..]);
    Ok(dialect::records(db.get_database_backend(), &link.table.to_string(), &columns, records)?)
}
