//! The events: what each transaction has changed, written in the transaction itself and read in one order by all.
//!
//! On PostgreSQL the order is that of the numbers of the transactions. A transaction with a smaller number may commit
//! later than one with a larger number, so an event can be read only when all transactions up to its own have ended:
//! then nothing can come before it any more. SQLite has one writer, so its events are in the order of the commits.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write as _,
    ops::RangeInclusive,
    sync::Arc,
    time::Duration,
};

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, Value,
    sea_query::{Expr, ExprTrait as _, InsertStatement, IntoIden, Query, SelectStatement, UnionType},
};

use super::{dialect, row::Scalar};
use crate::{
    db::{Db, StoreError, Transaction, UnitOfWork},
    schema::{Entity, Link},
};

const TABLE: &str = "event";
const COLUMNS: [&str; 5] = ["kind", "change", "first_key", "second_key", "fields"];
/// The same, of all but updates.
const COLUMNS_WITHOUT_FIELDS: [&str; 4] = ["kind", "change", "first_key", "second_key"];
/// So many events are written as values. The way by a list takes longer for few, and has one text for any number.
const MAX_VALUES: usize = 8;
/// The greatest number of events that one statement deletes, so that nobody waits for it for long.
const MAX_PURGED: u64 = 1_000;
/// Events are kept longer than they can be read from, because they may be a little out of the order of their times.
const MARGIN: Duration = Duration::from_mins(1);

/// What happened to an object or to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Created,
    Updated,
    Deleted,
    Linked,
    Unlinked,
    /// One of the objects was deleted, with all its links.
    Removed,
}

impl Change {
    const ALL: [Self; 6] = [Self::Created, Self::Updated, Self::Deleted, Self::Linked, Self::Unlinked, Self::Removed];
    /// What can happen to objects.
    pub const OF_OBJECTS: [Self; 3] = [Self::Created, Self::Updated, Self::Deleted];
    /// What can happen to links.
    pub const OF_LINKS: [Self; 3] = [Self::Linked, Self::Unlinked, Self::Removed];

    /// The name in the table, which is that of the enum value in the schema.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Updated => "UPDATED",
            Self::Deleted => "DELETED",
            Self::Linked => "LINKED",
            Self::Unlinked => "UNLINKED",
            Self::Removed => "REMOVED",
        }
    }

    /// The change with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|change| change.as_str() == name)
    }
}

/// The place of an event in the order of all events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The number of the transaction on PostgreSQL, 0 on SQLite.
    pub xid: i64,
    pub seq: i64,
}

/// The event after which somebody goes on. The database may be another one by then, such as a standby that was promoted
/// before it had all transactions: there another event can have the same place, but hardly of the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    pub position: Position,
    /// When it was written, in seconds since 1970 (UTC).
    pub at: i64,
}

/// What is known of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub position: Position,
    /// When it was written, in seconds since 1970 (UTC).
    pub at: i64,
    /// The table of the object, or the link table.
    pub table: Arc<str>,
    pub change: Change,
    /// The key of the object, or the keys of the link in the order of [`Link::columns`]. A link that was removed has
    /// the key of the object that was deleted.
    pub keys: [Option<i64>; 2],
    /// The names of the columns that an update has changed, with commas.
    pub fields: Option<Arc<str>>,
}

impl Event {
    /// The cursor of whoever has it.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor { position: self.position, at: self.at }
    }
}

/// The events that were committed at a moment, in whatever order they are read.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// The latest event that nothing can come before any more. All events up to it were committed.
    pub end: Cursor,
    /// The transactions after it whose events were committed as well: the first and the last number of their events,
    /// and when the last one was written. In another database another transaction can have the same number later.
    transactions: HashMap<i64, (RangeInclusive<i64>, i64)>,
}

impl Committed {
    /// Whether the event of a cursor was committed.
    #[must_use]
    pub fn has(&self, Cursor { position, at }: Cursor) -> bool {
        position <= self.end.position
            || self
                .transactions
                .get(&position.xid)
                .is_some_and(|(seqs, last)| seqs.contains(&position.seq) && at <= *last)
    }
}

