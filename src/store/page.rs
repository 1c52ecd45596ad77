//! Pages of lists, and how long lists are: of all rows, and of related rows for many parents at once.

use std::collections::BTreeMap;

use sea_orm::{
    ConnectionTrait, DbBackend, Statement, Values,
    sea_query::{Asterisk, Expr, ExprTrait, Query, SelectStatement},
};

use super::{
    Bound, Filter, Order, OrderBy, Row, Scan,
    dialect::{self, columns, count_name, key},
    order::{after, related_count},
};
use crate::{
    db::{Db, Indexes, StoreError},
    schema::{Entity, Relation},
};

/// Which rows of a list, in which order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListQuery {
    /// The rows of the whole list.
    pub filter: Filter,
    /// The order of the list. It ends with the key, so that no two rows are equal.
    pub order: Vec<Order>,
    /// The part of the list.
    pub slice: Slice,
}

impl ListQuery {
    /// What is read of the table of an entity, with the indexes that each database has and these.
    #[must_use]
    pub fn scan(&self, entity: &Entity, indexes: &Indexes) -> Scan {
        if self.order.iter().any(|step| matches!(step.by, OrderBy::RelatedCount(_))) {
            return self.filter.narrowed_scan(entity, indexes);
        }
        let wanted = match self.slice {
            Slice::Offset { limit, offset } => limit.saturating_add(offset),
            Slice::Keyset { limit, .. } => limit,
        };
        self.filter.scan(entity, indexes, wanted)
    }
}

/// How many rows match a filter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CountQuery {
    /// The rows that are counted.
    pub filter: Filter,
    /// So many of all rows of a table are counted at most; with 0 all are.
    pub max: u64,
}

/// How many rows match a filter, by which one knows whether there are more than a number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FoundQuery {
    /// The rows that are found.
    pub filter: Filter,
    /// The number.
    pub max: u64,
}

/// A number of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    pub number: i64,
    /// Whether they were counted. Otherwise it is an estimate of PostgreSQL.
    pub is_exact: bool,
}

impl Count {
    fn exact(number: i64) -> Self {
        Self { number, is_exact: true }
    }
}

impl Default for Count {
    fn default() -> Self {
        Self::exact(0)
    }
}

/// The part of an ordered list that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Slice {
    /// At most `limit` rows after the first `offset`.
    Offset { limit: u64, offset: u64 },
    /// At most `limit` rows between two bounds: the first of them, or the last.
    Keyset { after: Option<Bound>, before: Option<Bound>, limit: u64, last: bool },
}

/// A part of a list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The rows, in the order of the list.
    pub rows: Vec<Row>,
    /// Whether the list has more rows between the bounds: after these, or before them when they are the last. Only
    /// known of [`Slice::Keyset`].
    pub has_more: bool,
}

/// The rows with these keys, in no order. A key without a row is left out.
///
/// # Errors
///
/// When the database does not answer.
pub async fn by_keys(db: &Db, entity: &'static Entity, keys: &[i64]) -> Result<Vec<Row>, StoreError> {
    Ok(dialect::by_keys(&db.read, entity, keys).await?)
}

/// Has a statement of [`by_keys`] on PostgreSQL read other keys.
pub fn replace_keys(statement: &mut Statement, keys: &[i64]) {
    statement.values = Some(Values(vec![dialect::list_value(DbBackend::Postgres, keys)]));
}

/// The rows with these keys that match a filter, in no order.
///
/// # Errors
///
/// When the database does not answer.
pub async fn matching(db: &Db, entity: &'static Entity, keys: &[i64], filter: &Filter) -> Result<Vec<Row>, StoreError> {
    let backend = db.read.get_database_backend();
    let mut select = all(entity);
    select.columns(columns(entity)).and_where(dialect::is_in(backend, Expr::col(key(entity)), keys));
    select_matching(backend, &mut select, entity, filter);
    Ok(dialect::rows(&db.read, entity, select, 0).await?)
}

/// A page of the list of all rows.
///
/// # Errors
///
/// When the database does not answer.
pub async fn page(db: &Db, entity: &'static Entity, query: &ListQuery) -> Result<Page, StoreError> {
    let backend = db.read.get_database_backend();
    let mut select = all(entity);
    select.columns(columns(entity));
    let counts = select_page(backend, &mut select, entity, query, None);
    let rows = dialect::rows(&db.read, entity, select, counts).await?;
    Ok(query.slice.cut(rows))
}

