//! How rows leave and enter the database, on SQLite and on PostgreSQL. `docs/architecture.md` says where else the two
//! differ.
//!
//! *Out.* The rows of SQLite come as one JSON value, which SQLite builds and most of which goes into the JSON of the
//! answer as it is (`row.rs`). On PostgreSQL `json_agg` takes several times the CPU of plain rows, so there rows stay
//! rows.
//!
//! *In.* A list is one parameter, so that a statement has one text, and thus one prepared plan, whatever the length of
//! the list, and meets no limit on bind parameters.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use quick_cache::sync::Cache;
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, DynIden, QueryResult, Statement, StatementBuilder, Value,
    sea_query::{
        Asterisk, Expr, ExprTrait, Func, FunctionCall, IntoIden, JoinType, Query, ReturningClause, SelectStatement,
        TableRef, extension::postgres::PgFunc,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::row::{self, Row, RowsByParent, Scalar, width};
use crate::schema::Entity;

const ROWS: &str = "rows";
pub const KEYS: &str = "keys";
const PARENT: &str = "parent";
const COUNT: &str = "count";

/// The name of the n-th number of related rows in a statement, after the columns of the entity.
pub fn count_name(index: usize) -> DynIden {
    if index == 0 { COUNT.into_iden() } else { format!("{COUNT}_{index}").into_iden() }
}

/// The columns of an entity, with the name of its table.
pub fn columns(entity: &'static Entity) -> impl Iterator<Item = (&'static str, &'static str)> {
    entity.all_columns().map(|column| (entity.table(), column.name()))
}

/// The primary key of an entity, with the name of its table.
pub fn key(entity: &'static Entity) -> (&'static str, &'static str) {
    (entity.table(), entity.key.name())
}

/// The rows of a statement that selects the columns of an entity and then `counts` numbers of related rows.
pub async fn rows(
    db: &impl ConnectionTrait,
    entity: &'static Entity,
    select: SelectStatement,
    counts: usize,
) -> Result<Vec<Row>, DbErr> {
    if db.get_database_backend() == DbBackend::Sqlite {
        row::from_json(json_text(db, &json_rows(entity, select, counts)).await?, width(entity, counts))
    } else {
        row::from_postgres(&db.query_all(&select).await?, entity, counts)
    }
}

/// What a statement that writes gives of each row, for [`returned_rows`].
pub fn returning(backend: DbBackend, entity: &'static Entity) -> ReturningClause {
    if backend == DbBackend::Sqlite {
        Query::returning().expr(json_array(columns(entity).map(Expr::col)))
    } else {
        Query::returning().columns(columns(entity))
    }
}

/// Runs a statement that writes and ends with [`returning`]. The rows come in no order.
pub async fn returned_rows(
    db: &impl ConnectionTrait,
    entity: &'static Entity,
    statement: &impl StatementBuilder,
) -> Result<Vec<Row>, DbErr> {
    let rows = db.query_all(statement).await?;
    if db.get_database_backend() == DbBackend::Postgres {
        return row::from_postgres(&rows, entity, 0);
    }
    let rows: Vec<String> = rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?;
    row::from_json(format!("[{}]", rows.join(",")), width(entity, 0))
}

/// The texts of the statements of [`by_keys`], by whether they are for SQLite and the addresses of the entities. To put
/// one together takes 13 per cent of the instructions of a request for one object.
static BY_KEYS: LazyLock<Cache<(bool, usize), Arc<str>>> = LazyLock::new(|| Cache::new(1_000));

/// The rows with these keys, in no order. A key without a row is left out.
pub async fn by_keys(db: &impl ConnectionTrait, entity: &'static Entity, keys: &[i64]) -> Result<Vec<Row>, DbErr> {
    let backend = db.get_database_backend();
    let is_sqlite = backend == DbBackend::Sqlite;
    let sql = BY_KEYS.get_or_insert_with(&(is_sqlite, std::ptr::from_ref(entity).addr()), || {
        let mut select = Query::select();
        // The list of keys comes first: SQLite makes a table of one that follows an IN, which takes as long again as a
        // row by its key.
        select
            .columns(columns(entity))
            .from_function(list(backend, keys), KEYS)
            .inner_join(entity.table(), Expr::col(key(entity)).eq(parent_key(backend)));
        let select = if is_sqlite { json_rows(entity, select, 0) } else { select };
        Ok::<_, DbErr>(Arc::from(backend.build(&select).sql))
    })?;
    let statement = Statement::from_sql_and_values(backend, &*sql, [list_value(backend, keys)]);
    if is_sqlite {
        row::from_json(one_text(db, statement).await?, width(entity, 0))
    } else {
        row::from_postgres(&db.query_all_raw(statement).await?, entity, 0)
    }
}

/// The rows of `page` for each of `parents`, in one statement. `page` selects the rows of the one parent that
/// [`parent_key`] stands for, as [`rows`] takes it. A parent without rows may have no entry.
pub async fn per_parent(
    db: &impl ConnectionTrait,
    entity: &'static Entity,
    parents: &[i64],
    page: SelectStatement,
    counts: usize,
) -> Result<RowsByParent, DbErr> {
    let backend = db.get_database_backend();
    let mut statement = Query::select();
    statement.from_function(list(backend, parents), KEYS);
    if backend == DbBackend::Sqlite {
        // SQLite has no LATERAL, but a subquery that gives one value may be correlated. It ends at its limit, where a
        // window function would number all rows of the parent first: measured at half the time of that.
        let rows = Expr::from(json_rows(entity, page, counts));
        statement.expr(json_group_array(json_array([parent_key(backend), rows])));
        row::by_parent_from_json(json_text(db, &statement).await?, width(entity, counts))
    } else {
        // The rows of a parent keep the order of the page: its rows can come from nothing but a loop over the parents.
        statement.expr_as(parent_key(backend), PARENT).expr(Expr::col((ROWS, Asterisk))).join_lateral(
            JoinType::InnerJoin,
            page,
            ROWS,
            Expr::Constant(true.into()),
        );
        row::by_parent_from_postgres(&db.query_all(&statement).await?, entity, counts)
    }
}

/// The rows of `page` for each of `parents`, in one statement, on PostgreSQL. `page` selects the keys of rows as `far`,
/// and nothing else. The rows come in the order of their keys, or in the opposite one.
///
/// With the rows in `page` PostgreSQL joins them anew for each parent, and reads all of a small table each time. So
/// they are joined after it, and their order is made here.
pub async fn per_parent_with_keys(
    db: &impl ConnectionTrait,
    (entity, far): (&'static Entity, &DynIden),
    parents: &[i64],
    page: SelectStatement,
    is_descending: bool,
) -> Result<RowsByParent, DbErr> {
    let backend = db.get_database_backend();
    let mut statement = Query::select();
    statement
        .expr_as(parent_key(backend), PARENT)
        .columns(columns(entity))
        .from_function(list(backend, parents), KEYS)
        .join_lateral(JoinType::InnerJoin, page, ROWS, Expr::Constant(true.into()))
        .inner_join(entity.table(), Expr::col(key(entity)).equals((ROWS, far.clone())));
    let mut pages = row::by_parent_from_postgres(&db.query_all(&statement).await?, entity, 0)?;
    for rows in pages.values_mut() {
        rows.sort_unstable_by_key(Row::key);
        if is_descending {
            rows.reverse();
        }
    }
    Ok(pages)
}

/// The number that `count` gives for each of `parents`, in one statement. `count` is for the one parent that
/// [`parent_key`] stands for.
pub async fn count_per_parent(
    db: &impl ConnectionTrait,
    parents: &[i64],
    count: SelectStatement,
) -> Result<BTreeMap<i64, i64>, DbErr> {
    let backend = db.get_database_backend();
    let mut statement = Query::select();
    statement.from_function(list(backend, parents), KEYS);
    if backend == DbBackend::Sqlite {
        statement.expr(json_group_array(json_array([parent_key(backend), count.into()])));
        let counts: Vec<(i64, i64)> = parsed(&json_text(db, &statement).await?)?;
        Ok(counts.into_iter().collect())
    } else {
        statement.expr_as(parent_key(backend), PARENT).expr_as(Expr::from(count), COUNT);
        let pair = |row: &QueryResult| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?));
        db.query_all(&statement).await?.iter().map(pair).collect()
    }
}

