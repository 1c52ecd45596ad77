//! Rows that are deleted, with their links.

use std::collections::HashMap;

use super::{Db, StoreError, Table, Transaction, rows, write::Precedence};
use sea_orm::{
    ConnectionTrait, DbBackend, Order, QueryFilter, QueryTrait,
    sea_query::{Expr, Query},
};
use tracing::Instrument as _;

/// Rows that are about to be deleted. Until [`Deletion::commit`] everybody reads them, and nobody can change them or
/// link to them. When it is dropped, they stay.
#[derive(Debug)]
pub struct Deletion<E: Table> {
    db: Db,
    txn: Transaction,
    keys: Vec<i64>,
    rows: HashMap<i64, E::Model>,
    precedence: Precedence,
}

impl<E: Table> Deletion<E> {
    /// Takes the rows with these keys for deletion, in the n-th attempt at it.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] when one is not there, [`StoreError::Timeout`] at the deadline of the request, or what the
    /// database says.
    pub async fn begin(db: &Db, keys: &[i64], attempt: u32) -> Result<Self, StoreError> {
        let precedence = db.precedence(attempt).await?;
        let txn = db.write.begin().await?;
        let mut select =
            E::find().filter(rows::is_in(txn.get_database_backend(), Expr::col(E::KEY), keys)).into_query();
        if txn.get_database_backend() == DbBackend::Postgres {
            // SQLite has locked the whole database by now.
            select.order_by(E::KEY, Order::Asc).lock_exclusive();
        }
        let rows: HashMap<i64, E::Model> =
            rows::all::<E>(&txn, select).await?.into_iter().map(|row| (E::key(&row), row)).collect();
        let missing: Vec<i64> = keys.iter().copied().filter(|key| !rows.contains_key(key)).collect();
        if !missing.is_empty() {
            return Err(StoreError::NotFound { keys: missing, linked: Vec::new() });
        }
        Ok(Self { db: db.clone(), txn, keys: keys.to_vec(), rows, precedence })
    }

    /// Gives the rows, in the order of their keys as they were asked for. A key that came twice has its row once.
    pub fn take_rows(&mut self) -> Vec<E::Model> {
        self.keys.iter().filter_map(|key| self.rows.remove(key)).collect()
    }

    /// Deletes the rows. Their links go with them. Once called it runs to its end, also when the client has gone.
    ///
    /// # Errors
    ///
    /// [`StoreError::Timeout`] at the deadline of the request, or what the database says. The rows stay then.
    pub async fn commit(self) -> Result<(), StoreError> {
        let Self { db, txn, keys, precedence, .. } = self;
        let work = async move {
            let mut delete = Query::delete();
            let is_wanted = rows::is_in(txn.get_database_backend(), Expr::col(E::KEY), &keys);
            delete.from_table(E::default()).and_where(is_wanted);
            let deleted = match txn.execute(&delete).await {
                Ok(_) => txn.commit().await,
                Err(error) => Err(error),
            };
            drop(precedence);
            db.written(deleted.map_err(StoreError::from))
        };
        tokio::spawn(work.in_current_span()).await?
    }
}
