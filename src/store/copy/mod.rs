//! Everything from another database: of this program, on SQLite or PostgreSQL, or the file of the tutorial.

mod source;
mod table;

use std::collections::BTreeMap;

use sea_orm::{
    ConnectionTrait, DbBackend, Statement,
    sea_query::{IntoIden as _, Query},
};

use self::{
    source::{Raw, Read},
    table::{Column, Table},
};
use super::{KeyMap, Scalar, dialect};
use crate::{
    db::{DatabaseUrl, Db, StoreError, Transaction},
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
    /// Nothing: the source has none of the tables.
    NoTables,
    /// Nothing: what was written is not what was read.
    Different { table: String },
}

/// Copies everything from another database into one that is empty, with all keys: all of it, or nothing. Rows that are
/// not possible here are logged one by one; if they are not skipped, nothing is copied.
///
/// # Errors
///
/// When one of the databases does not answer.
pub async fn copy(
    db: &Db,
    entities: &[&Entity],
    from: &DatabaseUrl,
    skips: bool,
    progress: &mut Progress,
) -> Result<Copied, StoreError> {
    let txn = db.uncounted().begin().await?;
    let copied = copy_in(&txn, entities, from, skips, progress).await?;
    // It is rolled back when it is dropped.
    if matches!(copied, Copied::All { .. }) {
        txn.commit().await?;
    }
    Ok(copied)
}

async fn copy_in(
    txn: &Transaction,
    entities: &[&Entity],
    from: &DatabaseUrl,
    skips: bool,
    progress: &mut Progress,
) -> Result<Copied, StoreError> {
    let wanted = tables(entities);
    for table in wanted.iter().filter(|table| table.name != API_KEYS) {
        if has_rows(txn, &table.name).await? {
            return Ok(Copied::NotEmpty);
        }
    }
    let (tables, mut reads) = source::read(from, wanted).await?;
    if !tables.iter().any(|table| table.is_counted) {
        return Ok(Copied::NoTables);
    }
    let mut copying = Copying { skips, keys: BTreeMap::new(), progress, wrong: 0 };
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
    for (table, of_source) in tables.iter().zip(&source_sums) {
        count_on(txn, table).await?;
        if wrong == 0 && sums(txn, table).await? != *of_source {
            return Ok(Copied::Different { table: table.name.clone() });
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
    progress: &'a mut Progress,
    wrong: u64,
}

impl Copying<'_> {
    async fn write(&mut self, txn: &Transaction, table: &Table, rows: Vec<Vec<Raw>>) -> Result<(), StoreError> {
        let mut right = Vec::with_capacity(rows.len());
        for row in rows {
            let key = table.key_of(&row);
            match table.checked(row, |table, key| self.has(table, key)) {
                Ok(row) => {
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
        let columns: Vec<_> = table.columns.iter().map(|Column { name, .. }| name.clone().into_iden()).collect();
        let records = dialect::records(backend, &table.name, &columns, right.iter().map(|row| &row[..]))?;
        let mut insert = Query::insert();
        insert.into_table(table.name.clone()).columns(columns);
        insert.select_from(records).map_err(dialect::statement_error)?;
        txn.execute(&insert).await?;
        self.progress.add(right.len() as u64);
        Ok(())
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
