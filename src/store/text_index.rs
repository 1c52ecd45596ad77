//! Indexes of text that are made when they are asked for: they serve the filters that other indexes do not.

use std::fmt;

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, Statement};

use crate::{
    db::{Db, Indexes, StoreError},
    schema::{Column, Entity},
};

/// The greatest number of bytes of a name in PostgreSQL.
const MAX_NAME: usize = 63;
/// The fewest letters and digits in a row that the trigram index finds.
const TRIGRAM: usize = 3;

/// What an index of a text column serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextIndex {
    /// `eq`, `in` and `startsWith` with `ignoreCase`.
    Lower,
    /// `contains` and `endsWith`, with and without `ignoreCase`. On PostgreSQL only.
    Trigram,
}

impl TextIndex {
    /// Whether the database has it for a column.
    #[must_use]
    pub fn is_in(self, indexes: &Indexes, entity: &Entity, column: &Column) -> bool {
        !indexes.is_empty() && indexes.contains(&self.name(entity, column))
    }

    /// Makes it for a column of an entity, unless it exists, and returns whether it is new. On PostgreSQL others read
    /// and write the table meanwhile, unless it is partitioned.
    ///
    /// # Errors
    ///
    /// When it cannot be made. What is left of it then is replaced the next time.
    pub async fn create(self, db: &Db, entity: &Entity, column: &Column) -> Result<bool, StoreError> {
        let name = self.name(entity, column);
        if db.read_indexes().await?.contains(&name) {
            return Ok(false);
        }
        if db.write.get_database_backend() == DbBackend::Sqlite {
            let indexed = match self {
                Self::Lower => format!(r#"lower("{}"), "{}""#, column.name(), entity.key.name()),
                Self::Trigram => {
                    return Err(DbErr::Custom("SQLite has no trigram indexes; PostgreSQL has".to_owned()).into());
                }
            };
            db.write
                .execute_unprepared(&format!(r#"CREATE INDEX "{name}" ON "{}" ({indexed})"#, entity.table()))
                .await?;
            return Ok(true);
        }
        // What has no transaction has no settings of its own through a pooler.
        if !db.keeps_sessions() {
            // A transaction has a time-out of its own.
            let sql = "SELECT reset_val FROM pg_catalog.pg_settings WHERE name = $1";
            let timeout: String = one(db, sql, "statement_timeout").await?.unwrap_or_default();
            if timeout != "0" {
                let message = format!(
                    "PostgreSQL would end the making of an index after {timeout} ms, and a pooler takes no other \
                     time-out for that; set a --database-url that does not lead to the pooler"
                );
                return Err(DbErr::Custom(message).into());
            }
        }
        // PostgreSQL cannot make that of a partitioned table beside what is going on.
        let sql = "SELECT relkind = 'p' FROM pg_catalog.pg_class WHERE oid = to_regclass($1)";
        let table = format!("\"{}\"", entity.table());
        let is_partitioned = one(db, sql, table.as_str()).await?.unwrap_or(false);
        let concurrently = if is_partitioned { "" } else { "CONCURRENTLY" };
        let indexed = match self {
            Self::Lower => format!(r#"(lower("{}"), "{}")"#, column.name(), entity.key.name()),
            Self::Trigram => {
                db.write.execute_unprepared("CREATE EXTENSION IF NOT EXISTS pg_trgm").await?;
                // Its operators may be in a schema in which they are not looked for.
                let sql = "SELECT quote_ident(nspname) FROM pg_catalog.pg_extension
                    JOIN pg_catalog.pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = $1";
                let schema: String = one(db, sql, "pg_trgm").await?.unwrap_or_default();
                let column = column.name();
                format!(r#"USING gin ("{column}" {schema}.gin_trgm_ops, lower("{column}") {schema}.gin_trgm_ops)"#)
            }
        };
        // What is left of one that could not be made serves nothing, and has the name.
        db.write.execute_unprepared(&format!(r#"DROP INDEX {concurrently} IF EXISTS "{name}""#)).await?;
        db.write.execute_unprepared(&format!(r#"CREATE INDEX {concurrently} "{name}" ON {table} {indexed}"#)).await?;
        // Of an expression nothing is known before this. PostgreSQL would read a large table in the order of its keys.
        db.write.execute_unprepared(&format!("ANALYZE {table}")).await?;
        Ok(true)
    }

    fn name(self, entity: &Entity, column: &Column) -> String {
        let mut name = format!("ix_{}_{}", entity.table(), column.name());
        let end = self.to_string();
        name.truncate(name.floor_char_boundary(MAX_NAME - end.len() - 1));
        format!("{name}_{end}")
    }
}

impl fmt::Display for TextIndex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Lower => "lower",
            Self::Trigram => "trigram",
        })
    }
}

/// Whether a trigram index finds a text by a part of it.
#[must_use]
pub fn has_trigram(part: &str) -> bool {
    // What other characters are to it depends on the locale of the database.
    part.as_bytes().windows(TRIGRAM).any(|bytes| bytes.iter().all(u8::is_ascii_alphanumeric))
}

/// The one value of a statement with a parameter.
async fn one<T: sea_orm::TryGetable>(db: &Db, sql: &str, parameter: &str) -> Result<Option<T>, StoreError> {
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [parameter.into()]);
    Ok(db.write.query_one_raw(statement).await?.map(|row| row.try_get_by_index(0)).transpose()?)
}
