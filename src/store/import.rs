//! New rows in batches, each of which is a transaction that notes how far it has come.

use std::{collections::HashMap, sync::Arc};

use entity::import_batch::{ActiveModel, Column, Entity as ImportBatches, Model};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, IntoActiveModel as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use super::{
    event::Outbox,
    insert::Values,
    key_map::KeyMap,
    links::{self, Pairs},
    relate::{Keys, connect_or_create},
};
use crate::{
    db::{Db, StoreError, Transaction, UnitOfWork},
    schema::{Entity, Link},
};

/// The keys that the ids of a file have become, by the names of the entities.
pub type ImportedKeys = HashMap<&'static str, KeyMap>;

/// Records that are written in one transaction.
#[derive(Debug)]
pub struct ImportBatch {
    /// The files, by what they hold.
    pub file: Arc<str>,
    /// The number of records of the files before the batch: those that were written so far.
    pub done: i64,
    /// The number of records of the files up to the end of the batch.
    pub records: i64,
    /// The objects.
    pub objects: Arc<[NewObject]>,
    /// The links.
    pub links: Arc<[NewLink]>,
    /// Whether an object is the oldest row with exactly its values, if there is one.
    pub connects: bool,
    /// Whether its events are written.
    pub events: bool,
}

/// An object of a batch.
#[derive(Debug)]
pub struct NewObject {
    pub entity: &'static Entity,
    /// Its id in the file.
    pub id: Option<i64>,
    pub values: Values,
}

/// A link of a batch, with its ends in the order of [`Link::columns`].
#[derive(Debug)]
pub struct NewLink {
    pub link: &'static Link,
    pub ends: [End; 2],
}

/// What a link leads to.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// A row that exists.
    Row(i64),
    /// An object of the batch, by its place.
    New(usize),
}

/// What a batch has come to.
#[derive(Debug)]
pub struct ImportedBatch {
    /// The keys of the objects, in their order.
    pub keys: Vec<i64>,
    /// How many of them were created.
    pub created: u64,
}

impl UnitOfWork for ImportBatch {
    /// None, and nothing is written, if another import of the file has written meanwhile.
    type Output = Option<ImportedBatch>;

    async fn run(&self, txn: &Transaction, _attempt: u32) -> Result<Self::Output, StoreError> {
        if done(txn, &self.file).await?.unwrap_or_default() != self.done {
            return Ok(None);
        }
        let mut outbox = Outbox::new(self.events);
        let mut imported = ImportedBatch { keys: vec![0; self.objects.len()], created: 0 };
        let mut entities: Vec<&'static Entity> = self.objects.iter().map(|object| object.entity).collect();
        entities.sort_unstable_by_key(|entity| entity.name);
        entities.dedup();
        for entity in entities {
            self.write_objects(txn, entity, &mut imported, &mut outbox).await?;
        }
        let mut links: Vec<(&'static Link, Pairs)> = Vec::new();
        for NewLink { link, ends } in &*self.links {
            let pair = ends.map(|end| match end {
                End::Row(key) => key,
                End::New(place) => imported.keys[place],
            });
            match links.iter_mut().find(|(other, _)| other.table == link.table) {
                Some((_, pairs)) => drop(pairs.insert(pair)),
                None => links.push((*link, Pairs::from([pair]))),
            }
        }
        for (link, pairs) in &links {
            let linked = links::insert(txn, link, pairs, outbox.is_on()).await?;
            outbox.linked(link, &Pairs::new(), &linked);
        }
        outbox.write(txn).await?;
        let batch =
            Model { file: self.file.to_string(), records: self.records, keys: self.keys_as_json(&imported.keys)? };
        ImportBatches::insert(batch.into_active_model()).exec_without_returning(txn).await?;
        Ok(Some(imported))
    }
}

impl ImportBatch {
    async fn write_objects(
        &self,
        txn: &Transaction,
        entity: &'static Entity,
        imported: &mut ImportedBatch,
        outbox: &mut Outbox,
    ) -> Result<(), StoreError> {
        let (places, values): (Vec<usize>, Vec<&Values>) = {
            let objects = self.objects.iter().enumerate().filter(|(_, object)| object.entity == entity);
            objects.map(|(place, object)| (place, &object.values)).unzip()
        };
        let (wanted, new) = if self.connects { (&values[..], &[][..]) } else { (&[][..], &values[..]) };
        let (wanted, new) = (wanted.iter().copied(), new.iter().copied());
        let Keys { found, created, missing } = connect_or_create(txn, entity, wanted, new, outbox).await?;
        imported.created += (missing + created.len()) as u64;
        let keys: Vec<Option<i64>> = if self.connects {
            values.iter().map(|values| found.get(*values).copied()).collect()
        } else {
            created.into_iter().map(Some).collect()
        };
        for (place, key) in places.into_iter().zip(keys) {
            imported.keys[place] = key.unwrap_or_default();
        }
        Ok(())
    }

