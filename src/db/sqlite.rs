//! SQLite, called where its callers are.
//!
//! SQLx gives each connection to SQLite a thread of its own, which is woken for each statement and wakes whoever waits
//! for the answer: some 25 microseconds for a hero by its key, that SQLite finds in five. But SQLite is a library, so a
//! read that is short runs in the task that asks for it, and what [`super::Db::write`] does runs as a whole on one
//! thread. Written by hand, one hero by id takes a third of the time that it takes over SQLx, and so does a write.
//!
//! A task must not hold up its worker for long. A read that takes longer than [`MAX_HOLD_UP`], or meets the lock of
//! another process, is begun once more on a thread that may wait, and begins there the next time.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use rusqlite::{
    ErrorCode, Row, Statement, ToSql, params_from_iter,
    types::{ToSqlOutput, ValueRef},
};
use sea_orm::{
    ExecResult, ProxyExecResult, ProxyRow, QueryResult, Value,
    sea_query::Values,
    sqlx::{self, error::BoxDynError},
};
use tokio::{
    sync::oneshot,
    task::{JoinHandle, spawn_blocking},
    time::Instant,
};

use super::{
    error::time_is_over,
    file::{BUSY_TIMEOUT, File, Open},
    sqlite_error::SqliteError,
};

/// A connection to SQLite. When it is dropped, what still runs in it is interrupted.
#[derive(Debug)]
pub struct Sqlite {
    /// None while a thread has it.
    connection: Option<Open>,
    /// The thread that has it, or had it.
    thread: Option<JoinHandle<Open>>,
    watch: Arc<Watch>,
    /// Statements that took too long for a task when they ran last. They begin on a thread.
    long: HashSet<Arc<str>>,
}

/// Where a statement runs.
#[derive(Clone, Copy, Debug)]
pub enum RunOn {
    /// In the task that asks, and begun once more on a thread when that takes too long. For what only reads.
    Caller,
    /// On a thread that may wait.
    BlockingPool,
    /// On the thread that asks, which may wait, until the deadline.
    CurrentThread(Option<Instant>),
}

impl RunOn {
    /// The same, for what must come to its end.
    #[must_use]
    pub fn without_deadline(self) -> Self {
        if let Self::CurrentThread(_) = self { Self::CurrentThread(None) } else { self }
    }
}

/// How long a statement may hold up the worker of a task: two to five milliseconds. Steps are counted, and not time, of
/// which the system may give some to others.
const MAX_HOLD_UP: u64 = 200 * STEPS as u64;
/// Instructions of SQLite's virtual machine between two calls of the progress handler: about 10 µs.
const STEPS: u32 = 1_000;
/// Statements that a connection keeps prepared.
const PREPARED: usize = 100;

/// What SQLite asks from time to time whether to go on.
#[derive(Debug)]
struct Watch {
    start: Instant,
    interrupted: AtomicBool,
    /// Microseconds from the start on.
    until: AtomicU64,
    /// Steps that are left.
    steps: AtomicU64,
}

impl Watch {
    /// It is asked after a number of [`STEPS`].
    fn is_over(&self) -> bool {
        // Only the thread that runs the statement counts.
        let steps = self.steps.load(Relaxed).saturating_sub(STEPS.into());
        self.steps.store(steps, Relaxed);
        steps == 0 || self.interrupted.load(Relaxed) || self.until.load(Relaxed) < microseconds(self.start.elapsed())
    }

    /// The steps that the last statement took, if they were not limited.
    fn steps_without_limit(&self) -> Option<u64> {
        let left = self.steps.load(Relaxed);
        (left > MAX_HOLD_UP).then(|| u64::MAX - left)
    }

