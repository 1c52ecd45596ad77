//! What a request may cost the database, and has cost it: every statement comes by here, where it is counted, timed and
//! cut off.

use std::{
    fmt,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use sea_orm::{ConnAcquireErr, DbBackend, DbErr, ExecResult, QueryResult, Statement};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::{
    claim::{Claim, LongStatements},
    connection::Connection,
    error::{code_of_cancelled, deadline_exceeded, response_code, unanswered_commit},
    pool::Interrupt,
    sqlite::RunOn,
    summary::Summary,
};
use crate::telemetry::{self, Telemetry};

/// What the statements of one request have in common.
#[derive(Default)]
pub struct StatementMeter {
    deadline: Option<Instant>,
    /// Each statement that reads takes a permit, so that one request leaves connections to others.
    permits: Option<Arc<Semaphore>>,
    /// Whether it has had a connection to read.
    has_read: AtomicBool,
    /// What is known of statements from all requests.
    long: Arc<LongStatements>,
    /// From what time on a statement is warned of.
    slow: Option<Duration>,
    statements: AtomicU32,
    nanoseconds: AtomicU64,
    /// The number of the transaction that was committed last, if that is told.
    written: AtomicU64,
    observer: Option<Arc<Observer>>,
    telemetry: Telemetry,
}

/// How a statement runs.
#[derive(Debug)]
pub struct Run {
    pub backend: DbBackend,
    pub on: RunOn,
    pub start: Instant,
    /// What interrupts it at the deadline, when it commits itself: its answer is the only one that tells what is
    /// written, so it is waited for.
    pub interrupt: Option<Interrupt>,
}

/// The greatest number of statements of one request that read at the same time.
const MAX_READS_AT_ONCE: usize = 4;

type Observer = dyn Fn(&Statement) + Send + Sync;

/// What the statements of a request have cost so far, without those that only begin and end transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub statements: u32,
    /// The time that they took together. What runs side by side is added up.
    pub time: Duration,
    /// The number of the replica that has answered, from 1; none where the primary has.
    pub replica: Option<u32>,
}

impl StatementMeter {
    pub fn new(slow: Duration, long: Arc<LongStatements>, telemetry: Telemetry) -> Self {
        Self { slow: (!slow.is_zero()).then_some(slow), long, telemetry, ..Self::default() }
    }

    /// What belongs to no request: it is told to those who watch, and nothing else.
    pub fn uncounted(&self) -> Self {
        Self { telemetry: self.telemetry.clone(), ..Self::default() }
    }

    /// A request that is observed in the same way and ends no later, with its own deadline and count.
    pub fn until(&self, deadline: Instant) -> Self {
        let deadline = self.deadline.map_or(deadline, |other| other.min(deadline));
        let permits = Some(Arc::new(Semaphore::new(MAX_READS_AT_ONCE)));
        Self {
            deadline: Some(deadline),
            permits,
            slow: self.slow,
            long: Arc::clone(&self.long),
            observer: self.observer.clone(),
            telemetry: self.telemetry.clone(),
            ..Self::default()
        }
    }

    pub fn observed(&self, observer: impl Fn(&Statement) + Send + Sync + 'static) -> Self {
        Self {
            deadline: self.deadline,
            slow: self.slow,
            long: Arc::clone(&self.long),
            observer: Some(Arc::new(observer)),
            telemetry: self.telemetry.clone(),
            ..Self::default()
        }
    }

