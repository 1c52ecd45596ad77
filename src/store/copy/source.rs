//! Another database, read as it is at one moment, and never written to.

use std::{collections::BTreeSet, io, path::PathBuf, sync::Arc};

use entity::{api_key, event, import_batch};
use futures_util::TryStreamExt as _;
use rusqlite::types::ValueRef;
use sea_orm::{
    DbErr, EntityName as _, RuntimeErr,
    sqlx::{
        self, AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, Row as _,
        postgres::{PgConnectOptions, PgRow},
    },
};
use tokio::{sync::mpsc, task::spawn_blocking};

use super::table::{Column, ColumnKind, MAX_KEY, Raw, Table};
use crate::{
    config::{DatabaseUrl, PostgresUrl},
    db::{CANNOT_BE_WRITTEN, MIGRATIONS, Open, SCHEMA_COMPAT, StoreError, first_host, open_to_read},
    schema::Entity,
};

/// Rows that are read at once.
const BATCH: usize = 2_000;
/// Batches that are read ahead.
const AHEAD: usize = 2;
/// The types of text of PostgreSQL.
const TEXTS: [&str; 3] = ["text", "character varying", "character"];
/// Its types of whole numbers.
const INTEGERS: [&str; 3] = ["smallint", "integer", "bigint"];

/// What is read, in this order.
#[derive(Debug)]
pub enum Read {
    /// Rows of the table with this number.
    Rows(usize, Vec<Vec<Raw>>),
    /// What is said of each table when all rows have been read.
    End(Vec<TableEnd>),
}

/// What is said of a table.
#[derive(Debug)]
pub struct TableEnd {
    /// The numbers of [`Table::sums_sqlite`].
    pub sums: Vec<i64>,
    /// The greatest key that a row has or has had, where the database counts.
    pub last_key: Option<i64>,
}

impl TableEnd {
    fn new(sums: Vec<i64>, greatest_key: Option<i64>, counter: Option<i64>) -> Self {
        Self { sums, last_key: greatest_key.max(counter.filter(|key| (1..=MAX_KEY).contains(key))) }
    }
}

/// A database to copy, in one snapshot.
#[derive(Debug)]
pub struct CopySource {
    /// All tables of ours.
    pub(super) wanted: Vec<Table>,
    /// Those of them that exist, by the names that they have there.
    pub(super) tables: Vec<Table>,
    /// Columns of these tables that are not ours, as `hero.power`.
    pub(super) unknown: Vec<String>,
    pub(super) reads: mpsc::Receiver<Result<Read, StoreError>>,
}

type Sender = mpsc::Sender<Result<Read, StoreError>>;

/// A column of the source: its table, its name, and on PostgreSQL its type.
type Found = (String, String, Option<String>);

