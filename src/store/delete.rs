//! Rows that are deleted, with their links.

use std::collections::HashMap;

use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, Order, QueryFilter, QueryTrait,
    sea_query::{Expr, Query},
};
use tokio::sync::OwnedRwLockReadGuard;

use super::{Db, StoreError, Table, begin, rows};

/// Rows that are about to be deleted. Until [`Deletion::commit`] everybody reads them, and nobody can link or change them.
#[derive(Debug)]
pub struct Deletion<E: Table> {
    txn: DatabaseTransaction,
    keys: Vec<i64>,
    rows: HashMap<i64, E::Model>,
    _shared: OwnedRwLockReadGuard<()>,
}

impl<E: Table> Deletion<E> {
    /// Takes the rows with these keys for deletion.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] when one is not there, or what the database says.
    pub async fn begin(db: &Db, keys: &[i64]) -> Result<Self, StoreError> {
        let shared = db.precedence.clone().read_owned().await;
        let write = db.write.clone();
        // A task of its own, as in `Db::write`: a BEGIN must not be dropped half-way.
        let txn = tokio::spawn(async move { begin(&write).await });
        let txn = txn.await??;
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
        Ok(Self { txn, keys: keys.to_vec(), rows, _shared: shared })
    }

    /// Gives the rows, in the order of their keys as they were asked for. A key that came twice has its row once.
    pub fn take_rows(&mut self) -> Vec<E::Model> {
        self.keys.iter().filter_map(|key| self.rows.remove(key)).collect()
    }

    /// Deletes the rows. Their links go with them.
    ///
    /// # Errors
    ///
    /// What the database says.
    pub async fn commit(self) -> Result<(), StoreError> {
        let mut delete = Query::delete();
        let is_wanted = rows::is_in(self.txn.get_database_backend(), Expr::col(E::KEY), &self.keys);
        delete.from_table(E::default()).and_where(is_wanted);
        self.txn.execute(&delete).await?;
        Ok(self.txn.commit().await?)
    }
}