    fn set(&self, steps: u64, deadline: Option<Instant>) {
        let until = deadline.map(|deadline| microseconds(deadline.saturating_duration_since(self.start)));
        self.until.store(until.unwrap_or(u64::MAX), Relaxed);
        self.steps.store(steps, Relaxed);
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Sqlite {
    /// Opens the file.
    pub async fn open(file: Arc<File>) -> Result<Self, sqlx::Error> {
        let opened = spawn_blocking(move || {
            let watch = Arc::new(Watch {
                start: Instant::now(),
                interrupted: false.into(),
                until: u64::MAX.into(),
                steps: u64::MAX.into(),
            });
            let connection = file.open()?;
            connection.set_prepared_statement_cache_capacity(PREPARED);
            let watched = Arc::clone(&watch);
            connection.progress_handler(STEPS.cast_signed(), Some(move || watched.is_over()))?;
            Ok(Self { connection: Some(connection), thread: None, watch, long: HashSet::new() })
        });
        opened.await.map_err(|_| sqlx::Error::WorkerCrashed)?.map_err(error)
    }

    pub async fn execute(
        &mut self,
        run_on: RunOn,
        sql: Arc<str>,
        values: Option<Values>,
    ) -> Result<ExecResult, sqlx::Error> {
        let values = parameters(values);
        let work = move |connection: &Open| {
            let rows_affected = connection.prepare_cached(&sql)?.execute(params_from_iter(&values))?;
            Ok(ProxyExecResult { last_insert_id: 0, rows_affected: rows_affected as u64 }.into())
        };
        self.run(run_on, work).await
    }

    /// Runs statements as they are, without a plan to keep.
    pub async fn execute_unprepared(&mut self, run_on: RunOn, sql: Arc<str>) -> Result<ExecResult, sqlx::Error> {
        self.run(run_on, move |connection| connection.execute_batch(&sql).map(|()| ProxyExecResult::default().into()))
            .await
    }

    /// Runs a statement that begins or ends a transaction. None is begun, and none counts as committed, when the file
    /// is not where it was.
    pub async fn command(&mut self, run_on: RunOn, sql: &'static str) -> Result<(), sqlx::Error> {
        let (begins, commits) = (sql.starts_with("BEGIN"), sql == "COMMIT");
        self.run(run_on, move |connection| {
            if begins {
                connection.ensure_in_place()?;
            }
            connection.prepare_cached(sql)?.execute(())?;
            if commits { connection.ensure_in_place() } else { Ok(()) }
        })
        .await
    }

    /// Whether a transaction is open. SQLite ends one by itself when the disk is full or a write was interrupted.
    pub fn is_in_transaction(&self) -> bool {
        self.connection.as_ref().is_none_or(|connection| !connection.is_autocommit())
    }

    /// Interrupts what runs on a thread, and waits until it has ended.
    pub async fn interrupt(&mut self) -> Result<(), sqlx::Error> {
        self.watch.interrupted.store(true, Relaxed);
        let joined = self.join().await;
        self.watch.interrupted.store(false, Relaxed);
        joined
    }

    /// A sign of life: that no thread has taken the connection along, and that it can read.
    pub fn ping(&self) -> Result<(), sqlx::Error> {
        let connection = self.connection.as_ref().ok_or(sqlx::Error::WorkerCrashed)?;
        if connection.is_immutable() { connection.ensure_in_place().map_err(error) } else { Ok(()) }
    }

    pub async fn close(mut self) -> Result<(), sqlx::Error> {
        self.join().await?;
        let Some(connection) = self.connection.take() else { return Ok(()) };
        // The last connection of a file checkpoints the write-ahead log.
        spawn_blocking(|| drop(connection)).await.map_err(|_| sqlx::Error::WorkerCrashed)
    }

    /// Runs a statement that gives rows. In a task it begins where what it took the last time lets it.
    pub async fn query_all(
        &mut self,
        run_on: RunOn,
        sql: Arc<str>,
        values: Option<Values>,
    ) -> Result<Vec<QueryResult>, sqlx::Error> {
        let (text, values) = (Arc::clone(&sql), parameters(values));
        let work = move |connection: &Open| {
            let mut statement = connection.prepare_cached(&text)?;
            let columns = columns(&statement);
            statement.query(params_from_iter(&values))?.mapped(|row| result(row, &columns)).collect()
        };
        let RunOn::Caller = run_on else { return self.run(run_on, work).await };
        let is_long = self.long.contains(&sql);
        let result = self.run(if is_long { RunOn::BlockingPool } else { RunOn::Caller }, work).await;
        match self.watch.steps_without_limit() {
            Some(steps) if is_long && steps < MAX_HOLD_UP => {
                self.long.remove(&sql);
            }
            Some(_) if !is_long => {
                if self.long.len() >= PREPARED {
                    self.long.clear();
                }
                self.long.insert(sql);
            }
            _ => {}
        }
        result
    }

    async fn run<T: Send + 'static>(
        &mut self,
        run_on: RunOn,
        work: impl Fn(&Open) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, sqlx::Error> {
        let Some(connection) = &self.connection else { return Err(sqlx::Error::WorkerCrashed) };
        // How long another process is waited for. SQLite counts whole milliseconds, and may give up a moment before.
        let mut left = BUSY_TIMEOUT;
        let result = match run_on {
            RunOn::BlockingPool => return Box::pin(self.run_on_thread(work)).await,
            RunOn::Caller => {
                self.watch.set(MAX_HOLD_UP, None);
                connection.run(Duration::ZERO, &work)
            }
            RunOn::CurrentThread(deadline) => {
                self.watch.set(u64::MAX, deadline);
                // SQLite does not ask whether to go on while it waits for a lock.
                if let Some(deadline) = deadline {
                    left = left.min(deadline.saturating_duration_since(Instant::now()));
                }
                connection.run(left, &work)
            }
        };
        match (result, run_on) {
            (Err(cause), RunOn::Caller) if may_take_longer(&cause) => Box::pin(self.run_on_thread(work)).await,
            (Err(cause), RunOn::CurrentThread(Some(deadline)))
                if may_take_longer(&cause) && (left < BUSY_TIMEOUT || deadline <= Instant::now()) =>
            {
                Err(time_is_over())
            }
            (result, _) => result.map_err(error),
        }
    }

    async fn run_on_thread<T: Send + 'static>(
        &mut self,
        work: impl Fn(&Open) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, sqlx::Error> {
        let Some(connection) = self.connection.take() else { return Err(sqlx::Error::WorkerCrashed) };
        // Whoever waits for it sees to the deadline.
        self.watch.set(u64::MAX, None);
        let (sender, receiver) = oneshot::channel();
        self.thread = Some(spawn_blocking(move || {
            // When nobody waits for the result any more, it is not needed.
            let _ = sender.send(connection.run(BUSY_TIMEOUT, &work));
            connection
        }));
        self.join().await?;
        receiver.await.map_err(|_| sqlx::Error::WorkerCrashed)?.map_err(error)
    }

    /// Waits for the thread that has the connection, if one has. When this is dropped it can be called again.
    async fn join(&mut self) -> Result<(), sqlx::Error> {
        if let Some(thread) = &mut self.thread {
            let joined = thread.await;
            self.thread = None;
            self.connection = Some(joined.map_err(|_| sqlx::Error::WorkerCrashed)?);
        }
        Ok(())
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.watch.interrupted.store(true, Relaxed);
    }
}

fn parameters(values: Option<Values>) -> Vec<Parameter> {
    values.into_iter().flat_map(|values| values.0).map(Parameter).collect()
}

/// A value of a statement as SQLite takes it.
struct Parameter(Value);

impl ToSql for Parameter {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match &self.0 {
            Value::Bool(value) => value.to_sql(),
            Value::Int(value) => value.to_sql(),
            Value::BigInt(value) => value.to_sql(),
            Value::BigUnsigned(value) => {
                let value = value.map(i64::try_from).transpose().map_err(unknown)?;
                Ok(ToSqlOutput::Owned(value.into()))
            }
            Value::Double(value) => value.to_sql(),
            Value::String(value) => value.to_sql(),
            Value::Bytes(value) => value.to_sql(),
            other => Err(unknown(format!("a value of another kind: {other:?}"))),
        }
    }
}

fn unknown(cause: impl Into<BoxDynError>) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(cause.into())
}

fn columns(statement: &Statement<'_>) -> Vec<String> {
    statement.column_names().into_iter().map(str::to_owned).collect()
}

/// A row as SeaORM takes it from drivers that it does not know.
fn result(row: &Row<'_>, columns: &[String]) -> rusqlite::Result<QueryResult> {
    let values = columns.iter().enumerate().map(|(index, column)| {
        let value = match row.get_ref(index)? {
            ValueRef::Null => Value::BigInt(None),
            ValueRef::Integer(number) => Value::BigInt(Some(number)),
            ValueRef::Real(number) => Value::Double(Some(number)),
            ValueRef::Text(_) => Value::String(Some(row.get(index)?)),
            ValueRef::Blob(bytes) => Value::Bytes(Some(bytes.to_owned())),
        };
        Ok((column.clone(), value))
    });
    Ok(ProxyRow::new(values.collect::<rusqlite::Result<_>>()?).into())
}

/// Whether a statement may come to its end when it may take longer.
fn may_take_longer(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::OperationInterrupted | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// An error of SQLite as SQLx has those of other databases, which is the one that SeaORM knows.
fn error(cause: rusqlite::Error) -> sqlx::Error {
    sqlx::Error::Database(Box::new(SqliteError::from(cause)))
}
