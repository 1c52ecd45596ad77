//! How many rows a table has, approximately.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, Statement};
use tokio::time::{Instant, timeout};

use super::Db;

/// How long a number is taken to be right.
const MAX_AGE: Duration = Duration::from_mins(1);
/// How long the database has to give one.
const MAX_READ: Duration = Duration::from_secs(1);

/// The numbers that are known, and when they were read.
#[derive(Debug, Default)]
pub struct TableRows(Mutex<HashMap<String, (Instant, u64)>>);

impl Db {
    /// The number of rows of a table, as it was in the last minute, by which one knows whether there are more than
    /// `max`: what the statistics of PostgreSQL say; on SQLite they are counted up to `max`, and more are taken to be
    /// as many as the greatest key says. It is 0 where nothing is known.
    pub async fn table_rows(&self, table: &str, key: &str, max: u64) -> u64 {
        let now = Instant::now();
        let known = self.shared.table_rows.0.lock().unwrap_or_else(PoisonError::into_inner).get(table).copied();
        if let Some((_, rows)) = known.filter(|(time, _)| now - *time < MAX_AGE) {
            return rows;
        }
        let read = timeout(MAX_READ, self.uncounted().read_table_rows(table, key, max)).await;
        // What was known is better than nothing.
        let rows = match read {
            Ok(Ok(rows)) => rows,
            _ => known.map_or(0, |(_, rows)| rows),
        };
        let mut all = self.shared.table_rows.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(table.to_owned(), (now, rows));
        rows
    }

    async fn read_table_rows(&self, table: &str, key: &str, max: u64) -> Result<u64, DbErr> {
        let statement = if self.read.get_database_backend() == DbBackend::Postgres {
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
        let row = self.read.query_one_raw(statement).await?;
        let rows: i64 = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
        Ok(u64::try_from(rows).unwrap_or(0))
    }
}