/// What has been read of the events after a cursor.
#[derive(Debug, Default)]
pub struct Events {
    /// Those that nothing can come before any more, in their order.
    pub ready: Vec<Event>,
    /// How far was read: the cursor of the last of them, or of a later one that only a newer version knows.
    pub end: Cursor,
    /// How many further events are committed, and wait for an earlier transaction to end.
    pub held: usize,
    /// Whether there may be more.
    pub is_cut: bool,
}

/// The events of one transaction, until they are written. They are noted in the order of what was done.
#[derive(Debug)]
pub struct Outbox {
    is_on: bool,
    new: Vec<[Scalar; 5]>,
}

impl Outbox {
    /// An empty outbox. It notes nothing unless it `is_on`.
    #[must_use]
    pub fn new(is_on: bool) -> Self {
        Self { is_on, new: Vec::new() }
    }

    /// Whether events are written.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Notes that objects were created.
    pub fn created(&mut self, entity: &Entity, keys: impl Iterator<Item = i64>) {
        for key in keys {
            self.note(entity.table(), Change::Created, [Some(key), None], None);
        }
    }

    /// Notes that columns of an object were changed.
    pub fn updated(&mut self, entity: &Entity, key: i64, columns: &[&str]) {
        self.note(entity.table(), Change::Updated, [Some(key), None], Some(columns.join(",")));
    }

    /// Notes what became of the links of a table, of pairs in the order of [`Link::columns`]. What was deleted and
    /// inserted again has not changed.
    pub fn linked(&mut self, link: &Link, deleted: &BTreeSet<[i64; 2]>, inserted: &BTreeSet<[i64; 2]>) {
        let table = link.table.to_string();
        for (change, pairs) in
            [(Change::Unlinked, deleted.difference(inserted)), (Change::Linked, inserted.difference(deleted))]
        {
            for pair in pairs {
                self.note(&table, change, pair.map(Some), None);
            }
        }
    }

    fn note(&mut self, table: &str, change: Change, keys: [Option<i64>; 2], fields: Option<String>) {
        if self.is_on {
            let [first, second] = keys.map(|key| key.map_or(Scalar::Null, Scalar::Int));
            let fields = fields.map_or(Scalar::Null, Scalar::Text);
            self.new.push([
                Scalar::Text(table.to_owned()),
                Scalar::Text(change.as_str().to_owned()),
                first,
                second,
                fields,
            ]);
        }
    }

    /// Writes the events in one statement.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn write(self, db: &impl ConnectionTrait) -> Result<(), StoreError> {
        let backend = db.get_database_backend();
        if self.new.len() <= MAX_VALUES {
            if !self.new.is_empty() {
                db.execute_raw(insertion_of_values(backend, &self.new)).await?;
            }
            return Ok(());
        }
        let columns = COLUMNS.map(IntoIden::into_iden);
        let records = dialect::records(backend, TABLE, &columns, self.new.iter().map(|event| &event[..]))?;
        let mut insert = insertion();
        insert.select_from(records).map_err(dialect::statement_error)?;
        db.execute(&insert).await?;
        Ok(())
    }
}

/// The statement that writes a few events. Its text is put together by hand, because almost every write has one.
fn insertion_of_values(backend: DbBackend, events: &[[Scalar; 5]]) -> Statement {
    let mut sql = String::with_capacity(80 + 30 * events.len());
    sql += "INSERT INTO \"event\" (kind, change, first_key, second_key, fields) VALUES ";
    let mut values = Vec::with_capacity(COLUMNS.len() * events.len());
    for (number, event) in events.iter().enumerate() {
        sql += if number == 0 { "(" } else { ", (" };
        for (column, scalar) in event.iter().enumerate() {
            let is_key = matches!(column, 2 | 3);
            values.push(scalar.value().unwrap_or(if is_key { Value::BigInt(None) } else { Value::String(None) }));
            sql += if column == 0 { "" } else { ", " };
            if backend == DbBackend::Postgres {
                // Writing to a string cannot fail.
                let _ = write!(sql, "${}", values.len());
            } else {
                sql.push('?');
            }
        }
        sql.push(')');
    }
    Statement::from_sql_and_values(backend, sql, values)
}

