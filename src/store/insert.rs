//! Rows that are looked up by their values, and rows that are inserted.

use std::collections::{HashMap, HashSet};

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, DynIden, Value,
    sea_query::{BinOper, Condition, Expr, ExprTrait, Func, InsertStatement, IntoIden, JoinType, Query},
};

use super::{
    dialect::{self, columns},
    row::{Row, Scalar},
};
use crate::{
    db::StoreError,
    schema::{Column, Entity, Kind},
};

/// The values of a row: all columns but the primary key, in the order of the entity.
pub type Values = Vec<Scalar>;

const WANTED: &str = "wanted";

/// The keys of rows with exactly these values; the oldest row where there are several.
pub async fn find(
    db: &impl ConnectionTrait,
    entity: &'static Entity,
    wanted: &HashSet<&Values>,
) -> Result<HashMap<Values, i64>, StoreError> {
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let backend = db.get_database_backend();
    let records = wanted.iter().map(|values| &values[..]);
    let records = dialect::records(backend, entity.table(), &names(entity), records)?;
    let mut select = Query::select();
    select.columns(columns(entity)).from(entity.table());
    if backend == DbBackend::Sqlite {
        // Each row with a wanted name is looked at once, by the index of the names, and then found among the wanted. A
        // join would compare it with all that are wanted by that name, or take another index: SQLite knows nothing of
        // the values. It takes no index of a column with `+`. The first text is most often what names the row. Nulls
        // are found in no list.
        let wanted = |exprs: Vec<Expr>| Query::select().exprs(exprs).from_subquery(records.clone(), WANTED).take();
        let mut required = entity.columns.iter().filter(|column| !column.is_nullable);
        let name = required.clone().find(|column| matches!(column.kind, Kind::Text { .. })).or_else(|| required.next());
        if let Some(name) = name {
            let names = wanted(vec![Expr::col((WANTED, name.name()))]);
            select.and_where(Expr::col((entity.table(), name.name())).in_subquery(names));
        }
        let stored =
            comparable(entity, |column| Expr::cust_with_expr("+?", Expr::col((entity.table(), column.name()))));
        let wanted = wanted(comparable(entity, |column| Expr::col((WANTED, column.name()))));
        select.and_where(Expr::tuple(stored).in_subquery(wanted));
    } else {
        let same = entity.columns.iter().fold(Condition::all(), |condition, column| {
            // Only where NULL may stand: `IS NOT DISTINCT FROM` uses no index.
            let equal = if column.is_nullable { BinOper::Custom("IS NOT DISTINCT FROM") } else { BinOper::Equal };
            let wanted = Expr::col((WANTED, column.name()));
            condition.add(Expr::col((entity.table(), column.name())).binary(equal, wanted))
        });
        select.join_subquery(JoinType::InnerJoin, records, WANTED, same);
    }
    let mut found = HashMap::with_capacity(wanted.len());
    for row in dialect::rows(db, entity, select, 0).await? {
        let key = row.key();
        found.entry(row.values(entity)).and_modify(|oldest| *oldest = Ord::min(*oldest, key)).or_insert(key);
    }
    Ok(found)
}

/// The values of a row, each of which equals another one also where it is null.
fn comparable(entity: &'static Entity, value: impl Fn(&Column) -> Expr) -> Vec<Expr> {
    let values = entity.columns.iter().flat_map(|column| {
        let value = value(column);
        if column.is_nullable {
            vec![value.clone().is_null(), Func::coalesce([value, Expr::Constant(0.into())]).into()]
        } else {
            vec![value]
        }
    });
    values.collect()
}

/// Inserts rows in one statement, and gives them in the order of `new`.
pub async fn insert(
    db: &impl ConnectionTrait,
    entity: &'static Entity,
    new: &[&Values],
) -> Result<Vec<Row>, StoreError> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let insert = insertion(db.get_database_backend(), entity, new)?;
    let rows = dialect::returned_rows(db, entity, &insert).await?;
    if let [_] = new {
        return Ok(rows);
    }
    // RETURNING promises no order. Rows of equal values may stand for each other, so the values tell where each
    // belongs.
    let mut made: HashMap<Values, Vec<Row>> = HashMap::with_capacity(new.len());
    for row in rows {
        made.entry(row.values(entity)).or_default().push(row);
    }
    for rows in made.values_mut() {
        rows.sort_unstable_by_key(|row| std::cmp::Reverse(row.key()));
    }
    new.iter()
        .map(|new| made.get_mut(*new).and_then(Vec::pop))
        .collect::<Option<_>>()
        .ok_or(StoreError::Database(DbErr::RecordNotInserted))
}

/// The statement that inserts rows and gives them back.
pub fn insertion(backend: DbBackend, entity: &'static Entity, new: &[&Values]) -> Result<InsertStatement, StoreError> {
    let mut insert = Query::insert();
    insert.into_table(entity.table()).columns(names(entity)).returning(dialect::returning(backend, entity));
    if let [values] = new {
        // The way by a list costs as much as the insert.
        insert.values(parameters(entity, values).map(Expr::val)).map_err(dialect::statement_error)?;
    } else {
        let records = new.iter().map(|values| &values[..]);
        let records = dialect::records(backend, entity.table(), &names(entity), records)?;
        insert.select_from(records).map_err(dialect::statement_error)?;
    }
    Ok(insert)
}

/// The values of a row as parameters of a statement.
pub fn parameters(entity: &'static Entity, values: &Values) -> impl Iterator<Item = Value> {
    values.iter().zip(entity.columns).map(|(value, column)| value.value_of(column.kind))
}

/// The names of the columns but the primary key.
pub fn names(entity: &Entity) -> Vec<DynIden> {
    entity.columns.iter().map(|column| column.name().into_iden()).collect()
}