impl CopySource {
    /// Opens a database, and begins to read it. Or gives why it cannot be copied.
    ///
    /// # Errors
    ///
    /// When the database cannot be opened.
    pub async fn open(entities: &[&'static Entity], url: &DatabaseUrl) -> Result<Result<Self, String>, StoreError> {
        match url {
            DatabaseUrl::Sqlite(url) => Self::open_sqlite(entities, url.path.clone()).await,
            DatabaseUrl::Postgres(url) => Self::open_postgres(entities, url).await,
        }
    }

    fn begin(entities: &[&'static Entity], found: &[Found]) -> Result<(Self, Sender), String> {
        let wanted = Table::all(entities);
        let tables = existing(wanted.clone(), found)?;
        warn_of_tables(&tables, found);
        let unknown = unknown_columns(&tables, found);
        let (sender, reads) = mpsc::channel(AHEAD);
        Ok((Self { wanted, tables, unknown, reads }, sender))
    }

    async fn open_sqlite(entities: &[&'static Entity], path: PathBuf) -> Result<Result<Self, String>, StoreError> {
        if path.is_dir() {
            return Ok(Err(format!("{} is a folder", path.display())));
        }
        let opened = spawn_blocking(move || {
            let connection = open_to_read(&path)?;
            connection.execute_batch("BEGIN")?;
            let found = {
                // The columns of a virtual table are known to its module alone, which SQLite may be without here.
                let mut found = connection.prepare(
                    "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_xinfo(t.name) c
                    WHERE t.type = 'table' AND t.sql NOT LIKE 'CREATE VIRTUAL %'
                    UNION ALL SELECT name, '' FROM sqlite_schema
                    WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL %'",
                )?;
                let found = found.query_map([], |row| Ok((row.get(0)?, row.get(1)?, None)))?;
                found.collect::<rusqlite::Result<Vec<Found>>>()?
            };
            Ok((connection, found))
        });
        let (connection, found) = opened.await?.map_err(of_sqlite)?;
        let (source, sender) = match Self::begin(entities, &found) {
            Ok(opened) => opened,
            Err(fault) => return Ok(Err(fault)),
        };
        let tables = source.tables.clone();
        spawn_blocking(move || {
            if let Err(error) = read_sqlite(&connection, &tables, &sender) {
                // Nobody may be left to tell.
                let _ = sender.blocking_send(Err(of_sqlite(error)));
            }
        });
        Ok(Ok(source))
    }

    async fn open_postgres(
        entities: &[&'static Entity],
        url: &PostgresUrl,
    ) -> Result<Result<Self, String>, StoreError> {
        let opened = first_host(url.hosts.len(), 0, |host| connect_to(&url.hosts[host], url.must_write)).await;
        let (_, mut connection) = opened.map_err(of_postgres)?;
        // Rows that a policy hides are an error, and are not left out.
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL row_security = off";
        connection.execute(begin).await.map_err(of_postgres)?;
        let found = "SELECT relname::text, attname::text, format_type(atttypid, NULL) FROM pg_class
            JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
            WHERE relkind IN ('r', 'p') AND NOT relispartition AND pg_table_is_visible(pg_class.oid)
            AND relnamespace NOT IN
            (SELECT oid FROM pg_namespace WHERE nspname IN ('pg_catalog', 'information_schema'))";
        let found = connection.fetch_all(found).await.map_err(of_postgres)?;
        let found = found.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)));
        let found = found.collect::<Result<Vec<Found>, _>>().map_err(of_postgres)?;
        let (source, sender) = match Self::begin(entities, &found) {
            Ok(opened) => opened,
            Err(fault) => return Ok(Err(fault)),
        };
        let tables = source.tables.clone();
        tokio::spawn(async move {
            if let Err(error) = read_postgres(&mut connection, &tables, &sender).await {
                let _ = sender.send(Err(of_postgres(error))).await;
            }
        });
        Ok(Ok(source))
    }
}

/// A connection to a host, which can be written if it must be.
async fn connect_to(host: &PgConnectOptions, must_write: bool) -> Result<PgConnection, sqlx::Error> {
    let mut connection = PgConnection::connect_with(&host.clone().disable_statement_logging()).await?;
    let is_read_only = "SELECT current_setting('transaction_read_only') = 'on'";
    if must_write && connection.fetch_one(is_read_only).await?.try_get(0)? {
        return Err(io::Error::other(CANNOT_BE_WRITTEN).into());
    }
    Ok(connection)
}

/// The tables that exist, with their columns that exist, or why they cannot be copied: a column that may not be null
/// has to exist. The tutorial writes the names of its link tables in one word.
fn existing(wanted: Vec<Table>, found: &[Found]) -> Result<Vec<Table>, String> {
    let (mut tables, mut missing) = (Vec::new(), Vec::new());
    for mut table in wanted {
        let names = [table.name.clone(), table.name.replace('_', "")];
        let is_it = |(found, _, ty): &&Found| names.iter().any(|name| is_same_name(name, found, ty.as_deref()));
        let Some((source, ..)) = found.iter().find(is_it) else {
            missing.push(table.name);
            continue;
        };
        let mut columns = Vec::with_capacity(table.columns.len());
        for column in table.columns {
            let is_it = |found: &&Found| found.0 == *source && is_same_name(&column.name, &found.1, found.2.as_deref());
            let Some((.., ty)) = found.iter().find(is_it) else {
                let Column { name, is_nullable, .. } = column;
                if !is_nullable {
                    return Err(format!("the table {source} has no column {name}"));
                }
                tracing::warn!(table = source, column = name, "the source has no such column; it is null in each row");
                continue;
            };
            let (types, required) = match column.kind {
                ColumnKind::Text { .. } => (&TEXTS, "text"),
                _ => (&INTEGERS, "a whole number"),
            };
            if let Some(ty) = ty.as_deref().filter(|ty| !types.contains(ty)) {
                let column = &column.name;
                return Err(format!("the column {column} of the table {source} has the type {ty}, not {required}"));
            }
            columns.push(column);
        }
        table.columns = columns;
        table.source.clone_from(source);
        tables.push(table);
    }
    if !tables.iter().any(|table| table.is_counted) {
        return Err("the database to copy has none of the tables".to_owned());
    }
    // One that was made before there were API keys has none.
    for table in missing.iter().filter(|name| *name != api_key::Entity.table_name()) {
        tracing::warn!(table, "the source has no such table");
    }
    Ok(tables)
}

/// Whether two names of tables or columns are the same. SQLite, whose columns come without a type, does not tell
/// capitals from small letters.
fn is_same_name(name: &str, found: &str, ty: Option<&str>) -> bool {
    name == found || (ty.is_none() && name.eq_ignore_ascii_case(found))
}

/// Warns of tables that are not copied, besides those that the server and SQLite keep for themselves.
fn warn_of_tables(tables: &[Table], found: &[Found]) {
    let own = [event::Entity.table_name(), import_batch::Entity.table_name(), SCHEMA_COMPAT, MIGRATIONS];
    let is_known = |name: &str| {
        own.contains(&name) || name.starts_with("sqlite_") || tables.iter().any(|table| table.source == name)
    };
    let names: BTreeSet<&str> = found.iter().map(|(table, ..)| &**table).filter(|name| !is_known(name)).collect();
    for table in names {
        tracing::warn!(table, "the source has a table that is not copied");
    }
}

/// The columns of the tables to copy that are not copied.
fn unknown_columns(tables: &[Table], found: &[Found]) -> Vec<String> {
    let is_unknown = |(table, column): &(&Table, &Found)| {
        let is_known = |known: &Column| is_same_name(&known.name, &column.1, column.2.as_deref());
        column.0 == table.source && !table.columns.iter().any(is_known)
    };
    let columns = tables.iter().flat_map(|table| found.iter().map(move |column| (table, column)));
    columns.filter(is_unknown).map(|(_, (table, column, _))| format!("{table}.{column}")).collect()
}

fn read_sqlite(connection: &Open, tables: &[Table], sender: &Sender) -> rusqlite::Result<()> {
    for (number, table) in tables.iter().enumerate() {
        let columns = table.columns.iter().map(|column| format!("\"{}\"", column.name)).collect::<Vec<_>>().join(", ");
        let mut select = connection.prepare(&format!("SELECT {columns} FROM \"{}\" ORDER BY 1, 2", table.source))?;
        let mut rows = select.query([])?;
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(row) = rows.next()? {
            let value = |index| {
                Ok(match row.get_ref(index)? {
                    ValueRef::Null => Raw::Null,
                    ValueRef::Integer(number) => Raw::Int(number),
                    ValueRef::Text(text) => str::from_utf8(text)
                        .map_or(Raw::Other("text that is not UTF-8"), |text| Raw::Text(text.to_owned())),
                    ValueRef::Real(_) => Raw::Other("a number with a fraction"),
                    ValueRef::Blob(_) => Raw::Other("a blob"),
                })
            };
            batch.push((0..table.columns.len()).map(value).collect::<rusqlite::Result<Vec<_>>>()?);
            if batch.len() == BATCH && sender.blocking_send(Ok(Read::Rows(number, std::mem::take(&mut batch)))).is_err()
            {
                return Ok(());
            }
        }
        if !batch.is_empty() && sender.blocking_send(Ok(Read::Rows(number, batch))).is_err() {
            return Ok(());
        }
    }
    let has_counters = connection.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'")?.exists([])?;
    let end = |table: &Table| {
        let sums = table.sums_sqlite();
        let sql = format!("SELECT {}, {} FROM \"{}\"", table.greatest_key(), sums.join(", "), table.source);
        let (greatest_key, sums) = connection.query_row(&sql, [], |row| {
            let sums = (1..=sums.len()).map(|index| row.get(index)).collect::<rusqlite::Result<_>>()?;
            Ok((row.get(0)?, sums))
        })?;
        let mut counter = None;
        if has_counters {
            let sql = "SELECT MAX(seq) FROM sqlite_sequence WHERE name = ?";
            counter = connection.query_row(sql, [&table.source], |row| row.get(0))?;
        }
        Ok(TableEnd::new(sums, greatest_key, counter))
    };
    let ends = tables.iter().map(end).collect::<rusqlite::Result<Vec<_>>>()?;
    connection.ensure_in_place()?;
    let _ = sender.blocking_send(Ok(Read::End(ends)));
    Ok(())
}

async fn read_postgres(connection: &mut PgConnection, tables: &[Table], sender: &Sender) -> Result<(), sqlx::Error> {
    for (number, table) in tables.iter().enumerate() {
        let column = |column: &Column| {
            let ty = if matches!(column.kind, ColumnKind::Text { .. }) { "text" } else { "bigint" };
            format!("\"{}\"::{ty}", column.name)
        };
        let columns = table.columns.iter().map(column).collect::<Vec<_>>().join(", ");
        let sql = format!("SELECT {columns} FROM \"{}\" ORDER BY 1, 2", table.source);
        let mut rows = connection.fetch(AssertSqlSafe(sql));
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(row) = rows.try_next().await? {
            batch.push(of_row(&row, table)?);
            if batch.len() == BATCH && sender.send(Ok(Read::Rows(number, std::mem::take(&mut batch)))).await.is_err() {
                return Ok(());
            }
        }
        if !batch.is_empty() && sender.send(Ok(Read::Rows(number, batch))).await.is_err() {
            return Ok(());
        }
    }
    let mut ends = Vec::new();
    for table in tables {
        let (source, key, sums) = (&table.source, &table.columns[0].name, table.sums_postgres());
        // The table of another program may have no sequence.
        let sequence = format!("pg_get_serial_sequence('\"{source}\"', '{key}')::regclass");
        let greatest_key = table.greatest_key();
        let sql = format!(
            "SELECT {greatest_key}, pg_sequence_last_value({sequence})::bigint, {} FROM \"{source}\"",
            sums.join(", ")
        );
        let row = connection.fetch_one(AssertSqlSafe(sql)).await?;
        let sums = (2..sums.len() + 2).map(|index| row.try_get(index)).collect::<Result<_, _>>()?;
        ends.push(TableEnd::new(sums, row.try_get(0)?, row.try_get(1)?));
    }
    let _ = sender.send(Ok(Read::End(ends))).await;
    Ok(())
}

fn of_row(row: &PgRow, table: &Table) -> Result<Vec<Raw>, sqlx::Error> {
    let value = |(index, column): (usize, &Column)| {
        Ok(if matches!(column.kind, ColumnKind::Text { .. }) {
            row.try_get::<Option<String>, _>(index)?.map_or(Raw::Null, Raw::Text)
        } else {
            row.try_get::<Option<i64>, _>(index)?.map_or(Raw::Null, Raw::Int)
        })
    };
    table.columns.iter().enumerate().map(value).collect()
}

fn of_sqlite(error: rusqlite::Error) -> StoreError {
    StoreError::Database(DbErr::Custom(format!("the source cannot be read: {error}")))
}

fn of_postgres(error: sqlx::Error) -> StoreError {
    StoreError::from(DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error))))
}