/// In the page that is given to [`per_parent`]: the key of the parent.
pub fn parent_key(backend: DbBackend) -> Expr {
    Expr::col((KEYS, list_column(backend)))
}

/// Selects keys as a column with this name, on PostgreSQL.
pub fn keys(keys: &[i64], name: &'static str) -> SelectStatement {
    Query::select().expr_as(list(DbBackend::Postgres, keys), name).take()
}

/// `column` is one of `values`.
pub fn is_in<V>(backend: DbBackend, column: Expr, values: &[V]) -> Expr
where
    V: Clone + Serialize,
    Vec<V>: Into<Value>,
{
    if backend == DbBackend::Sqlite {
        let values = Query::select().column(list_column(backend)).from_function(list(backend, values), KEYS).take();
        column.in_subquery(values)
    } else {
        column.eq(PgFunc::any(Expr::val(values.to_vec())))
    }
}

/// A statement that gives `records` as rows of these columns of a table. A record has a value for each of the columns.
pub fn records<'r>(
    backend: DbBackend,
    table: &str,
    columns: &[DynIden],
    records: impl Iterator<Item = &'r [Scalar]>,
) -> Result<SelectStatement, DbErr> {
    let json = json_records(columns, records)?;
    let mut select = Query::select();
    if backend == DbBackend::Sqlite {
        for column in columns {
            let path = format!("$.{column}");
            let value = Func::cust("json_extract").arg(Expr::col("value")).arg(Expr::Constant(path.into()));
            select.expr_as(value, column.clone());
        }
        // Without a condition SQLite takes the ON of a following ON CONFLICT for that of a join.
        select.from_function(Func::cust("json_each").arg(json), ROWS).and_where(Expr::Constant(true.into()));
    } else {
        let row_type = Expr::cust(format!(r#"NULL::"{table}""#));
        let records = Func::cust("json_populate_recordset").arg(row_type).arg(Expr::val(json).cast_as("json"));
        select.columns(columns.iter().cloned()).from_function(records, ROWS);
    }
    Ok(select)
}

/// Records as a JSON array of objects, with the names of the columns as their keys.
pub fn json_records<'r>(columns: &[DynIden], records: impl Iterator<Item = &'r [Scalar]>) -> Result<String, DbErr> {
    // A name of a column is written once for each value, so it is put into quotation marks once.
    let names: Vec<String> = columns.iter().map(|column| json!(column.to_string()).to_string()).collect();
    let mut json = Vec::from(b"[");
    for record in records {
        json.extend_from_slice(if json.len() == 1 { b"{" } else { b",{" });
        for (index, (name, value)) in names.iter().zip(record).enumerate() {
            if index > 0 {
                json.push(b',');
            }
            json.extend_from_slice(name.as_bytes());
            json.push(b':');
            serde_json::to_writer(&mut json, value).map_err(|error| DbErr::Json(error.to_string()))?;
        }
        json.push(b'}');
    }
    json.push(b']');
    String::from_utf8(json).map_err(|error| DbErr::Json(error.to_string()))
}

/// A statement as a table.
pub fn subquery(select: SelectStatement, name: impl IntoIden) -> TableRef {
    TableRef::SubQuery(Box::new(select), name.into_iden())
}

/// A statement that could not be put together.
pub fn statement_error(error: sea_orm::sea_query::error::Error) -> DbErr {
    DbErr::Custom(error.to_string())
}

/// A list of values as a table of one column: a JSON array for SQLite, an array for PostgreSQL.
pub fn list<V>(backend: DbBackend, values: &[V]) -> FunctionCall
where
    V: Clone + Serialize,
    Vec<V>: Into<Value>,
{
    let values = Expr::val(list_value(backend, values));
    if backend == DbBackend::Sqlite {
        Func::cust("json_each").arg(values)
    } else {
        // The subquery keeps the length of the list from the planner, which would make a plan of its own for each short
        // one.
        Func::cust("unnest").arg(Expr::from(Query::select().expr(values).take()))
    }
}

/// The parameter of a list of values.
pub fn list_value<V>(backend: DbBackend, values: &[V]) -> Value
where
    V: Clone + Serialize,
    Vec<V>: Into<Value>,
{
    if backend == DbBackend::Sqlite { json!(values).to_string().into() } else { values.to_vec().into() }
}

fn list_column(backend: DbBackend) -> &'static str {
    // PostgreSQL calls the column of a function as the function is called in FROM.
    if backend == DbBackend::Sqlite { "value" } else { KEYS }
}

