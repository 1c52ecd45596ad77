//! Rows that are deleted, with their links.

use std::collections::HashMap;

use sea_orm::{
    ConnectionTrait, DbBackend, Order,
    sea_query::{Expr, Query},
};
use tracing::Instrument as _;

use super::{
    Row,
    dialect::{self, columns, key},
    event,
};
use crate::{
    db::{Db, StoreError, Transaction, WriterTurn},
    schema::Entity,
};

/// Rows that are about to be deleted. Until [`PendingDelete::commit`] everybody reads them, and nobody can change them
/// or link to them. When it is dropped, they stay.
#[derive(Debug)]
pub struct PendingDelete {
    db: Db,
    txn: Transaction,
    entity: &'static Entity,
    keys: Vec<i64>,
    rows: HashMap<i64, Row>,
    precedence: WriterTurn,
}

impl PendingDelete {
    /// Locks the rows with these keys for deletion, in the n-th attempt at it.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] when one does not exist, [`StoreError::Timeout`] at the deadline of the request, or
    /// what the database says.
    pub async fn begin(db: &Db, entity: &'static Entity, keys: &[i64], attempt: u32) -> Result<Self, StoreError> {
        let precedence = db.precedence(attempt).await?;
        let txn = db.write.begin().await?;
        let backend = txn.get_database_backend();
        let mut select = Query::select();
        select.columns(columns(entity)).from(entity.table());
        select.and_where(dialect::is_in(backend, Expr::col(key(entity)), keys));
        if backend == DbBackend::Postgres {
            // SQLite has locked the whole database by now.
            select.order_by(key(entity), Order::Asc).lock_exclusive();
        }
        let rows = dialect::rows(&txn, entity, select, 0).await?;
        let rows: HashMap<i64, Row> = rows.into_iter().map(|row| (row.key(), row)).collect();
        let missing: Vec<i64> = keys.iter().copied().filter(|key| !rows.contains_key(key)).collect();
        if !missing.is_empty() {
            return Err(StoreError::NotFound { keys: missing, related: Vec::new() });
        }
        Ok(Self { db: db.clone(), txn, entity, keys: keys.to_vec(), rows, precedence })
    }

    /// Gives the rows, in the order of their keys as they were asked for. A key that came twice has its row once.
    pub fn take_rows(&mut self) -> Vec<Row> {
        self.keys.iter().filter_map(|key| self.rows.remove(key)).collect()
    }

    /// Deletes the rows, and their links with them. Once called it runs to its end, also when the client has gone.
    ///
    /// # Errors
    ///
    /// [`StoreError::Timeout`] at the deadline of the request, or what the database says. The rows stay then.
    pub async fn commit(self) -> Result<(), StoreError> {
        let Self { db, txn, entity, keys, precedence, .. } = self;
        let work = async move {
            let mut delete = Query::delete();
            let is_wanted = dialect::is_in(txn.get_database_backend(), Expr::col(entity.key.name()), &keys);
            delete.from_table(entity.table()).and_where(is_wanted);
            let deleted = async {
                if db.writes_events() {
                    event::write_deleted(&txn, entity, &keys.iter().copied().collect()).await?;
                }
                txn.execute(&delete).await?;
                Ok(txn.commit().await?)
            };
            let deleted = deleted.await;
            drop(precedence);
            db.written(deleted)
        };
        tokio::spawn(work.in_current_span()).await?
    }
}