fn insertion() -> InsertStatement {
    Query::insert().into_table(TABLE).columns(COLUMNS).take()
}

/// The events of rows that a step of the same statement has inserted, on PostgreSQL.
#[must_use]
pub fn created_by(entity: &Entity, step: &str) -> SelectStatement {
    let key = Expr::col((step.to_owned(), entity.key.name()));
    event_of(entity.table(), Change::Created, key, null_key()).from(step.to_owned()).take()
}

/// The same, of pairs that a step has linked.
#[must_use]
pub fn linked_by(link: &Link, step: &str) -> SelectStatement {
    let [first, second] = link.columns().map(|column| Expr::col((step.to_owned(), column.clone())));
    event_of(&link.table.to_string(), Change::Linked, first, second).from(step.to_owned()).take()
}

/// The statement that writes the events which others give; none when there are none.
///
/// # Errors
///
/// When they give something else than events.
pub fn insertion_of(events: Vec<SelectStatement>) -> Result<Option<InsertStatement>, StoreError> {
    let Some(select) = union(events) else { return Ok(None) };
    let mut insert = Query::insert().into_table(TABLE).columns(COLUMNS_WITHOUT_FIELDS).take();
    Ok(Some(insert.select_from(select).map_err(dialect::statement_error)?.take()))
}

fn union(mut events: Vec<SelectStatement>) -> Option<SelectStatement> {
    let mut select = (!events.is_empty()).then(|| events.remove(0))?;
    select.unions(events.into_iter().map(|events| (UnionType::All, events)));
    Some(select)
}

fn event_of(table: &str, change: Change, first: Expr, second: Expr) -> SelectStatement {
    // They are the same in each statement of its kind, and as parameters they would take time in each.
    let text = |text: &str| Expr::Constant(text.into());
    Query::select().exprs([text(table), text(change.as_str()), first, second]).take()
}

fn null_key() -> Expr {
    Expr::cust("CAST(NULL AS bigint)")
}

/// Writes the events of objects that are about to be deleted, in one statement: for each relation the objects that have
/// links, and then the objects.
///
/// # Errors
///
/// When the database does not answer.
pub async fn write_deleted(txn: &Transaction, entity: &'static Entity, keys: &BTreeSet<i64>) -> Result<(), StoreError> {
    let backend = txn.get_database_backend();
    let keys: Vec<i64> = keys.iter().copied().collect();
    let key = || dialect::parent_key(backend);
    let mut events: Vec<SelectStatement> = entity
        .relations
        .iter()
        .map(|relation| {
            let link = &**relation.link;
            let [first, second] = link.columns().map(|column| if *column == link.near { key() } else { null_key() });
            let near = Expr::col((link.table.clone(), link.near.clone()));
            let links = Query::select()
                .expr(Expr::Constant(1.into()))
                .from(link.table.clone())
                .and_where(near.eq(key()))
                .take();
            event_of(&link.table.to_string(), Change::Removed, first, second)
                .from_function(dialect::list(backend, &keys), dialect::KEYS)
                .and_where(Expr::exists(links))
                .take()
        })
        .collect();
    events.push(
        event_of(entity.table(), Change::Deleted, key(), null_key())
            .from_function(dialect::list(backend, &keys), dialect::KEYS)
            .take(),
    );
    if let Some(insert) = insertion_of(events)? {
        txn.execute(&insert).await?;
    }
    Ok(())
}

