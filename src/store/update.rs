//! Changes of rows, with instructions for their links.

use std::{collections::HashMap, sync::Arc};

use sea_orm::{
    ConnectionTrait, DynIden,
    sea_query::{Expr, ExprTrait, IntoIden, Query},
};

use super::{
    Relate, Row,
    dialect::{self, key},
    event::Outbox,
    insert::{Values, names},
    relate::{self, missing_related},
    row::Scalar,
};
use crate::{
    db::{StoreError, Transaction, UnitOfWork},
    schema::{Entity, Scopes},
};

/// A row, what is to change of it, and what it is to be linked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The primary key of the row.
    pub key: i64,
    /// The new value of each column, in the order of the entity; none where the old one stays.
    pub values: Vec<Option<Scalar>>,
    /// What is to change along each relation of its entity, in their order.
    pub related: Vec<Relate>,
}

/// Changes rows of an entity, creates the rows nested in them, and unlinks and links.
///
/// One statement looks up and one changes the rows, and at most three look up and four write for each relation,
/// whatever the number of rows. The output has the rows in the order of `changes`. No key may come twice.
///
/// It fails with [`StoreError::NotFound`] when rows to change, or to be linked to, do not exist.
#[derive(Debug)]
pub struct Update {
    /// What the rows are.
    pub entity: &'static Entity,
    /// The rows and their changes.
    pub changes: Arc<[Change]>,
    /// What the one who writes may do. A value of a column that may not be read is written, and noted in the event,
    /// also when it is the one that the row has: otherwise it could be guessed.
    pub granted: Scopes,
    /// Whether its events are written.
    pub events: bool,
}

const NEW: &str = "new";

impl UnitOfWork for Update {
    type Output = Vec<Row>;

    async fn run(&self, txn: &Transaction, _attempt: u32) -> Result<Self::Output, StoreError> {
        let Self { entity, changes, events, .. } = self;
        let keys: Vec<i64> = changes.iter().map(|change| change.key).collect();
        let related: Vec<&[Relate]> = changes.iter().map(|change| &change.related[..]).collect();
        let rows = dialect::by_keys(txn, entity, &keys).await?;
        let mut rows: HashMap<i64, Row> = rows.into_iter().map(|row| (row.key(), row)).collect();
        let missing: Vec<i64> = keys.iter().copied().filter(|key| !rows.contains_key(key)).collect();
        let missing_related = missing_related(txn, entity, &related).await?;
        if !missing.is_empty() || missing_related.iter().any(|keys| !keys.is_empty()) {
            return Err(StoreError::NotFound { keys: missing, related: missing_related });
        }

        let mut outbox = Outbox::new(*events);
        let targets = relate::targets(txn, entity, &related, &mut outbox).await?;
        let updated = self.update(txn, &rows, &mut outbox).await?;
        rows.extend(updated.into_iter().map(|row| (row.key(), row)));
        relate::link(txn, &keys, &targets, false, &mut outbox).await?;
        outbox.write(txn).await?;
        Ok(keys.iter().filter_map(|key| rows.remove(key)).collect())
    }
}

impl Update {
    /// Updates the rows that are not yet as they should be, or may not be known to be, in one statement.
    async fn update(
        &self,
        txn: &Transaction,
        rows: &HashMap<i64, Row>,
        outbox: &mut Outbox,
    ) -> Result<Vec<Row>, StoreError> {
        let entity = self.entity;
        let changed = self.changes.iter().filter_map(|change| {
            let old = rows.get(&change.key)?.values(entity);
            let new: Values =
                change.values.iter().zip(&old).map(|(new, old)| new.as_ref().unwrap_or(old).clone()).collect();
            let given = entity.columns.iter().zip(change.values.iter().zip(&old));
            let changed = given.filter(|(column, (new, old))| {
                let is_hidden = column.requires.is_some_and(|scope| !self.granted.allow(scope));
                new.as_ref().is_some_and(|new| is_hidden || new != *old)
            });
            let changed: Vec<&str> = changed.map(|(column, _)| column.name()).collect();
            if changed.is_empty() {
                return None;
            }
            outbox.updated(entity, change.key, &changed);
            Some([vec![Scalar::Int(change.key)], new].concat())
        });
        let changed: Vec<Values> = changed.collect();
        if changed.is_empty() {
            return Ok(Vec::new());
        }
        let backend = txn.get_database_backend();
        let columns: Vec<DynIden> = std::iter::once(entity.key.name().into_iden()).chain(names(entity)).collect();
        let records = dialect::records(backend, entity.table(), &columns, changed.iter().map(|values| &values[..]))?;
        let mut update = Query::update();
        update
            .table(entity.table())
            .from(dialect::subquery(records, NEW))
            .values(names(entity).into_iter().map(|column| (column.clone(), Expr::col((NEW, column)))))
            .and_where(Expr::col(key(entity)).equals((NEW, entity.key.name())))
            .returning(dialect::returning(backend, entity));
        Ok(dialect::returned_rows(txn, entity, &update).await?)
    }
}
