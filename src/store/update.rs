//! Changes of rows, with instructions for their links. One piece of code for both sides.

use std::{collections::HashMap, sync::Arc};

use sea_orm::{
    ConnectionTrait, EntityTrait,
    sea_query::{Alias, Expr, ExprTrait, Query},
};
use serde::Serialize;

use super::{
    NewRow, Relate, StoreError, Table, Transaction, UnitOfWork,
    relate::{self, missing},
    rows,
};

/// New values for some of the columns of a row.
pub trait Changes: Send + Sync + 'static {
    type Row: NewRow;

    /// Puts the new values in the place of the old ones.
    fn apply(&self, row: &mut Self::Row);
}

/// A row, what is to change of it, and what it is to be linked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<C, R> {
    pub key: i64,
    pub changes: C,
    pub related: Relate<R>,
}

/// Changes rows on one side of the memberships, makes the nested rows on the other, and unlinks and links.
///
/// At most three statements look up and five write, whatever the number of rows. The output has the rows in the order of
/// `changes`. No key may come twice.
///
/// It fails with [`StoreError::NotFound`] when rows to change, or to be linked to, are not there.
#[derive(Debug)]
pub struct Update<C, R> {
    pub changes: Arc<[Change<C, R>]>,
}

/// A row with its key, as a record.
#[derive(Serialize)]
struct Keyed<'a, N> {
    id: i64,
    #[serde(flatten)]
    row: &'a N,
}

impl<C, R> UnitOfWork for Update<C, R>
where
    C: Changes<Row: NewRow<Entity = <R::Entity as Table>::Other>>,
    R: NewRow,
{
    type Output = Vec<<<C::Row as NewRow>::Entity as EntityTrait>::Model>;

    async fn run(&self, txn: &Transaction, _attempt: u32) -> Result<Self::Output, StoreError> {
        let keys: Vec<i64> = self.changes.iter().map(|change| change.key).collect();
        let related: Vec<_> = self.changes.iter().map(|change| &change.related).collect();
        let rows = rows::models::<<C::Row as NewRow>::Entity>(txn, &keys).await?;
        let mut rows: HashMap<i64, _> =
            rows.into_iter().map(|row| (<C::Row as NewRow>::Entity::key(&row), row)).collect();
        let missing_keys: Vec<i64> = keys.iter().copied().filter(|key| !rows.contains_key(key)).collect();
        let linked = missing::<R::Entity>(txn, related.iter().flat_map(|related| related.keys()).collect()).await?;
        if !missing_keys.is_empty() || !linked.is_empty() {
            return Err(StoreError::NotFound { keys: missing_keys, linked });
        }

        let targets = relate::targets(txn, &related).await?;
        rows.extend(self.update(txn, &rows).await?);
        relate::link::<<C::Row as NewRow>::Entity, R>(txn, &keys, &related, targets).await?;
        Ok(keys.iter().filter_map(|key| rows.remove(key)).collect())
    }
}

impl<C: Changes, R> Update<C, R> {
    /// Updates the rows that are not yet as they should be, in one statement.
    async fn update<E>(
        &self,
        txn: &Transaction,
        rows: &HashMap<i64, E::Model>,
    ) -> Result<HashMap<i64, E::Model>, StoreError>
    where
        E: Table,
        C::Row: NewRow<Entity = E>,
    {
        let changed: Vec<(i64, C::Row)> = self
            .changes
            .iter()
            .filter_map(|Change { key, changes, .. }| {
                let old = C::Row::of(rows.get(key)?);
                let mut new = old.clone();
                changes.apply(&mut new);
                (new != old).then_some((*key, new))
            })
            .collect();
        if changed.is_empty() {
            return Ok(HashMap::new());
        }
        let new = Alias::new("new");
        let records: Vec<_> = changed.iter().map(|(id, row)| Keyed { id: *id, row }).collect();
        let columns: Vec<_> = std::iter::once(E::KEY).chain(C::Row::COLUMNS.iter().copied()).collect();
        let records = rows::records::<E>(txn.get_database_backend(), &records, &columns)?;
        let mut update = Query::update();
        update
            .table(E::default())
            .from(rows::subquery(records, new.clone()))
            .values(C::Row::COLUMNS.iter().map(|column| (*column, Expr::col((new.clone(), *column)))))
            .and_where(Expr::col((E::default(), E::KEY)).equals((new, E::KEY)))
            .returning(rows::returning::<E>(txn.get_database_backend()));
        let updated = rows::written::<E>(txn, &update).await?;
        Ok(updated.into_iter().map(|row| (E::key(&row), row)).collect())
    }
}