/// The same page of the list of rows that are related to each of `parents`, in one statement however many there are.
/// The page is cut in the database. A parent without such rows may have no entry.
///
/// # Errors
///
/// When the database does not answer.
pub async fn related_pages(
    db: &Db,
    relation: &'static Relation,
    parents: &[i64],
    query: &ListQuery,
) -> Result<BTreeMap<i64, Page>, StoreError> {
    let backend = db.read.get_database_backend();
    let entity = relation.to;
    let pages = if backend == DbBackend::Postgres && query.is_of_links(entity) {
        let far = &relation.link.far;
        let mut links = links(backend, relation, Expr::col(far.clone()));
        select_slice(&mut links, entity, query, Some(relation));
        let is_descending = query.read_order().iter().any(|step| step.descending);
        dialect::per_parent_with_keys(&db.read, (entity, far), parents, links, is_descending).await?
    } else {
        let mut select = related(backend, relation);
        select.columns(columns(entity));
        let counts = select_page(backend, &mut select, entity, query, Some(relation));
        dialect::per_parent(&db.read, entity, parents, select, counts).await?
    };
    Ok(pages.into_iter().map(|(parent, rows)| (parent, query.slice.cut(rows))).collect())
}

/// The number of rows that match a filter. On PostgreSQL, where that takes as long as there are rows, more than
/// [`CountQuery::max`] are estimated.
///
/// # Errors
///
/// When the database does not answer.
pub async fn count(db: &Db, entity: &'static Entity, query: &CountQuery) -> Result<Count, StoreError> {
    let CountQuery { filter, max } = query;
    let backend = db.read.get_database_backend();
    let mut select = all(entity);
    select_matching(backend, &mut select, entity, filter);
    if backend != DbBackend::Postgres || *max == 0 {
        return Ok(Count::exact(one_number(db, select.expr(Expr::col(key(entity)).count())).await?));
    }
    let more = i64::try_from(*max).unwrap_or(i64::MAX).saturating_add(1);
    let estimate = if filter.is_empty() {
        let rows = db.table_rows(entity.table(), entity.key.name(), *max).await;
        i64::try_from(rows).unwrap_or(i64::MAX)
    } else {
        0
    };
    select.expr(Expr::Constant(1.into()));
    if estimate < more {
        let number = bounded(db, &select, more).await?;
        if number < more {
            return Ok(Count::exact(number));
        }
    }
    let estimate = if filter.is_empty() { estimate } else { planned_rows(db, &select).await? };
    Ok(Count { number: Ord::max(estimate, more), is_exact: false })
}

/// The number of rows that match a filter: as the planner of PostgreSQL expects; on SQLite they are counted, up to one
/// more than [`FoundQuery::max`].
///
/// # Errors
///
/// When the database does not answer.
pub async fn rows_found(db: &Db, entity: &'static Entity, query: &FoundQuery) -> Result<u64, StoreError> {
    let FoundQuery { filter, max } = query;
    let backend = db.read.get_database_backend();
    let mut select = all(entity);
    select_matching(backend, &mut select, entity, filter);
    select.expr(Expr::Constant(1.into()));
    let number = if backend == DbBackend::Postgres {
        planned_rows(db, &select).await?
    } else {
        bounded(db, &select, i64::try_from(*max).unwrap_or(i64::MAX).saturating_add(1)).await?
    };
    Ok(number.unsigned_abs())
}

/// The number of rows that a statement gives, or `most` if there are more.
async fn bounded(db: &Db, select: &SelectStatement, most: i64) -> Result<i64, StoreError> {
    let mut counted = Query::select().expr(Expr::col(Asterisk).count()).take();
    counted.from_subquery(select.clone().limit(most.unsigned_abs()).take(), "counted");
    one_number(db, &counted).await
}

async fn one_number(db: &Db, select: &SelectStatement) -> Result<i64, StoreError> {
    let row = db.read.query_one(select).await?;
    Ok(row.map_or(Ok(0), |row| row.try_get_by_index(0))?)
}

/// The number of rows that the planner of PostgreSQL expects of a statement.
async fn planned_rows(db: &Db, select: &SelectStatement) -> Result<i64, StoreError> {
    let mut explain = DbBackend::Postgres.build(select);
    explain.sql.insert_str(0, "EXPLAIN ");
    let row = db.read.query_one_raw(explain).await?;
    let plan: String = row.map_or(Ok(String::new()), |row| row.try_get_by_index(0))?;
    // Such as `Seq Scan on hero  (cost=0.00..155.00 rows=10000 width=4)`.
    let rows = plan.split_once("rows=").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    Ok(rows.unwrap_or(0))
}