    pub fn usage(&self) -> Usage {
        Usage {
            statements: self.statements.load(Ordering::Relaxed),
            time: Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)),
            replica: None,
        }
    }

    /// When all that it asks of the database must have come to its end.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The end of what may take some time more than the deadline leaves. Without a deadline that time begins now.
    pub fn deadline_and(&self, more: Duration) -> Instant {
        let now = Instant::now();
        self.deadline.map_or(now, |deadline| deadline.max(now)) + more
    }

    /// Waits for a permit to read, which lasts until it is dropped.
    pub async fn permit(&self) -> Result<Option<OwnedSemaphorePermit>, DbErr> {
        let Some(permits) = &self.permits else { return Ok(None) };
        let permit = self.until_deadline(Arc::clone(permits).acquire_owned()).await?;
        permit.map(Some).map_err(|_| DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed))
    }

    /// What a connection is wanted for that is to run this statement.
    pub fn claim(&self, sql: &str) -> Claim {
        // What belongs to no request has one statement.
        let is_first = self.permits.is_none() || !self.has_read.swap(true, Ordering::Relaxed);
        if is_first && !self.long.has(sql) { Claim::First } else { Claim::Further }
    }

    /// Does something before the deadline, or not at all.
    pub async fn until_deadline<T>(&self, work: impl Future<Output = T>) -> Result<T, DbErr> {
        match self.deadline {
            None => Ok(work.await),
            Some(deadline) => timeout_at(deadline, work).await.map_err(|_| deadline_exceeded()),
        }
    }

    /// Runs a statement.
    pub async fn run<T>(
        &self,
        sql: &str,
        run: Run,
        statement: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        let Run { backend, start, interrupt, .. } = run;
        if self.deadline.is_some_and(|deadline| deadline <= start) {
            return Err(deadline_exceeded());
        }
        let mut running = Running { meter: self, sql, backend, start, is_answered: false, error: None };
        let result = match interrupt {
            None => self.until_deadline(statement).await.flatten(),
            Some(interrupt) => self.until_answered(interrupt, statement).await,
        };
        running.is_answered = true;
        running.error = result.as_ref().err().and_then(|error| response_code(error, backend));
        result
    }

    /// Waits for a statement that commits itself. At the deadline it is interrupted, and its answer is still waited for
    /// as long as that to a commit is. One that was too late for that is committed, but perhaps not on a synchronous
    /// standby, for which PostgreSQL waits no longer when it is interrupted.
    async fn until_answered<T>(
        &self,
        interrupt: Interrupt,
        statement: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        let Some(deadline) = self.deadline else { return statement.await };
        let mut statement = pin!(statement);
        if let Ok(result) = timeout_at(deadline, &mut statement).await {
            return result;
        }
        let end = self.deadline_and(interrupt.commit_timeout());
        let interrupted = async { tokio::join!(interrupt.send(), statement).1 };
        match timeout_at(end, interrupted).await {
            Ok(Err(error)) => Err(error),
            Ok(Ok(_)) | Err(_) => Err(unanswered_commit("it took too long")),
        }
    }

    /// Notes the number of a transaction that was committed, if it has one.
    pub fn note_written(&self, xid: Option<u64>) {
        if let Some(xid) = xid {
            self.written.store(xid, Ordering::Relaxed);
        }
    }

    /// The number of the transaction that was committed last. None has the number 0.
    pub fn written(&self) -> Option<u64> {
        Some(self.written.load(Ordering::Relaxed)).filter(|xid| *xid > 0)
    }

    fn observe(&self, statement: &Statement) {
        if let Some(observer) = &self.observer {
            observer(statement);
        }
    }

    pub async fn execute(
        &self,
        connection: &mut Connection,
        run: Run,
        statement: Statement,
    ) -> Result<ExecResult, DbErr> {
        self.observe(&statement);
        let sql: Arc<str> = statement.sql.into();
        let executed = connection.execute(run.on, Arc::clone(&sql), statement.values);
        self.run(&sql, run, executed).await
    }

    pub async fn query_all(
        &self,
        connection: &mut Connection,
        run: Run,
        statement: Statement,
    ) -> Result<Vec<QueryResult>, DbErr> {
        self.observe(&statement);
        let sql: Arc<str> = statement.sql.into();
        let queried = connection.query_all(run.on, Arc::clone(&sql), statement.values);
        self.run(&sql, run, queried).await
    }
}

impl fmt::Debug for StatementMeter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { deadline, slow, .. } = self;
        let usage = self.usage();
        formatter
            .debug_struct("StatementMeter")
            .field("deadline", deadline)
            .field("slow", slow)
            .field("usage", &usage)
            .finish()
    }
}

/// A statement while it runs. It counts also when it fails, when its time is over, and when its client goes away.
struct Running<'a> {
    meter: &'a StatementMeter,
    sql: &'a str,
    backend: DbBackend,
    start: Instant,
    is_answered: bool,
    /// The code of the error in its answer.
    error: Option<String>,
}

impl Running<'_> {
    /// Tells those who watch.
    fn tell(&mut self, time: Duration) {
        let Some(metrics) = self.meter.telemetry.metrics() else { return };
        let Summary { operation, table } = Summary::of(self.sql);
        // Nobody waits for what was cut off.
        let cut_off = || (!self.is_answered).then(|| code_of_cancelled(self.backend));
        let statement = telemetry::Statement {
            db_system_name: system_name(self.backend),
            db_operation_name: operation,
            db_collection_name: table.to_owned(),
            db_response_status_code: self.error.take().or_else(cut_off),
        };
        metrics.note_statement(&statement, time);
    }
}

/// The name of a database (semantic conventions, `db.system.name`).
fn system_name(backend: DbBackend) -> &'static str {
    if backend == DbBackend::Sqlite { "sqlite" } else { "postgresql" }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let time = self.start.elapsed();
        self.tell(time);
        let Self { meter, sql, .. } = self;
        meter.statements.fetch_add(1, Ordering::Relaxed);
        meter.long.note(sql, time);
        meter.nanoseconds.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        // The log has a setting of its own for this (`--log-sql`).
        tracing::debug!(target: "hero_teams::sql", sql, milliseconds = time.as_secs_f64() * 1_000.0);
        if meter.slow.is_some_and(|slow| slow <= time) {
            let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(milliseconds, sql, "a slow statement");
        }
    }
}
