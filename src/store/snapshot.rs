//! All rows, as they are at one moment.

use std::vec;

use sea_orm::{
    ConnectionTrait, DbErr, DynIden, QueryResult,
    sea_query::{Expr, ExprTrait, Query},
};

use super::{
    Filter, Row,
    dialect::{self, columns, key},
};
use crate::{
    db::{Db, StoreError, Transaction},
    schema::{Entity, Link},
};

/// The database as it is at one moment, for as long as this is kept.
#[derive(Debug)]
pub struct Snapshot(Transaction);

impl Snapshot {
    /// The database as it is now.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn new(db: &Db) -> Result<Self, StoreError> {
        Ok(Self(db.snapshot().await?))
    }

    /// The first rows with greater keys than `after` that match a filter, in the order of their keys.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn rows(
        &self,
        entity: &'static Entity,
        filter: &Filter,
        after: i64,
        limit: u64,
    ) -> Result<Vec<Row>, StoreError> {
        let mut select = Query::select();
        select
            .columns(columns(entity))
            .from(entity.table())
            .and_where(Expr::col(key(entity)).gt(after))
            .cond_where(filter.condition(entity, self.0.get_database_backend()))
            .order_by(key(entity), sea_orm::Order::Asc)
            .limit(limit);
        Ok(dialect::rows(&self.0, entity, select, 0).await?)
    }

    /// The first links after one of them, as pairs of two of their columns, in the order of these. With a filter both
    /// ends are rows of an entity that match it.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn links(
        &self,
        link: &Link,
        columns: [&DynIden; 2],
        ends: Option<(&'static Entity, &Filter)>,
        after: [i64; 2],
        limit: u64,
    ) -> Result<Vec<[i64; 2]>, StoreError> {
        let pair = Expr::tuple(columns.map(|column| Expr::col(column.clone())));
        let mut select = Query::select();
        select
            .columns(columns.map(DynIden::clone))
            .from(link.table.clone())
            .and_where(pair.gt(Expr::tuple(after.map(Expr::val))))
            .limit(limit);
        for column in columns {
            select.order_by(column.clone(), sea_orm::Order::Asc);
            if let Some((entity, filter)) = ends {
                let mut keys = Query::select();
                keys.column(key(entity)).from(entity.table());
                keys.cond_where(filter.condition(entity, self.0.get_database_backend()));
                select.and_where(Expr::col(column.clone()).in_subquery(keys));
            }
        }
        let rows = self.0.query_all(&select).await?;
        // The values of a row of SQLite are sorted by the names of their columns.
        let [first, second] = columns.map(DynIden::inner);
        let pair = |row: &QueryResult| Ok::<_, DbErr>([row.try_get("", &first)?, row.try_get("", &second)?]);
        Ok(rows.iter().map(pair).collect::<Result<_, _>>()?)
    }
}

/// The links of one row after another, in the order of their keys. A statement reads many links, whatever rows they
/// belong to.
#[derive(Debug)]
pub struct LinkReader<'s> {
    snapshot: &'s Snapshot,
    link: &'static Link,
    limit: u64,
    /// The keys of rows of the near side and of those that they are linked to.
    links: vec::IntoIter<[i64; 2]>,
    /// The last link that was read.
    last: [i64; 2],
    is_at_end: bool,
}

impl<'s> LinkReader<'s> {
    /// The links of the rows of the near side. A statement reads so many of them.
    #[must_use]
    pub fn new(snapshot: &'s Snapshot, link: &'static Link, limit: u64) -> Self {
        Self { snapshot, link, limit, links: Vec::new().into_iter(), last: [i64::MIN; 2], is_at_end: false }
    }

    /// The key of the next row that the one with a key is linked to. The links of rows before that are passed over.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn next_of(&mut self, key: i64) -> Result<Option<i64>, StoreError> {
        loop {
            match self.links.as_slice().first() {
                Some([near, _]) if *near < key => drop(self.links.next()),
                Some([near, _]) if *near > key => return Ok(None),
                Some(_) => return Ok(self.links.next().map(|[_, far]| far)),
                None if self.is_at_end => return Ok(None),
                None => {
                    let columns = [&self.link.near, &self.link.far];
                    let after = self.last.max([key.saturating_sub(1), i64::MAX]);
                    let links = self.snapshot.links(self.link, columns, None, after, self.limit).await?;
                    self.is_at_end = (links.len() as u64) < self.limit;
                    self.last = links.last().copied().unwrap_or(after);
                    self.links = links.into_iter();
                }
            }
        }
    }
}
