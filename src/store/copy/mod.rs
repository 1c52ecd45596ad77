//! Everything from another database: of this program, on SQLite or PostgreSQL, or the file of the tutorial.

mod source;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use entity::api_key::{Column, Entity as ApiKeys};
use sea_orm::{
    ConnectionTrait, DbBackend, EntityTrait as _, QuerySelect as _, Statement,
    sea_query::{IntoIden as _, Query},
};

pub use self::source::CopySource;
use self::{
    source::{Raw, Read},
    table::Table,
};
use super::{KeyMap, Scalar, dialect};
use crate::{
    db::{Db, StoreError, Transaction},
    progress::Progress,
    schema::{Entity, Relation},
};

/// The greatest number of faults that are said one by one.
const MAX_FAULTS: u64 = 1_000;

/// The table of the API keys. A target that has some is as good as an empty one.
const API_KEYS: &str = "api_key";

/// What comes of a copy.
#[derive(Debug)]
pub enum Copied {
    /// All rows but those that were skipped.
    All { rows: u64, skipped: u64 },
    /// Nothing: so many rows are wrong.
    Wrong { rows: u64 },
    /// Nothing: the target has rows already.
    NotEmpty,
    /// Nothing: what was written is not what was read.
    Different { table: String },
}

/// Copies everything from another database into one that is empty, with all keys: all of it, or nothing. Rows that are
/// not possible here are logged one by one; if they are not skipped, nothing is copied.
///
/// # Errors
///
/// When one of the databases does not answer.
pub async fn copy(db: &Db, source: CopySource, skips: bool, progress: &mut Progress) -> Result<Copied, StoreError> {
    let txn = db.uncounted().begin().await?;
    let copied = copy_in(&txn, source, skips, progress).await?;
    // It is rolled back when it is dropped.
    if matches!(copied, Copied::All { .. }) {
        txn.commit().await?;
    }
    Ok(copied)
}

async fn copy_in(
    txn: &Transaction,
    source: CopySource,
    skips: bool,
    progress: &mut Progress,
) -> Result<Copied, StoreError> {
    let CopySource { tables, mut reads } = source;
    for table in tables.iter().filter(|table| table.name != API_KEYS) {
        if has_rows(txn, &table.name).await? {
            return Ok(Copied::NotEmpty);
        }
    }
    let mut sums_before = Vec::new();
    for table in &tables {
        sums_before.push(sums(txn, table).await?);
    }
    let api_keys = ApiKeys::find().select_only().column(Column::Id).into_tuple().all(txn).await?;
    let api_keys = api_keys.into_iter().collect();
    let mut copying = Copying { skips, keys: BTreeMap::new(), api_keys, last: Vec::new(), progress, wrong: 0 };
    let mut source_sums = Vec::new();
    while let Some(read) = reads.recv().await {
        match read? {
            Read::Rows(table, rows) => copying.write(txn, &tables[table], rows).await?,
            Read::Sums(sums) => source_sums = sums,
        }
    }
    let Copying { progress, wrong, .. } = copying;
    if wrong > 0 && !skips {
        return Ok(Copied::Wrong { rows: wrong });
    }
    for ((table, before), of_source) in tables.iter().zip(sums_before).zip(source_sums) {
        count_on(txn, table).await?;
        if wrong == 0 {
            let written = sums(txn, table).await?.into_iter().zip(before).map(|(after, before)| after - before);
            if written.collect::<Vec<_>>() != of_source {
                return Ok(Copied::Different { table: table.name.clone() });
            }
        }
    }
    Ok(Copied::All { rows: progress.finished(), skipped: wrong })
}

/// The tables, those first to which others refer.
fn tables(entities: &[&Entity]) -> Vec<Table> {
    let mut tables: Vec<Table> = entities.iter().map(|entity| Table::of_entity(entity)).collect();
    for Relation { link, .. } in entities.iter().flat_map(|entity| entity.relations) {
        let table = Table::of_link(link);
        if !tables.iter().any(|other| other.name == table.name) {
            tables.push(table);
        }
    }
    tables.push(Table::of_api_keys());
    tables
}

