//! Rows by key, lists of rows, and lists of linked rows for many parents at once.

use std::collections::HashMap;

use entity::hero_team_link;
use sea_orm::{
    ConnectionTrait, DbBackend, JoinType, QueryFilter, QuerySelect, QueryTrait, Select,
    sea_query::{Expr, ExprTrait, Query, SelectStatement},
};

use super::{
    Bound, Db, Filter, Order, OrderBy, Row, StoreError, Table,
    order::{behind, linked_count},
    record::Record,
    rows::{self, LINKED},
};

/// Which rows of a list, in which order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListQuery {
    pub filter: Filter,
    /// It ends with the key, so that no two rows are equal.
    pub order: Vec<Order>,
    pub slice: Slice,
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
#[derive(Clone, Debug)]
pub struct Rows<M> {
    pub rows: Vec<Row<M>>,
    /// Whether there are more rows between the bounds: behind these, or before them when they are the last. Only known of
    /// [`Slice::Keyset`].
    pub has_more: bool,
}

/// The rows with these keys, in no order. A key without a row is left out.
///
/// # Errors
///
/// When the database does not answer.
pub async fn by_keys<E: Table>(db: &Db, keys: &[i64]) -> Result<Vec<Record<E>>, StoreError> {
    Ok(rows::by_keys::<E>(&db.read, keys).await?)
}

/// A part of the list of all rows.
///
/// # Errors
///
/// When the database does not answer.
pub async fn list<E: Table>(db: &Db, query: &ListQuery) -> Result<Rows<Record<E>>, StoreError> {
    let select = select::<E>(db.read.get_database_backend(), query, None);
    let rows = rows::all_counted::<E>(&db.read, select, query.is_counted()).await?;
    Ok(query.slice.cut(rows))
}

/// The same part of the list of rows that are linked to each of `parents`, in one statement however many there are. The
/// part is cut in the database. A parent without such rows may have no entry.
///
/// # Errors
///
/// When the database does not answer.
pub async fn linked_list<E: Table>(
    db: &Db,
    parents: &[i64],
    query: &ListQuery,
) -> Result<HashMap<i64, Rows<Record<E>>>, StoreError> {
    let backend = db.read.get_database_backend();
    let lists = if backend == DbBackend::Postgres && query.is_of_links::<E>() {
        let mut links = of_parent::<E>(backend, Expr::col(E::LINK));
        select_part::<E>(&mut links, query, true);
        let is_descending = query.read_order().iter().any(|step| step.descending);
        rows::per_parent_with_keys::<E>(&db.read, parents, links, is_descending).await?
    } else {
        let select = select::<E>(backend, query, Some(linked::<E>(backend)));
        rows::per_parent::<E>(&db.read, parents, select, query.is_counted()).await?
    };
    Ok(lists.into_iter().map(|(parent, rows)| (parent, query.slice.cut(rows))).collect())
}

/// The number of rows that a filter leaves.
///
/// # Errors
///
/// When the database does not answer.
pub async fn count<E: Table>(db: &Db, filter: &Filter) -> Result<i64, StoreError> {
    let select = counted::<E>(db.read.get_database_backend(), filter, E::find());
    let row = db.read.query_one(&select).await?;
    Ok(row.map_or(Ok(0), |row| row.try_get_by_index(0))?)
}

/// The number of rows that a filter leaves of those that are linked to each of `parents`, in one statement.
///
/// # Errors
///
/// When the database does not answer.
pub async fn linked_counts<E: Table>(
    db: &Db,
    parents: &[i64],
    filter: &Filter,
) -> Result<HashMap<i64, i64>, StoreError> {
    let backend = db.read.get_database_backend();
    let select = if filter.is_empty() {
        // Each link has its row, so the links alone are counted.
        of_parent::<E>(backend, Expr::col(E::LINK).count())
    } else {
        counted::<E>(backend, filter, linked::<E>(backend))
    };
    Ok(rows::count_per_parent(&db.read, parents, select).await?)
}