/// The number of rows that match a filter among those that are related to each of `parents`, in one statement.
///
/// # Errors
///
/// When the database does not answer.
pub async fn related_counts(
    db: &Db,
    relation: &'static Relation,
    parents: &[i64],
    filter: &Filter,
) -> Result<BTreeMap<i64, Count>, StoreError> {
    let backend = db.read.get_database_backend();
    let select = if filter.is_empty() {
        // Each link has its row, so the links alone are counted.
        links(backend, relation, Expr::col(relation.link.far.clone()).count())
    } else {
        let mut select = related(backend, relation);
        select.expr(Expr::col(key(relation.to)).count());
        select_matching(backend, &mut select, relation.to, filter);
        select
    };
    let counts = dialect::count_per_parent(&db.read, parents, select).await?;
    Ok(counts.into_iter().map(|(parent, number)| (parent, Count::exact(number))).collect())
}

fn all(entity: &'static Entity) -> SelectStatement {
    Query::select().from(entity.table()).take()
}

/// What is selected of the links of the parent of [`dialect::parent_key`].
fn links(backend: DbBackend, relation: &Relation, selected: Expr) -> SelectStatement {
    let link = &**relation.link;
    let of_parent = Expr::col(link.near.clone()).eq(dialect::parent_key(backend));
    Query::select().expr(selected).from(link.table.clone()).and_where(of_parent).take()
}

/// The rows that are related to the parent of [`dialect::parent_key`].
fn related(backend: DbBackend, relation: &'static Relation) -> SelectStatement {
    let link = &**relation.link;
    let column = |name: &sea_orm::DynIden| Expr::col((link.table.clone(), name.clone()));
    let mut select = all(relation.to);
    select
        .inner_join(link.table.clone(), Expr::col(key(relation.to)).eq(column(&link.far)))
        .and_where(column(&link.near).eq(dialect::parent_key(backend)));
    select
}

fn select_matching(backend: DbBackend, select: &mut SelectStatement, entity: &'static Entity, filter: &Filter) {
    if !filter.is_empty() {
        select.cond_where(filter.condition(entity, backend));
    }
}

/// Leaves the page of a query in a statement that selects a whole list. Gives how many numbers of related rows it
/// selects.
fn select_page(
    backend: DbBackend,
    select: &mut SelectStatement,
    entity: &'static Entity,
    query: &ListQuery,
    relation: Option<&'static Relation>,
) -> usize {
    select_matching(backend, select, entity, &query.filter);
    let mut counts = 0;
    for step in &query.order {
        if let OrderBy::RelatedCount(relation) = step.by {
            select.expr_as(related_count(entity, relation), count_name(counts));
            counts += 1;
        }
    }
    select_slice(select, entity, query, relation);
    counts
}

/// Leaves the slice of a query in a statement that selects a whole list, or all links to its rows, and orders it.
fn select_slice(
    select: &mut SelectStatement,
    entity: &'static Entity,
    query: &ListQuery,
    relation: Option<&'static Relation>,
) {
    match &query.slice {
        Slice::Offset { limit, offset } => {
            select.limit(*limit).offset(*offset);
        }
        Slice::Keyset { after: start, before: end, limit, .. } => {
            if let Some(bound) = start {
                select.and_where(after(entity, &query.order, bound));
            }
            if let Some(bound) = end {
                select.and_where(after(entity, &query.reversed_order(), bound));
            }
            // One row more than is wanted tells whether there are more.
            select.limit(limit + 1);
        }
    }
    for step in query.read_order() {
        step.apply(select, entity, relation);
    }
}

impl ListQuery {
    /// Whether the links of a parent alone tell which rows are wanted.
    fn is_of_links(&self, entity: &'static Entity) -> bool {
        let is_unbounded = matches!(self.slice, Slice::Offset { .. } | Slice::Keyset { after: None, before: None, .. });
        let is_by_key = matches!(self.order[..], [step] if step.by == OrderBy::Column(&entity.key));
        self.filter.is_empty() && is_unbounded && is_by_key
    }

    /// The order in which the rows are read: the opposite one where the last of them are wanted.
    fn read_order(&self) -> Vec<Order> {
        if let Slice::Keyset { last: true, .. } = self.slice { self.reversed_order() } else { self.order.clone() }
    }

    fn reversed_order(&self) -> Vec<Order> {
        self.order.iter().map(|step| step.reversed()).collect()
    }
}

impl Slice {
    fn cut(&self, mut rows: Vec<Row>) -> Page {
        let Self::Keyset { limit, last, .. } = self else {
            return Page { rows, has_more: false };
        };
        let limit = usize::try_from(*limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        if *last {
            rows.reverse();
        }
        Page { rows, has_more }
    }
}