/// What is known while it goes on.
struct Copying<'a> {
    skips: bool,
    /// The keys of the rows that were copied, by tables.
    keys: BTreeMap<String, KeyMap>,
    /// The ids of the API keys of the target.
    api_keys: BTreeSet<String>,
    /// The primary key of the last row.
    last: Vec<Scalar>,
    progress: &'a mut Progress,
    wrong: u64,
}

impl Copying<'_> {
    async fn write(&mut self, txn: &Transaction, table: &Table, rows: Vec<Vec<Raw>>) -> Result<(), StoreError> {
        let mut right = Vec::with_capacity(rows.len());
        for row in rows {
            let key = table.key_of(&row);
            match table.checked(row, |table, key| self.has(table, key)).and_then(|row| self.first_of_key(table, row)) {
                Ok(row) => {
                    self.last = row[..table.keys()].to_vec();
                    if let (true, Some(Scalar::Int(key))) = (table.is_counted, row.first()) {
                        self.keys.entry(table.name.clone()).or_default().insert(*key, *key);
                    }
                    right.push(row);
                }
                Err(fault) => {
                    self.wrong += 1;
                    if self.wrong <= MAX_FAULTS {
                        let table = &table.source;
                        tracing::warn!(table, key, fault, "a row is not possible here");
                    }
                }
            }
        }
        if right.is_empty() || (self.wrong > 0 && !self.skips) {
            return Ok(());
        }
        let backend = txn.get_database_backend();
        let columns: Vec<_> = table.columns.iter().map(|column| column.name.clone().into_iden()).collect();
        let records = dialect::records(backend, &table.name, &columns, right.iter().map(|row| &row[..]))?;
        let mut insert = Query::insert();
        insert.into_table(table.name.clone()).columns(columns);
        insert.select_from(records).map_err(dialect::statement_error)?;
        txn.execute(&insert).await?;
        self.progress.add(right.len() as u64);
        Ok(())
    }

    /// A row whose key no other row has. Rows with the same key follow each other.
    fn first_of_key(&self, table: &Table, row: Vec<Scalar>) -> Result<Vec<Scalar>, String> {
        let keys = &row[..table.keys()];
        match &keys[0] {
            _ if *keys == self.last => Err("another row has the same key".to_owned()),
            Scalar::Text(id) if self.api_keys.contains(id) => Err("the database has an API key of this id".to_owned()),
            _ => Ok(row),
        }
    }

    fn has(&self, table: &str, key: i64) -> bool {
        self.keys.get(table).is_some_and(|keys| keys.contains(key))
    }
}

async fn has_rows(txn: &Transaction, table: &str) -> Result<bool, StoreError> {
    let sql = format!("SELECT 1 AS \"found\" FROM \"{table}\" LIMIT 1");
    Ok(txn.query_one_raw(Statement::from_string(txn.get_database_backend(), sql)).await?.is_some())
}

async fn sums(txn: &Transaction, table: &Table) -> Result<Vec<i64>, StoreError> {
    let backend = txn.get_database_backend();
    let sums = if backend == DbBackend::Postgres { table.sums_postgres() } else { table.sums_sqlite() };
    let named = sums.iter().enumerate().map(|(index, sum)| format!("{sum} AS \"s{index:02}\""));
    let sql = format!("SELECT {} FROM \"{}\"", named.collect::<Vec<_>>().join(", "), table.name);
    let row = txn.query_one_raw(Statement::from_string(backend, sql)).await?;
    let row = row.ok_or(StoreError::Database(sea_orm::DbErr::RecordNotFound(String::new())))?;
    let sum = |index| row.try_get::<i64>("", &format!("s{index:02}"));
    Ok((0..sums.len()).map(sum).collect::<Result<_, _>>()?)
}

/// Has PostgreSQL give keys after those that were copied. SQLite does so by itself.
async fn count_on(txn: &Transaction, table: &Table) -> Result<(), StoreError> {
    if table.is_counted && txn.get_database_backend() == DbBackend::Postgres {
        let (name, key) = (&table.name, &table.columns[0].name);
        let sequence = format!("pg_get_serial_sequence('\"{name}\"', '{key}')");
        let sql = format!("SELECT setval({sequence}, MAX(\"{key}\")) FROM \"{name}\" HAVING COUNT(*) > 0");
        txn.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    }
    Ok(())
}