/// All rows of a statement as one JSON array of arrays.
///
/// Nested in another one it stays JSON, because SQLite marks the value as such and does not quote it again.
fn json_rows(entity: &'static Entity, select: SelectStatement, counts: usize) -> SelectStatement {
    let columns = entity.all_columns().map(|column| Expr::col((ROWS, column.name())));
    let counts = (0..counts).map(|index| Expr::col((ROWS, count_name(index))));
    Query::select().expr(json_group_array(json_array(columns.chain(counts)))).from_subquery(select, ROWS).take()
}

fn json_array(items: impl IntoIterator<Item = Expr>) -> FunctionCall {
    Func::cust("json_array").args(items)
}

fn json_group_array(item: FunctionCall) -> FunctionCall {
    Func::cust("json_group_array").arg(item)
}

fn parsed<T: DeserializeOwned>(json: &str) -> Result<T, DbErr> {
    serde_json::from_str(json).map_err(|error| DbErr::Json(error.to_string()))
}

/// The one value of a statement, which is JSON.
async fn json_text(db: &impl ConnectionTrait, select: &SelectStatement) -> Result<String, DbErr> {
    let mut statement = db.get_database_backend().build(select);
    // SQLite looks at a bare parameter here when it plans, and so plans again each time one is bound. With a sign it
    // does not. No other text of a statement reads like this, because all values are parameters.
    statement.sql = statement.sql.replace("LIMIT ? OFFSET ?", "LIMIT +? OFFSET +?").replace("LIMIT ?", "LIMIT +?");
    one_text(db, statement).await
}

async fn one_text(db: &impl ConnectionTrait, statement: Statement) -> Result<String, DbErr> {
    let row = db.query_one_raw(statement).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound("an aggregate gives one row".to_owned()))?;
    row.try_get_by_index(0)
}