/// The events after a cursor, at most `limit`; none when the event of the cursor does not exist any more. The default
/// cursor is before the first event.
///
/// # Errors
///
/// When the database does not answer.
pub async fn after(db: &Db, cursor: Cursor, limit: u32) -> Result<Option<Events>, StoreError> {
    let columns = "kind, change, first_key, second_key, fields, at";
    let Position { xid, seq } = cursor.position;
    // With the event of the cursor itself.
    let limit = i64::from(limit) + i64::from(cursor != Cursor::default());
    let is_postgres = db.read.get_database_backend() == DbBackend::Postgres;
    let rows = if is_postgres {
        let sql = format!(
            "SELECT xid::text::bigint AS xid_number, seq, {columns}, \
             xid < pg_snapshot_xmin(pg_current_snapshot()) AS is_ready FROM {TABLE} \
             WHERE (xid, seq) >= ($1::text::xid8, $2) ORDER BY xid, seq LIMIT $3"
        );
        query(db, sql, [xid.to_string().into(), seq.into(), limit.into()]).await?
    } else {
        let sql = format!("SELECT 0 AS xid_number, seq, {columns} FROM {TABLE} WHERE seq >= ? ORDER BY seq LIMIT ?");
        query(db, sql, [seq.into(), limit.into()]).await?
    };
    let is_cut = rows.len() as u64 == limit.unsigned_abs();
    let mut events = Events { end: cursor, is_cut, ..Events::default() };
    let is_ready = |row: &QueryResult| if is_postgres { row.try_get::<bool>("", "is_ready") } else { Ok(true) };
    let mut rows = rows.iter();
    if cursor != Cursor::default() {
        // One that is not ready is of another database, from which this one was restored: its number is still to come.
        match rows.next() {
            Some(row) if cursor_of(row)? == cursor && is_ready(row)? => {}
            _ => return Ok(None),
        }
    }
    for row in rows {
        if !is_ready(row)? {
            events.held += 1;
            continue;
        }
        events.end = cursor_of(row)?;
        // None when a newer version of the program has written it.
        events.ready.extend(event(row, events.end)?);
    }
    Ok(Some(events))
}

fn cursor_of(row: &QueryResult) -> Result<Cursor, DbErr> {
    let position = Position { xid: row.try_get("", "xid_number")?, seq: row.try_get("", "seq")? };
    Ok(Cursor { position, at: row.try_get("", "at")? })
}

fn event(row: &QueryResult, Cursor { position, at }: Cursor) -> Result<Option<Event>, DbErr> {
    let change: String = row.try_get("", "change")?;
    let Some(change) = Change::named(&change) else { return Ok(None) };
    Ok(Some(Event {
        position,
        table: row.try_get::<String>("", "kind")?.into(),
        change,
        keys: [row.try_get("", "first_key")?, row.try_get("", "second_key")?],
        fields: row.try_get::<Option<String>>("", "fields")?.map(Arc::from),
        at,
    }))
}

/// What is committed now.
///
/// # Errors
///
/// When the database does not answer.
pub async fn committed(db: &Db) -> Result<Committed, StoreError> {
    let sql = match db.read.get_database_backend() {
        // The rows of transactions have a last `seq`. They are those that have events, because a standby does not know
        // which transactions run: the list of them in `pg_current_snapshot()` is empty there.
        DbBackend::Postgres => format!(
            "(SELECT xid::text::bigint AS xid_number, seq, at, NULL::bigint AS last_seq FROM {TABLE} \
             WHERE xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY xid DESC, seq DESC LIMIT 1) \
             UNION ALL SELECT xid::text::bigint, min(seq), max(at), max(seq) FROM {TABLE} \
             WHERE xid >= pg_snapshot_xmin(pg_current_snapshot()) GROUP BY xid"
        ),
        _ => format!("SELECT 0 AS xid_number, seq, at, NULL AS last_seq FROM {TABLE} ORDER BY seq DESC LIMIT 1"),
    };
    let mut committed = Committed::default();
    for row in query(db, sql, []).await? {
        let cursor = cursor_of(&row)?;
        let Position { xid, seq } = cursor.position;
        match row.try_get::<Option<i64>>("", "last_seq")? {
            Some(last) => drop(committed.transactions.insert(xid, (seq..=last, cursor.at))),
            None => committed.end = cursor,
        }
    }
    Ok(committed)
}