    fn keys_as_json(&self, keys: &[i64]) -> Result<String, StoreError> {
        let mut by_entity: HashMap<&str, KeyMap> = HashMap::new();
        for (object, key) in self.objects.iter().zip(keys) {
            if let Some(id) = object.id {
                by_entity.entry(object.entity.name).or_default().insert(id, *key);
            }
        }
        let runs =
            by_entity.iter().flat_map(|(name, map)| map.runs().map(move |(id, key, length)| (name, id, key, length)));
        serde_json::to_string(&runs.collect::<Vec<_>>()).map_err(|error| DbErr::Json(error.to_string()).into())
    }
}

/// How far the last import of a file has come: how many of its records were written, and the keys of their objects,
/// which are forgotten at its end. None if there was none.
///
/// # Errors
///
/// When the database does not answer.
pub async fn last_import(
    db: &Db,
    entities: &[&'static Entity],
    file: &str,
) -> Result<Option<(i64, ImportedKeys)>, StoreError> {
    let batches = ImportBatches::find().filter(Column::File.eq(file)).order_by_asc(Column::Records);
    let batches = batches.all(&db.read).await?;
    let Some(last) = batches.last() else { return Ok(None) };
    let mut keys = ImportedKeys::new();
    for batch in &batches {
        let runs: Vec<(String, i64, i64, i64)> =
            serde_json::from_str(&batch.keys).map_err(|error| DbErr::Json(error.to_string()))?;
        for (name, id, key, length) in runs {
            if let Some(entity) = entities.iter().find(|entity| entity.name == name) {
                keys.entry(entity.name).or_default().insert_run(id, key, length);
            }
        }
    }
    Ok(Some((last.records, keys)))
}

/// How many records of a file were written.
async fn done(db: &impl ConnectionTrait, file: &str) -> Result<Option<i64>, DbErr> {
    let last = ImportBatches::find().select_only().column(Column::Records).filter(Column::File.eq(file));
    last.order_by_desc(Column::Records).into_tuple().one(db).await
}

/// Forgets how far the import of a file has come, which is so many records. What was written stays. Gives whether it
/// has come so far, and no further.
///
/// # Errors
///
/// When the database does not answer.
pub async fn forget_import(db: &Db, file: Arc<str>, records: i64) -> Result<bool, StoreError> {
    db.write(Forget { file, records, is_finished: false }).await
}

/// Notes that the import of a file with so many records has come to its end. Gives whether it has.
///
/// # Errors
///
/// When the database does not answer.
pub async fn finish_import(db: &Db, file: Arc<str>, records: i64) -> Result<bool, StoreError> {
    db.write(Forget { file, records, is_finished: true }).await
}

/// Forgets the batches of an import that has written so many records, or all but that it is finished.
struct Forget {
    file: Arc<str>,
    records: i64,
    is_finished: bool,
}

impl UnitOfWork for Forget {
    type Output = bool;

    async fn run(&self, txn: &Transaction, _attempt: u32) -> Result<bool, StoreError> {
        if done(txn, &self.file).await?.unwrap_or_default() != self.records {
            return Ok(false);
        }
        let of_file = Column::File.eq(&*self.file);
        let mut forgotten = ImportBatches::delete_many().filter(of_file.clone());
        if self.is_finished {
            forgotten = forgotten.filter(Column::Records.lt(self.records));
            let keys = ActiveModel { keys: Set("[]".to_owned()), ..Default::default() };
            ImportBatches::update_many().set(keys).filter(of_file).exec(txn).await?;
        }
        forgotten.exec(txn).await?;
        Ok(true)
    }
}
