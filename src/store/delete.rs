//! Rows that are deleted, with their links.

use std::collections::{BTreeSet, HashMap};

use sea_orm::{
    ConnectionTrait,
    sea_query::{Expr, Query},
};
use tracing::Instrument as _;

use super::{Row, dialect, event};
use crate::{
    db::{Db, StoreError, Transaction, WriterTurn},
    schema::Entity,
};

/// Rows that are deleted in a transaction of their own, with their links. Until [`PendingDelete::commit`] everybody
/// else reads them, and nobody can change them or link to them. When it is dropped, they stay.
#[derive(Debug)]
pub struct PendingDelete {
    db: Db,
    txn: Transaction,
    keys: Vec<i64>,
    rows: HashMap<i64, Row>,
    precedence: WriterTurn,
}

impl PendingDelete {
    /// Deletes the rows with these keys, in the n-th attempt at it.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] when one does not exist, [`StoreError::Timeout`] at the deadline of the request, or
    /// what the database says.
    pub async fn begin(db: &Db, entity: &'static Entity, keys: &[i64], attempt: u32) -> Result<Self, StoreError> {
        let precedence = db.precedence(attempt).await?;
        let txn = db.begin().await?;
        let wanted: BTreeSet<i64> = keys.iter().copied().collect();
        if db.writes_events() {
            // They tell which links exist, so they come first.
            event::write_deleted(&txn, entity, &wanted).await?;
        }
        let backend = txn.get_database_backend();
        let wanted: Vec<i64> = wanted.into_iter().collect();
        let mut delete = Query::delete();
        delete.from_table(entity.table()).and_where(dialect::is_in(backend, Expr::col(entity.key.name()), &wanted));
        delete.returning(dialect::returning(backend, entity));
        let rows = dialect::returned_rows(&txn, entity, &delete).await?;
        let rows: HashMap<i64, Row> = rows.into_iter().map(|row| (row.key(), row)).collect();
        let missing: Vec<i64> = keys.iter().copied().filter(|key| !rows.contains_key(key)).collect();
        if !missing.is_empty() {
            return Err(StoreError::NotFound { keys: missing, related: Vec::new() });
        }
        Ok(Self { db: db.clone(), txn, keys: keys.to_vec(), rows, precedence })
    }

    /// Gives the rows, in the order of their keys as they were asked for. A key that came twice has its row once.
    pub fn take_rows(&mut self) -> Vec<Row> {
        self.keys.iter().filter_map(|key| self.rows.remove(key)).collect()
    }

    /// Commits. Once called it runs to its end, also when the client has gone.
    ///
    /// # Errors
    ///
    /// [`StoreError::Timeout`] at the deadline of the request, or what the database says. The rows stay then.
    pub async fn commit(self) -> Result<(), StoreError> {
        let Self { db, txn, precedence, .. } = self;
        let work = async move {
            let committed = txn.commit().await;
            drop(precedence);
            db.note_writability(committed.map_err(StoreError::from))
        };
        tokio::spawn(work.in_current_span()).await?
    }
}
