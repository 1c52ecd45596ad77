//! How rows leave and enter the database: the one place that knows what differs between the two of them.
//!
//! *Out.* The rows of SQLite come as one JSON value, which SQLite builds and most of which goes into the JSON of the answer
//! as it is (`record.rs`). PostgreSQL is the other way round (`json_agg` takes several times the CPU of plain rows), so there
//! rows stay rows.
//!
//! *In.* A list is one parameter, so that a statement has one text, and thus one prepared plan, whatever the length of the
//! list, and no limit on bind parameters to run into.

use std::{collections::HashMap, io};

use entity::hero_team_link;
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, EntityTrait, FromQueryResult, IdenStatic, Iterable, QueryResult, RelationDef,
    StatementBuilder, Value,
    sea_query::{
        Asterisk, Expr, ExprTrait, Func, FunctionCall, IntoIden, JoinType, Query, ReturningClause, SelectStatement,
        TableRef, extension::postgres::PgFunc,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{
    membership::Link,
    record::{self, Record, RowsByParent},
};

/// One of the two entities that memberships link: a numeric key, rows that can be read from JSON, and its links.
pub trait Table: EntityTrait<Model: DeserializeOwned + Send + Sync> {
    /// The column of the key.
    const KEY: Self::Column;
    /// The column of a link that names a row of this entity.
    const LINK: hero_team_link::Column;

    /// The entity on the other side of the memberships.
    type Other: Table<Other = Self>;

    /// The key of a row.
    fn key(row: &Self::Model) -> i64;

    /// The place of a column among those of the entity.
    fn index(column: Self::Column) -> usize;

    /// Writes the value of a column as JSON.
    ///
    /// # Errors
    ///
    /// When it cannot be written, which does not happen in memory.
    fn write_json(row: &Self::Model, column: Self::Column, json: &mut Vec<u8>) -> io::Result<()>;

    /// The way from the other side: to the links, and on to the rows of this entity.
    fn path() -> Vec<RelationDef>;

    /// The link between a row of this entity and one of the other.
    fn link(key: i64, other: i64) -> Link;
}

/// The row of an entity.
pub type Model<E> = <E as EntityTrait>::Model;

/// A row, and the number of rows that are linked to it where the statement counts them.
#[derive(Clone, Debug)]
pub struct Row<M> {
    pub model: M,
    pub linked: Option<i64>,
}

const ROWS: &str = "rows";
const KEYS: &str = "keys";
const PARENT: &str = "parent";
/// The column with the number of linked rows, behind those of the entity.
pub const LINKED: &str = "linked";

/// The rows of a statement that selects the columns of `E`, in their order.
pub async fn all<E: Table>(db: &impl ConnectionTrait, select: SelectStatement) -> Result<Vec<E::Model>, DbErr> {
    if db.get_database_backend() == DbBackend::Sqlite {
        json_value(db, &json_rows::<E>(select, false)).await
    } else {
        db.query_all(&select).await?.iter().map(|row| E::Model::from_query_result(row, "")).collect()
    }
}

/// What a statement that writes gives of each row, for [`written`].
pub fn returning<E: Table>(backend: DbBackend) -> ReturningClause {
    if backend == DbBackend::Sqlite {
        Query::returning().expr(json_array(columns::<E>().map(Expr::col)))
    } else {
        Query::returning().columns(columns::<E>())
    }
}

/// Runs a statement that writes and ends with [`returning`]. The rows come in no order.
pub async fn written<E: Table>(
    db: &impl ConnectionTrait,
    statement: &impl StatementBuilder,
) -> Result<Vec<E::Model>, DbErr> {
    let rows = db.query_all(statement).await?;
    let model = |row: &QueryResult| {
        if db.get_database_backend() == DbBackend::Sqlite {
            parsed(&row.try_get_by_index::<String>(0)?)
        } else {
            E::Model::from_query_result(row, "")
        }
    };
    rows.iter().map(model).collect()
}

/// The models of the rows with these keys, in no order. A key without a row is left out.
pub async fn models<E: Table>(db: &impl ConnectionTrait, keys: &[i64]) -> Result<Vec<E::Model>, DbErr> {
    all::<E>(db, with_keys::<E>(db.get_database_backend(), keys)).await
}

/// The rows with these keys, in no order. A key without a row is left out.
pub async fn by_keys<E: Table>(db: &impl ConnectionTrait, keys: &[i64]) -> Result<Vec<Record<E>>, DbErr> {
    let select = with_keys::<E>(db.get_database_backend(), keys);
    let rows = all_counted::<E>(db, select, false).await?;
    Ok(rows.into_iter().map(|row| row.model).collect())
}

/// The rows with these keys. The list of keys comes first, because SQLite makes a table of one that follows an IN, which takes
/// as long again as a row by its key.
fn with_keys<E: Table>(backend: DbBackend, keys: &[i64]) -> SelectStatement {
    let mut select = Query::select();
    select
        .columns(columns::<E>())
        .from_function(list(backend, keys), KEYS)
        .inner_join(E::default(), Expr::col((E::default(), E::KEY)).eq(parent_key(backend)));
    select
}

/// The rows of a statement that selects the columns of `E` and then, when `counted`, [`LINKED`].
pub async fn all_counted<E: Table>(
    db: &impl ConnectionTrait,
    select: SelectStatement,
    counted: bool,
) -> Result<Vec<Row<Record<E>>>, DbErr> {
    if db.get_database_backend() == DbBackend::Sqlite {
        record::rows(json_text(db, &json_rows::<E>(select, counted)).await?, E::Column::iter().count(), counted)
    } else {
        db.query_all(&select).await?.iter().map(|row| plain_row::<E>(row, counted)).collect()
    }
}

/// The rows of `page` for each of `parents`, in one statement. `page` selects the rows of the one parent that
/// [`parent_key`] stands for, as [`all_counted`] takes it. A parent without rows may have no entry.
pub async fn per_parent<E: Table>(
    db: &impl ConnectionTrait,
    parents: &[i64],
    page: SelectStatement,
    counted: bool,
) -> Result<RowsByParent<E>, DbErr> {
    let backend = db.get_database_backend();
    let mut statement = Query::select();
    statement.from_function(list(backend, parents), KEYS);
    if backend == DbBackend::Sqlite {
        // SQLite has no LATERAL, but a subquery that gives one value may be correlated. It ends at its limit, where a
        // window function would number all rows of the parent first: measured at half the time of that.
        let rows = Expr::from(json_rows::<E>(page, counted));
        statement.expr(json_group_array(json_array([parent_key(backend), rows])));
        record::rows_by_parent(json_text(db, &statement).await?, E::Column::iter().count(), counted)
    } else {
        // The rows of a parent keep the order of the page: its rows can come from nothing but a loop over the parents.
        statement.expr_as(parent_key(backend), PARENT).expr(Expr::col((ROWS, Asterisk))).join_lateral(
            JoinType::InnerJoin,
            page,
            ROWS,
            Expr::Constant(true.into()),
        );
        rows_by_parent(db, parents, &statement, counted).await
    }
}

/// The rows of `page` for each of `parents`, in one statement, on PostgreSQL. `page` selects the keys of rows, and nothing else.
/// The rows come in the order of their keys, or in the opposite one.
///
/// With the rows in `page` PostgreSQL joins them anew for each parent, and reads all of a small table each time. So they are
/// joined behind it, which leaves their order to be made here.
pub async fn per_parent_with_keys<E: Table>(
    db: &impl ConnectionTrait,
    parents: &[i64],
    page: SelectStatement,
    is_descending: bool,
) -> Result<RowsByParent<E>, DbErr> {
    let backend = db.get_database_backend();
    let mut statement = Query::select();
    statement
        .expr_as(parent_key(backend), PARENT)
        .columns(columns::<E>())
        .from_function(list(backend, parents), KEYS)
        .join_lateral(JoinType::InnerJoin, page, ROWS, Expr::Constant(true.into()))
        .inner_join(E::default(), Expr::col((E::default(), E::KEY)).equals((ROWS, E::LINK)));
    let mut pages = rows_by_parent::<E>(db, parents, &statement, false).await?;
    for rows in pages.values_mut() {
        rows.sort_unstable_by_key(|row| row.model.key());
        if is_descending {
            rows.reverse();
        }
    }
    Ok(pages)
}

async fn rows_by_parent<E: Table>(
    db: &impl ConnectionTrait,
    parents: &[i64],
    statement: &SelectStatement,
    counted: bool,
) -> Result<RowsByParent<E>, DbErr> {
    let mut pages = HashMap::<i64, Vec<_>>::with_capacity(parents.len());
    for row in db.query_all(statement).await? {
        pages.entry(row.try_get("", PARENT)?).or_default().push(plain_row::<E>(&row, counted)?);
    }
    Ok(pages)
}

fn columns<E: Table>() -> impl Iterator<Item = (E, E::Column)> {
    E::Column::iter().map(|column| (E::default(), column))
}

/// The number that `count` gives for each of `parents`, in one statement. `count` is for the one parent that
/// [`parent_key`] stands for.
pub async fn count_per_parent(
    db: &impl ConnectionTrait,
    parents: &[i64],
    count: SelectStatement,
) -> Result<HashMap<i64, i64>, DbErr> {
    let backend = db.get_database_backend();
    let mut statement = Query::select();
    statement.from_function(list(backend, parents), KEYS);
    if backend == DbBackend::Sqlite {
        statement.expr(json_group_array(json_array([parent_key(backend), count.into()])));
        let counts: Vec<(i64, i64)> = json_value(db, &statement).await?;
        Ok(counts.into_iter().collect())
    } else {
        statement.expr_as(parent_key(backend), PARENT).expr_as(Expr::from(count), LINKED);
        db.query_all(&statement)
            .await?
            .iter()
            .map(|row| Ok((row.try_get("", PARENT)?, row.try_get("", LINKED)?)))
            .collect()
    }
}

fn plain_row<E: Table>(row: &QueryResult, counted: bool) -> Result<Row<Record<E>>, DbErr> {
    let linked = if counted { Some(row.try_get("", LINKED)?) } else { None };
    Ok(Row { model: Record::of(E::Model::from_query_result(row, "")?), linked })
}

/// In the page that is given to [`per_parent`]: the key of the parent.
pub fn parent_key(backend: DbBackend) -> Expr {
    Expr::col((KEYS, list_column(backend)))
}

/// Selects keys, on PostgreSQL.
pub fn keys(keys: &[i64]) -> SelectStatement {
    Query::select().expr(list(DbBackend::Postgres, keys)).take()
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

/// A statement as a table.
pub fn subquery(select: SelectStatement, name: impl IntoIden) -> TableRef {
    TableRef::SubQuery(Box::new(select), name.into_iden())
}

/// A statement that could not be put together.
pub fn statement_error(error: sea_orm::sea_query::error::Error) -> DbErr {
    DbErr::Custom(error.to_string())
}

/// A list of values as a table of one column: a JSON array for SQLite, an array for PostgreSQL.
fn list<V>(backend: DbBackend, values: &[V]) -> FunctionCall
where
    V: Clone + Serialize,
    Vec<V>: Into<Value>,
{
    if backend == DbBackend::Sqlite {
        Func::cust("json_each").arg(json!(values).to_string())
    } else {
        // The subquery keeps the length of the list from the planner, which would make a plan of its own for each short one.
        Func::cust("unnest").arg(Expr::from(Query::select().expr(Expr::val(values.to_vec())).take()))
    }
}

fn list_column(backend: DbBackend) -> &'static str {
    // PostgreSQL calls the column of a function as the function is called in FROM.
    if backend == DbBackend::Sqlite { "value" } else { KEYS }
}

/// All rows of a statement as one JSON array of arrays; when `counted`, of pairs of an array and a number.
///
/// Nested in another one it stays JSON, because SQLite marks the value as such and does not quote it again.
fn json_rows<E: EntityTrait>(select: SelectStatement, counted: bool) -> SelectStatement {
    let mut row = json_array(E::Column::iter().map(|column| Expr::col((ROWS, column))));
    if counted {
        row = json_array([row.into(), Expr::col((ROWS, LINKED))]);
    }
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
    parsed(&json_text(db, select).await?)
}

fn parsed<T: DeserializeOwned>(json: &str) -> Result<T, DbErr> {
    serde_json::from_str(json).map_err(|error| DbErr::Json(error.to_string()))
}

/// The one value of a statement, which is JSON.
async fn json_text(db: &impl ConnectionTrait, select: &SelectStatement) -> Result<String, DbErr> {
    let mut statement = db.get_database_backend().build(select);
    // SQLite looks at a bare parameter here when it plans, and so plans again each time one is bound. With a sign it does
    // not. No other text of a statement reads like this, because all values are parameters.
    statement.sql = statement.sql.replace("LIMIT ? OFFSET ?", "LIMIT +? OFFSET +?").replace("LIMIT ?", "LIMIT +?");
    let row = db.query_one_raw(statement).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound("an aggregate gives one row".to_owned()))?;
    row.try_get_by_index(0)
}
