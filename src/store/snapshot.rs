//! All rows, as they are at one moment.

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

    /// The keys of the rows that those with these keys are linked to: pairs of one of `keys` and of the other row, in
    /// their order.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn links_of(&self, link: &Link, keys: &[i64]) -> Result<Vec<[i64; 2]>, StoreError> {
        let near = dialect::is_in(self.0.get_database_backend(), Expr::col(link.near.clone()), keys);
        let mut select = Query::select();
        select.and_where(near);
        self.pairs(select, link, [&link.near, &link.far]).await
    }

    /// The first links after one of them, in the order of [`Link::columns`].
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn links(&self, link: &Link, after: [i64; 2], limit: u64) -> Result<Vec<[i64; 2]>, StoreError> {
        let columns = link.columns();
        let pair = Expr::tuple(columns.map(|column| Expr::col(column.clone())));
        let mut select = Query::select();
        select.and_where(pair.gt(Expr::tuple(after.map(Expr::val)))).limit(limit);
        self.pairs(select, link, columns).await
    }

    async fn pairs(
        &self,
        mut select: sea_orm::sea_query::SelectStatement,
        link: &Link,
        columns: [&DynIden; 2],
    ) -> Result<Vec<[i64; 2]>, StoreError> {
        select.columns(columns.map(DynIden::clone)).from(link.table.clone());
        for column in columns {
            select.order_by(column.clone(), sea_orm::Order::Asc);
        }
        let rows = self.0.query_all(&select).await?;
        let pair = |row: &QueryResult| Ok::<_, DbErr>([row.try_get_by_index(0)?, row.try_get_by_index(1)?]);
        Ok(rows.iter().map(pair).collect::<Result<_, _>>()?)
    }
}