/// What is selected of the links of the parent of [`rows::parent_key`].
fn of_parent<E: Table>(backend: DbBackend, selected: Expr) -> SelectStatement {
    let of_parent = Expr::col(E::Other::LINK).eq(rows::parent_key(backend));
    Query::select().expr(selected).from(hero_team_link::Entity).and_where(of_parent).take()
}

/// The rows that are linked to the parent of [`rows::parent_key`].
fn linked<E: Table>(backend: DbBackend) -> Select<E> {
    // The first step leads from the parent to its links, which its key tells already.
    let steps = E::path().into_iter().skip(1);
    let select = steps.fold(E::find(), |select, step| select.join(JoinType::InnerJoin, step.rev()));
    select.filter(Expr::col((hero_team_link::Entity, E::Other::LINK)).eq(rows::parent_key(backend)))
}

fn filtered<E: Table>(backend: DbBackend, filter: &Filter, from: Select<E>) -> Select<E> {
    if filter.is_empty() { from } else { from.filter(filter.condition::<E>(backend)) }
}

fn counted<E: Table>(backend: DbBackend, filter: &Filter, from: Select<E>) -> SelectStatement {
    let mut select = filtered(backend, filter, from).into_query();
    select.clear_selects().expr(Expr::col((E::default(), E::KEY)).count());
    select
}

/// The part of the list of all rows, or of those that are linked to a parent.
fn select<E: Table>(backend: DbBackend, query: &ListQuery, linked: Option<Select<E>>) -> SelectStatement {
    let is_linked = linked.is_some();
    let mut select = filtered(backend, &query.filter, linked.unwrap_or_else(E::find)).into_query();
    if query.is_counted() {
        select.expr_as(linked_count::<E>(), LINKED);
    }
    select_part::<E>(&mut select, query, is_linked);
    select
}

/// Leaves the wanted part of a statement that selects a whole list, or all links to its rows.
fn select_part<E: Table>(select: &mut SelectStatement, query: &ListQuery, is_linked: bool) {
    match &query.slice {
        Slice::Offset { limit, offset } => {
            select.limit(*limit).offset(*offset);
        }
        Slice::Keyset { after, before, limit, .. } => {
            if let Some(bound) = after {
                select.and_where(behind::<E>(&query.order, bound));
            }
            if let Some(bound) = before {
                select.and_where(behind::<E>(&query.reversed_order(), bound));
            }
            // One row more than is wanted tells whether there are more.
            select.limit(limit + 1);
        }
    }
    for step in query.read_order() {
        step.apply::<E>(select, is_linked);
    }
}

impl ListQuery {
    /// Whether the links of a parent alone tell which rows are wanted.
    fn is_of_links<E: Table>(&self) -> bool {
        let is_unbounded = matches!(self.slice, Slice::Offset { .. } | Slice::Keyset { after: None, before: None, .. });
        let is_by_key = matches!(self.order[..], [step] if step.by == Order::by_key::<E>(false).by);
        self.filter.is_empty() && is_unbounded && is_by_key
    }

    /// The order in which the rows are read: the opposite one where the last of them are wanted.
    fn read_order(&self) -> Vec<Order> {
        if let Slice::Keyset { last: true, .. } = self.slice { self.reversed_order() } else { self.order.clone() }
    }

    fn reversed_order(&self) -> Vec<Order> {
        self.order.iter().map(|step| step.reversed()).collect()
    }

    /// Whether the number of linked rows is a step of the order.
    fn is_counted(&self) -> bool {
        self.order.iter().any(|step| step.by == OrderBy::Linked)
    }
}

impl Slice {
    fn cut<M>(&self, mut rows: Vec<Row<M>>) -> Rows<M> {
        let Self::Keyset { limit, last, .. } = self else {
            return Rows { rows, has_more: false };
        };
        let limit = usize::try_from(*limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        if *last {
            rows.reverse();
        }
        Rows { rows, has_more }
    }
}