/// Whether the event of a cursor exists, and was not written longer than `retention` ago. Then all events after it can
/// be read.
///
/// # Errors
///
/// When the database does not answer.
pub async fn is_kept(db: &Db, cursor: Cursor, retention: Duration) -> Result<bool, StoreError> {
    let Cursor { position: Position { xid, seq }, at } = cursor;
    let retention = i64::try_from(retention.as_secs()).unwrap_or(i64::MAX);
    let rows = if db.read.get_database_backend() == DbBackend::Postgres {
        let sql = format!(
            "SELECT seq FROM {TABLE} WHERE xid = $1::text::xid8 AND seq = $2 AND at = $3 AND \
             at >= extract(epoch FROM now()) - $4 AND xid < pg_snapshot_xmin(pg_current_snapshot())"
        );
        query(db, sql, [xid.to_string().into(), seq.into(), at.into(), retention.into()]).await?
    } else {
        let sql = format!("SELECT seq FROM {TABLE} WHERE seq = ? AND at = ? AND at >= unixepoch() - ?");
        query(db, sql, [seq.into(), at.into(), retention.into()]).await?
    };
    Ok(!rows.is_empty())
}

/// Deletes the oldest events, after which nobody goes on any more: those whose next one, which everybody has read by
/// now, is too old as well. So the latest one stays. Gives whether there may be more. Several servers may do so at
/// once.
///
/// # Errors
///
/// When the database does not answer.
pub async fn purge(db: &Db, retention: Duration) -> Result<bool, StoreError> {
    Ok(db.write(Purge { age: (retention + MARGIN).as_secs() }).await? == MAX_PURGED)
}

struct Purge {
    /// In seconds.
    age: u64,
}

impl UnitOfWork for Purge {
    type Output = u64;

    fn reads(&self) -> bool {
        false
    }

    async fn run(&self, txn: &Transaction, _attempt: u32) -> Result<u64, StoreError> {
        let age = i64::try_from(self.age).unwrap_or(i64::MAX);
        let backend = txn.get_database_backend();
        let sql = match backend {
            DbBackend::Postgres => {
                // After a dump is restored into another cluster, the numbers of its transactions begin anew.
                let unknown = format!("DELETE FROM {TABLE} WHERE xid >= pg_snapshot_xmax(pg_current_snapshot())");
                txn.execute_unprepared(&unknown).await?;
                format!(
                    "DELETE FROM {TABLE} WHERE (xid, seq) IN (SELECT xid, seq FROM ( \
                     SELECT xid, seq, lead(at) OVER (ORDER BY xid, seq) AS next FROM (SELECT xid, seq, at FROM {TABLE} \
                     WHERE xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY xid, seq LIMIT {MAX_PURGED} + 1 \
                     ) oldest) followed WHERE next < extract(epoch FROM now()) - $1)"
                )
            }
            _ => format!(
                "DELETE FROM {TABLE} WHERE seq IN (SELECT seq FROM ( \
                 SELECT seq, lead(at) OVER (ORDER BY seq) AS next FROM (SELECT seq, at FROM {TABLE} ORDER BY seq \
                 LIMIT {MAX_PURGED} + 1)) WHERE next < unixepoch() - ?)"
            ),
        };
        let deleted = txn.execute_raw(Statement::from_sql_and_values(backend, sql, [age.into()])).await?;
        Ok(deleted.rows_affected())
    }
}

async fn query(db: &Db, sql: String, values: impl IntoIterator<Item = Value>) -> Result<Vec<QueryResult>, StoreError> {
    let backend = db.read.get_database_backend();
    Ok(db.read.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await?)
}
