//! What the database says of its tables: how many rows they have, and which indexes.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, Statement};
use tokio::time::{Instant, timeout};

use super::Connections;

/// How long what was read is taken to be right.
const MAX_AGE: Duration = Duration::from_mins(1);
/// How long the database has to answer.
const MAX_READ: Duration = Duration::from_secs(1);

/// The indexes of a database that can be used.
#[derive(Clone, Debug)]
pub struct Indexes {
    pub backend: DbBackend,
    names: HashSet<String>,
}

impl Indexes {
    /// None that is known.
    #[must_use]
    pub fn none(backend: DbBackend) -> Self {
        Self { backend, names: HashSet::new() }
    }

    /// Whether there is one of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

/// What was read, and when.
#[derive(Debug, Default)]
pub struct Catalog {
    /// The number of rows of each table.
    rows: Mutex<HashMap<String, (Instant, u64)>>,
    indexes: Mutex<Option<(Instant, Arc<Indexes>)>>,
}

impl Catalog {
    /// The number of rows of a table, as it was in the last minute, by which one knows whether there are more than
    /// `max`: what the statistics of PostgreSQL say; on SQLite they are counted up to `max`, and more are taken to be
    /// as many as the greatest key says. It is 0 where nothing is known.
    pub async fn table_rows(&self, read: &Connections, table: &str, key: &str, max: u64) -> u64 {
        let lock = || self.rows.lock();
        let known = lock().get(table).copied();
        let rows = recent(known, || 0, read_table_rows(read, table, key, max)).await;
        lock().insert(table.to_owned(), rows);
        rows.1
    }

    /// The indexes of the tables, as they were in the last minute. There are none where nothing is known.
    pub async fn indexes(&self, read: &Connections) -> Arc<Indexes> {
        let lock = || self.indexes.lock();
        let known = lock().clone();
        let none = || Arc::new(Indexes::none(read.get_database_backend()));
        let indexes = recent(known, none, read_indexes(read)).await;
        lock().insert(indexes).1.clone()
    }
}

/// The indexes of the tables, as they are now.
///
/// # Errors
///
/// When the database does not answer.
pub async fn read_indexes(read: &Connections) -> Result<Arc<Indexes>, DbErr> {
    let backend = read.get_database_backend();
    let sql = if backend == DbBackend::Postgres {
        // One that could not be made, or is being made, serves no statement.
        "SELECT relname::text FROM pg_catalog.pg_index JOIN pg_catalog.pg_class ON pg_class.oid = indexrelid
            WHERE indisvalid
            AND relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema())"
    } else {
        "SELECT name FROM sqlite_schema WHERE type = 'index'"
    };
    let rows = read.query_all_raw(Statement::from_string(backend, sql)).await?;
    let names = rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?;
    Ok(Arc::new(Indexes { backend, names }))
}

async fn read_table_rows(read: &Connections, table: &str, key: &str, max: u64) -> Result<u64, DbErr> {
    let statement = if read.get_database_backend() == DbBackend::Postgres {
        // Of a partitioned table the partitions have the rows.
        let sql = "SELECT COALESCE(SUM(GREATEST(reltuples, 0)), 0)::bigint FROM pg_catalog.pg_class
            WHERE relkind = 'r' AND (oid = to_regclass($1)
                OR oid IN (SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = to_regclass($1)))";
        Statement::from_sql_and_values(DbBackend::Postgres, sql, [format!("\"{table}\"").into()])
    } else {
        // Keys of rows that were deleted do not come again.
        let counted = format!("SELECT COUNT(*) FROM (SELECT 1 FROM \"{table}\" LIMIT {max} + 1)");
        let greatest = format!("SELECT COALESCE(MAX(\"{key}\"), 0) FROM \"{table}\"");
        let sql = format!(
            "SELECT CASE WHEN ({greatest}) <= {max} THEN ({greatest}) WHEN ({counted}) <= {max} THEN ({counted})
                ELSE ({greatest}) END"
        );
        Statement::from_string(DbBackend::Sqlite, sql)
    };
    let row = read.query_one_raw(statement).await?;
    let rows: i64 = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
    Ok(u64::try_from(rows).unwrap_or(0))
}

/// What is known if it is recent, or else what is read. What was known is better than nothing.
async fn recent<T>(
    known: Option<(Instant, T)>,
    nothing: impl FnOnce() -> T,
    read: impl Future<Output = Result<T, DbErr>>,
) -> (Instant, T) {
    let now = Instant::now();
    match known {
        Some((time, value)) if now - time < MAX_AGE => (time, value),
        known => match timeout(MAX_READ, read).await {
            Ok(Ok(value)) => (now, value),
            _ => (now, known.map_or_else(nothing, |(_, value)| value)),
        },
    }
}
