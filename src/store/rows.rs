//! How rows leave and enter the database: the one place that knows what differs between the two of them.
//!
//! *Out.* SQLx copies each row of SQLite and sends it from a worker thread, 1.0 to 1.7 µs a row. The same rows as one
//! JSON value, built by SQLite and read by serde straight into the entity's `Model`, cost a third of that. PostgreSQL
//! is the other way round (`json_agg` takes several times the CPU of plain rows), so there rows stay rows.
//!
//! *In.* A list is always one parameter, so that a statement has one text, and thus one prepared plan, whatever the
//! length of the list, and no limit on bind parameters to run into.

use std::collections::HashMap;

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, EntityTrait, FromQueryResult, IdenStatic, Iterable,
    sea_query::{Expr, ExprTrait, Func, FunctionCall, IntoColumnRef, JoinType, Query, SelectStatement},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

/// An entity with a numeric key whose rows can be read from JSON.
pub trait Table: EntityTrait<Model: DeserializeOwned + Send + Sync> {
    /// The column of the key.
    const KEY: Self::Column;

    /// The key of a row.
    fn key(row: &Self::Model) -> i64;
}

const ROWS: &str = "rows";
const KEYS: &str = "keys";
const PARENT: &str = "parent";

/// The rows of a statement that selects the columns of `E`, in their order.
pub async fn all<E: Table>(db: &impl ConnectionTrait, select: SelectStatement) -> Result<Vec<E::Model>, DbErr> {
    if db.get_database_backend() == DbBackend::Sqlite {
        json_value(db, &json_rows::<E>(select)).await
    } else {
        db.query_all(&select).await?.iter().map(|row| E::Model::from_query_result(row, "")).collect()
    }
}

/// The rows of `page` for each of `parents`, in one statement. `page` selects the rows of the one parent that
/// [`parent_key`] stands for. A parent without rows may have no entry.
pub async fn per_parent<E: Table>(
    db: &impl ConnectionTrait,
    parents: &[i64],
    page: SelectStatement,
) -> Result<HashMap<i64, Vec<E::Model>>, DbErr> {
    let backend = db.get_database_backend();
    let mut statement = Query::select();
    statement.from_function(list(backend, parents), KEYS);
    if backend == DbBackend::Sqlite {
        // SQLite has no LATERAL, but a subquery that gives one value may be correlated. It ends at its limit, where a
        // window function would number all rows of the parent first: measured at half the time of that.
        let rows = Expr::from(json_rows::<E>(page));
        statement.expr(json_group_array(json_array([parent_key(backend), rows])));
        let pages: Vec<(i64, Vec<E::Model>)> = json_value(db, &statement).await?;
        Ok(pages.into_iter().collect())
    } else {
        statement
            .expr_as(parent_key(backend), PARENT)
            .columns(E::Column::iter().map(|column| (ROWS, column)))
            .join_lateral(JoinType::InnerJoin, page, ROWS, Expr::val(true));
        let mut pages = HashMap::<i64, Vec<E::Model>>::with_capacity(parents.len());
        for row in db.query_all(&statement).await? {
            let rows = pages.entry(row.try_get("", PARENT)?).or_default();
            rows.push(E::Model::from_query_result(&row, "")?);
        }
        Ok(pages)
    }
}

/// In the page that is given to [`per_parent`]: the key of the parent.
pub fn parent_key(backend: DbBackend) -> Expr {
    Expr::col((KEYS, list_column(backend)))
}

/// `column` is one of `values`.
pub fn is_in(backend: DbBackend, column: impl IntoColumnRef, values: &[i64]) -> Expr {
    let values = Query::select().column(list_column(backend)).from_function(list(backend, values), KEYS).take();
    Expr::col(column).in_subquery(values)
}

/// A statement that gives `records` as rows of the `columns` of `E`.
///
/// A record is written as a JSON object with the names of the columns as its keys.
pub fn records<E: EntityTrait>(
    backend: DbBackend,
    records: &[impl Serialize],
    columns: &[E::Column],
) -> Result<SelectStatement, DbErr> {
    let json = serde_json::to_string(records).map_err(|error| DbErr::Json(error.to_string()))?;
    let mut select = Query::select();
    if backend == DbBackend::Sqlite {
        for column in columns {
            let path = format!("$.{}", column.as_str());
            let value = Func::cust("json_extract").arg(Expr::col("value")).arg(Expr::Constant(path.into()));
            select.expr_as(value, *column);
        }
        // Without a condition SQLite takes the ON of a following ON CONFLICT for that of a join.
        select.from_function(Func::cust("json_each").arg(json), ROWS).and_where(Expr::Constant(true.into()));
    } else {
        let row_type = Expr::cust(format!(r#"NULL::"{}""#, E::default().as_str()));
        let records = Func::cust("json_populate_recordset").arg(row_type).arg(Expr::val(json).cast_as("json"));
        select.columns(columns.iter().copied()).from_function(records, ROWS);
    }
    Ok(select)
}

/// A statement that could not be put together.
pub fn statement_error(error: sea_orm::sea_query::error::Error) -> DbErr {
    DbErr::Custom(error.to_string())
}

/// A list of keys as a table of one column: a JSON array for SQLite, an array for PostgreSQL.
fn list(backend: DbBackend, keys: &[i64]) -> FunctionCall {
    if backend == DbBackend::Sqlite {
        Func::cust("json_each").arg(json!(keys).to_string())
    } else {
        Func::cust("unnest").arg(Expr::val(keys.to_vec()))
    }
}

fn list_column(backend: DbBackend) -> &'static str {
    // PostgreSQL calls the column of a function as the function is called in FROM.
    if backend == DbBackend::Sqlite { "value" } else { KEYS }
}

/// All rows of a statement as one JSON array of arrays.
///
/// Nested in another one it stays JSON, because SQLite marks the value as such and does not quote it again.
fn json_rows<E: EntityTrait>(select: SelectStatement) -> SelectStatement {
    let row = json_array(E::Column::iter().map(|column| Expr::col((ROWS, column))));
    Query::select().expr(json_group_array(row)).from_subquery(select, ROWS).take()
}

fn json_array(items: impl IntoIterator<Item = Expr>) -> FunctionCall {
    Func::cust("json_array").args(items)
}

fn json_group_array(item: FunctionCall) -> FunctionCall {
    Func::cust("json_group_array").arg(item)
}

/// The one value of a statement, read as JSON.
async fn json_value<T: DeserializeOwned>(db: &impl ConnectionTrait, select: &SelectStatement) -> Result<T, DbErr> {
    let row = db.query_one(select).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound("an aggregate gives one row".to_owned()))?;
    let json: String = row.try_get_by_index(0)?;
    serde_json::from_str(&json).map_err(|error| DbErr::Json(error.to_string()))
}
