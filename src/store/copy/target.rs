//! The rows that are written, all of them or none.

use std::collections::{BTreeMap, BTreeSet};

use entity::api_key::{Column, Entity as ApiKeys};
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, EntityName as _, EntityTrait as _, QuerySelect as _, Statement,
    sea_query::{IntoIden as _, Query},
};

use super::{
    source::{CopySource, Read},
    table::{Raw, Table},
};
use crate::{
    db::{Db, StoreError, Transaction},
    progress::Progress,
    store::{KeyMap, Scalar, dialect},
};

/// The greatest number of faults that are said one by one.
const MAX_FAULTS: u64 = 1_000;

/// What comes of a copy.
#[derive(Debug)]
pub enum Copied {
    /// All rows but those that were skipped.
    All { rows: u64, skipped: u64 },
    /// Nothing: the source has columns that this schema does not have.
    Unknown { columns: Vec<String> },
    /// Nothing: so many rows are wrong.
    Wrong { rows: u64 },
    /// Nothing: the target has rows already.
    NotEmpty,
    /// Nothing: what was written is not what was read.
    Different { table: String },
}

/// Copies everything from another database into one that is empty, with all keys: all of it, or nothing. Rows that are
/// not possible in this schema are logged one by one; if they are not skipped, nothing is copied.
///
/// # Errors
///
/// When one of the databases does not answer.
pub async fn copy(db: &Db, source: CopySource, skips: bool, progress: &mut Progress) -> Result<Copied, StoreError> {
    let txn = db.uncounted().begin().await?;
    if txn.get_database_backend() == DbBackend::Postgres {
        // It waits while the source is read and added up, however long that takes.
        txn.execute_unprepared("SET LOCAL idle_in_transaction_session_timeout = 0").await?;
    }
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
    let CopySource { wanted, tables, unknown, mut reads } = source;
    if !unknown.is_empty() {
        if !skips {
            return Ok(Copied::Unknown { columns: unknown });
        }
        tracing::warn!(columns = unknown.join(", "), "columns of the source are not copied");
    }
    // A target that has some API keys is as good as an empty one.
    for table in wanted.iter().filter(|table| table.name != ApiKeys.table_name()) {
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
    let written = vec![0; tables.len()];
    let mut copying =
        Copying { skips, keys: BTreeMap::new(), api_keys, last: (0, Vec::new()), progress, written, wrong: 0 };
    let mut ends = None;
    while let Some(read) = reads.recv().await {
        match read? {
            Read::Rows(number, rows) => copying.write(txn, (number, &tables[number]), rows).await?,
            Read::End(tables) => ends = Some(tables),
        }
    }
    let Copying { progress, written, wrong, .. } = copying;
    let Some(ends) = ends else {
        return Err(StoreError::Unavailable(DbErr::Custom("the source was not read to its end".to_owned())));
    };
    if wrong > 0 && !skips {
        return Ok(Copied::Wrong { rows: wrong });
    }
    for (number, (table, end)) in tables.iter().zip(ends).enumerate() {
        count_on(txn, table, end.last_key).await?;
        let sums = sums(txn, table).await?.into_iter().zip(&sums_before[number]);
        let sums: Vec<_> = sums.map(|(after, before)| after - before).collect();
        // Where rows were skipped, the number of the others has to do.
        if sums.first() != Some(&written[number]) || (wrong == 0 && sums != end.sums) {
            return Ok(Copied::Different { table: table.name.clone() });
        }
    }
    Ok(Copied::All { rows: progress.finished(), skipped: wrong })
}

/// What is known while it goes on.
struct Copying<'a> {
    skips: bool,
    /// The keys of the rows that were copied, by tables.
    keys: BTreeMap<String, KeyMap>,
    /// The ids of the API keys of the target.
    api_keys: BTreeSet<String>,
    /// The number of the table of the last row, and its primary key.
    last: (usize, Vec<Scalar>),
    progress: &'a mut Progress,
    /// The rows of each table that were written.
    written: Vec<i64>,
    wrong: u64,
}

impl Copying<'_> {
    async fn write(
        &mut self,
        txn: &Transaction,
        (number, table): (usize, &Table),
        rows: Vec<Vec<Raw>>,
    ) -> Result<(), StoreError> {
        let mut right = Vec::with_capacity(rows.len());
        for row in rows {
            let key = table.key_of(&row);
            let checked = table.checked(row, |table, key| self.has(table, key));
            match checked.and_then(|row| self.first_of_key(number, table, row)) {
                Ok(row) => {
                    self.last.0 = number;
                    row[..table.keys()].clone_into(&mut self.last.1);
                    if let (true, Some(Scalar::Int(key))) = (table.is_counted, row.first()) {
                        self.keys.entry(table.name.clone()).or_default().insert(*key, *key);
                    }
                    right.push(row);
                }
                Err(fault) => {
                    self.wrong += 1;
                    if self.wrong <= MAX_FAULTS {
                        let table = &table.source;
                        tracing::warn!(table, key, fault, "a row cannot be copied");
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
        self.written[number] += i64::try_from(right.len()).unwrap_or(i64::MAX);
        Ok(())
    }

    /// A row whose key no other row has. Rows with the same key follow each other.
    fn first_of_key(&self, number: usize, table: &Table, row: Vec<Scalar>) -> Result<Vec<Scalar>, String> {
        let keys = &row[..table.keys()];
        match &keys[0] {
            _ if (number, keys) == (self.last.0, &self.last.1) => Err("another row has the same key".to_owned()),
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
    let row = row.ok_or(StoreError::Database(DbErr::RecordNotFound(String::new())))?;
    let sum = |index| row.try_get::<i64>("", &format!("s{index:02}"));
    Ok((0..sums.len()).map(sum).collect::<Result<_, _>>()?)
}

/// Has the database give keys after those that were copied, and after the last one that the source has given: keys of
/// deleted rows are not used again.
async fn count_on(txn: &Transaction, table: &Table, last_key: Option<i64>) -> Result<(), StoreError> {
    let (name, Some(last_key)) = (&table.name, last_key.filter(|_| table.is_counted)) else { return Ok(()) };
    let backend = txn.get_database_backend();
    if backend == DbBackend::Postgres {
        let sequence = format!("pg_get_serial_sequence('\"{name}\"', '{}')::regclass", table.columns[0].name);
        let sql = format!("SELECT setval({sequence}, GREATEST($1, pg_sequence_last_value({sequence})))");
        txn.query_all_raw(Statement::from_sql_and_values(backend, sql, [last_key.into()])).await?;
    } else {
        // A table that has never had a row has no line here.
        for sql in [
            "INSERT INTO sqlite_sequence (name, seq) SELECT ?2, 0 WHERE ?2 NOT IN (SELECT name FROM sqlite_sequence)",
            "UPDATE sqlite_sequence SET seq = MAX(seq, ?1) WHERE name = ?2",
        ] {
            let values = [last_key.into(), name.as_str().into()];
            txn.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
        }
    }
    Ok(())
}
