//! The links of relations.

use std::collections::BTreeSet;

use sea_orm::{
    ConnectionTrait, DbErr, DynIden, QueryResult, StatementBuilder,
    sea_query::{Expr, ExprTrait, InsertStatement, OnConflict, Query, ReturningClause, SelectStatement},
};

use super::{dialect, row::Scalar};
use crate::{db::StoreError, schema::Link};

/// Pairs of a link table, each in the order of [`Link::columns`].
pub type Pairs = BTreeSet<[i64; 2]>;

/// Links pairs. One that is linked already stays so. Gives those that were not, if that is wanted.
///
/// # Errors
///
/// When a row does not exist, or the database does not answer.
pub async fn insert(
    db: &impl ConnectionTrait,
    link: &Link,
    pairs: &Pairs,
    are_wanted: bool,
) -> Result<Pairs, StoreError> {
    if pairs.is_empty() {
        return Ok(Pairs::new());
    }
    let columns = link.columns();
    let mut insert = insertion(link, columns, records(db, link, pairs)?)?;
    insert.on_conflict(OnConflict::columns(columns.map(DynIden::clone)).do_nothing().to_owned());
    if are_wanted {
        return returned(db, link, insert.returning(returning(link))).await;
    }
    db.execute(&insert).await?;
    Ok(Pairs::new())
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

/// Unlinks pairs. One that is not linked stays so. Gives those that were linked, if that is wanted.
///
/// # Errors
///
/// When the database does not answer.
pub async fn delete(
    db: &impl ConnectionTrait,
    link: &Link,
    pairs: &Pairs,
    are_wanted: bool,
) -> Result<Pairs, StoreError> {
    if pairs.is_empty() {
        return Ok(Pairs::new());
    }
    let pair = Expr::tuple(link.columns().map(|column| Expr::col(column.clone())));
    let mut delete = Query::delete();
    delete.from_table(link.table.clone()).and_where(pair.in_subquery(records(db, link, pairs)?));
    if are_wanted {
        return returned(db, link, delete.returning(returning(link))).await;
    }
    db.execute(&delete).await?;
    Ok(Pairs::new())
}

/// Unlinks the rows with these keys, from which the relation starts, from all related rows. Gives the pairs that were
/// linked, if that is wanted.
///
/// # Errors
///
/// When the database does not answer.
pub async fn delete_all(
    db: &impl ConnectionTrait,
    link: &Link,
    keys: &[i64],
    are_wanted: bool,
) -> Result<Pairs, StoreError> {
    if keys.is_empty() {
        return Ok(Pairs::new());
    }
    let is_near = dialect::is_in(db.get_database_backend(), Expr::col(link.near.clone()), keys);
    let mut delete = Query::delete();
    delete.from_table(link.table.clone()).and_where(is_near);
    if are_wanted {
        return returned(db, link, delete.returning(returning(link))).await;
    }
    db.execute(&delete).await?;
    Ok(Pairs::new())
}

/// What a statement gives of each pair, in the order of [`Link::columns`].
pub fn returning(link: &Link) -> ReturningClause {
    Query::returning().columns(link.columns().map(DynIden::clone))
}

async fn returned(
    db: &impl ConnectionTrait,
    link: &Link,
    statement: &impl StatementBuilder,
) -> Result<Pairs, StoreError> {
    let rows = db.query_all(statement).await?;
    let [first, second] = link.columns().map(ToString::to_string);
    let pair = |row: &QueryResult| Ok::<_, DbErr>([row.try_get("", &first)?, row.try_get("", &second)?]);
    Ok(rows.iter().map(pair).collect::<Result<_, _>>()?)
}

fn records(db: &impl ConnectionTrait, link: &Link, pairs: &Pairs) -> Result<SelectStatement, StoreError> {
    let pairs: Vec<_> = pairs.iter().map(|pair| pair.map(Scalar::Int)).collect();
    let columns = link.columns().map(DynIden::clone);
    let records = pairs.iter().map(|pair| &pair[..]);
    Ok(dialect::records(db.get_database_backend(), &link.table.to_string(), &columns, records)?)
}
