//! What a request may cost the database, and has cost it: every statement comes by here, where it is counted, timed and
//! cut off.

use std::{
    fmt,
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use sea_orm::{ConnAcquireErr, DbBackend, DbErr, ExecResult, QueryResult, Statement, Value, sea_query::ArrayType};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::{
    claim::{Claim, LongStatements},
    connection::Connection,
    connector::Target,
    error::{code_of_cancelled, deadline_exceeded, response_code, unanswered_commit},
    pool::Interrupt,
    sqlite::RunOn,
    summary::Summary,
    written::Written,
};
use crate::telemetry::{Ended, KeyValue, Span, SpanKind, Telemetry, began};

/// What the statements of one request have in common.
#[derive(Default)]
pub struct StatementMeter {
    deadline: Option<Instant>,
    /// Each statement that reads takes a permit, so that one request leaves connections to others.
    permits: Option<Arc<Semaphore>>,
    /// Whether it has had a connection to read, or an answer of another request.
    has_read: AtomicBool,
    /// What is known of statements from all requests.
    long: Arc<LongStatements>,
    /// From what time on a statement is warned of.
    slow: Option<Duration>,
    statements: AtomicU32,
    nanoseconds: AtomicU64,
    /// The transaction that was committed last, if that is told.
    written: Mutex<Option<Written>>,
    observer: Option<Arc<Observer>>,
    telemetry: Telemetry,
    /// Whether it is kept what has run, for a report of a slow operation.
    is_kept: bool,
    ran: Mutex<Vec<Ran>>,
    /// What SQL statements end with.
    comment: OnceLock<Arc<str>>,
}

/// Statements with the same text that a request has run.
#[derive(Clone, Debug)]
pub struct Ran {
    pub sql: Arc<str>,
    /// The types of its values on PostgreSQL, where its plan may be asked for.
    pub types: Vec<&'static str>,
    pub number: u32,
    /// Their time, together.
    pub time: Duration,
    /// The rows that the database has answered with, or has changed, together.
    pub rows: u64,
}

impl Ran {
    /// What the statements do, in two words.
    #[must_use]
    pub fn summary(&self) -> Summary<'_> {
        Summary::from_sql(&self.sql)
    }
}

/// The greatest number of texts that are kept. What further ones take is added to the last one.
const MAX_RAN: usize = 50;

/// How a statement runs.
#[derive(Debug)]
pub struct Run {
    pub target: Arc<Target>,
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
            is_kept: self.telemetry.slow().is_some(),
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

    /// Whether its statements may be those of other requests: nobody has to know exactly which ones they are.
    pub fn may_share(&self) -> bool {
        let is_explained = self.is_kept && self.telemetry.settings().explain_slow;
        !is_explained && self.comment.get().is_none() && self.telemetry.recorded().is_none()
    }

    /// Counts a statement of another request, which has read these rows for this one as well.
    pub fn count_shared(&self, start: Instant, rows: u64, what: impl FnOnce() -> String) {
        let time = start.elapsed();
        self.count(time);
        self.has_read.store(true, Ordering::Relaxed);
        if let Some(metrics) = self.telemetry.metrics() {
            metrics.note_shared_read();
        }
        if self.is_kept {
            let sql = format!("SELECT of another request: {}", what()).into();
            self.keep(Ran { sql, types: Vec::new(), number: 1, time, rows });
        }
    }

    fn count(&self, time: Duration) {
        self.statements.fetch_add(1, Ordering::Relaxed);
        self.nanoseconds.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
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
        sql: &Arc<str>,
        run: Run,
        statement: impl Future<Output = Result<T, DbErr>>,
        rows: impl FnOnce(&T) -> u64,
    ) -> Result<T, DbErr> {
        self.run_with(sql, Vec::new(), run, statement, rows).await
    }

    async fn run_with<T>(
        &self,
        sql: &Arc<str>,
        types: Vec<&'static str>,
        run: Run,
        statement: impl Future<Output = Result<T, DbErr>>,
        rows: impl FnOnce(&T) -> u64,
    ) -> Result<T, DbErr> {
        let Run { target, start, interrupt, .. } = run;
        if self.deadline.is_some_and(|deadline| deadline <= start) {
            return Err(deadline_exceeded());
        }
        let told = Told::begin(&self.telemetry, sql, &target, start);
        let mut running = Running { meter: self, sql, told, start, rows: 0, types };
        let result = match interrupt {
            None => self.until_deadline(statement).await.flatten(),
            Some(interrupt) => self.until_answered(interrupt, statement).await,
        };
        running.told.answered(&result);
        running.rows = result.as_ref().map_or(0, rows);
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

    /// Notes a transaction that was committed. After one that is not known, none says all that was written.
    pub fn note_written(&self, written: Written) {
        let mut latest = self.written.lock();
        if !latest.is_some_and(Written::is_unknown) {
            *latest = Some(written);
        }
    }

    /// The transaction that was committed last.
    pub fn written(&self) -> Option<Written> {
        *self.written.lock()
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
        let types = self.types(&statement);
        let sql: Arc<str> = statement.sql.into();
        let executed = pin!(connection.execute(run.on, self.commented(&sql), statement.values));
        self.run_with(&sql, types, run, executed, ExecResult::rows_affected).await
    }

    pub async fn query_all(
        &self,
        connection: &mut Connection,
        run: Run,
        statement: Statement,
    ) -> Result<Vec<QueryResult>, DbErr> {
        self.observe(&statement);
        let types = self.types(&statement);
        let sql: Arc<str> = statement.sql.into();
        // Pinned here, it is not copied into each of the futures that it is handed on to.
        let queried = pin!(connection.query_all(run.on, self.commented(&sql), statement.values));
        self.run_with(&sql, types, run, queried, |rows: &Vec<_>| rows.len() as u64).await
    }

    /// Tells those who watch of something that is no statement of its own, such as a COMMIT.
    pub async fn told<T>(
        &self,
        sql: &str,
        target: &Target,
        work: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        let mut told = Told::begin(&self.telemetry, sql, target, Instant::now());
        let result = work.await;
        told.answered(&result);
        result
    }

    /// Has the SQL statements end with a comment from now on.
    pub fn comment(&self, comment: &Arc<str>) {
        // It is said once.
        let _ = self.comment.set(Arc::clone(comment));
    }

    /// The text of a statement as it is sent.
    fn commented(&self, sql: &Arc<str>) -> Arc<str> {
        match self.comment.get() {
            Some(comment) => format!("{sql} {comment}").into(),
            None => Arc::clone(sql),
        }
    }

    /// The types of the values of a statement, if its plan may be asked for.
    fn types(&self, statement: &Statement) -> Vec<&'static str> {
        let values = statement.values.iter().filter(|_| self.is_kept && self.telemetry.settings().explain_slow);
        values.flat_map(|values| &values.0).map(type_of).collect()
    }

    fn keep(&self, new: Ran) {
        let mut ran = self.ran.lock();
        let has_room = ran.len() < MAX_RAN;
        let same = ran.iter().position(|other| other.sql == new.sql);
        match same.or((!has_room).then_some(MAX_RAN - 1)) {
            Some(index) => {
                ran[index].number += 1;
                ran[index].time += new.time;
                ran[index].rows += new.rows;
            }
            None => ran.push(new),
        }
    }

    /// What has run, the text that took the longest first.
    pub fn ran(&self) -> Vec<Ran> {
        let mut ran = self.ran.lock().clone();
        ran.sort_by_key(|ran| std::cmp::Reverse(ran.time));
        ran
    }
}

/// The name of the type of a value on PostgreSQL.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "boolean",
        Value::Int(_) => "integer",
        Value::BigInt(_) | Value::BigUnsigned(_) | Value::Unsigned(_) => "bigint",
        Value::Double(_) => "double precision",
        Value::Json(_) => "json",
        Value::Array(ArrayType::BigInt, _) => "bigint[]",
        Value::Array(ArrayType::Int, _) => "integer[]",
        Value::Array(..) => "text[]",
        _ => "text",
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
    sql: &'a Arc<str>,
    told: Told<'a>,
    start: Instant,
    rows: u64,
    /// The types of its values, where its plan may be asked for.
    types: Vec<&'static str>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let Self { meter, sql, start, rows, .. } = self;
        let time = start.elapsed();
        meter.count(time);
        meter.long.note(sql, time);
        if meter.is_kept {
            meter.keep(Ran {
                sql: Arc::clone(sql),
                types: std::mem::take(&mut self.types),
                time,
                rows: *rows,
                number: 1,
            });
        }
        // The log has a setting of its own for this (`--log-sql`).
        tracing::debug!(target: "hero_teams::sql", sql = &***sql, milliseconds = time.as_secs_f64() * 1_000.0);
        if meter.slow.is_some_and(|slow| slow <= time) {
            let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(milliseconds, sql = &***sql, "a slow statement");
        }
    }
}

/// What is told of a statement to those who watch, when it has ended in whatever way.
struct Told<'a> {
    telemetry: &'a Telemetry,
    sql: &'a str,
    target: &'a Target,
    /// The span that it belongs to, if that is recorded.
    parent: Option<Span>,
    start: Instant,
    is_answered: bool,
    /// The code of the error in its answer.
    error: Option<String>,
}

impl<'a> Told<'a> {
    fn begin(telemetry: &'a Telemetry, sql: &'a str, target: &'a Target, start: Instant) -> Self {
        let parent = telemetry.recorded().map(|(_, span)| span);
        Self { telemetry, sql, target, parent, start, is_answered: false, error: None }
    }

    fn answered<T>(&mut self, result: &Result<T, DbErr>) {
        self.is_answered = true;
        self.error = result.as_ref().err().and_then(|error| response_code(error, self.target.backend));
    }

    fn span(&self, summary: Summary<'_>, code: Option<&String>) -> Ended {
        let Target { namespace, address, port, .. } = self.target;
        let mut attributes = vec![
            KeyValue::new("db.system.name", self.target.system_name()),
            KeyValue::new("db.namespace", namespace.clone()),
            KeyValue::new("db.operation.name", summary.operation),
            KeyValue::new("db.query.summary", summary.to_string()),
            KeyValue::new("db.query.text", self.sql.to_owned()),
        ];
        if !summary.table.is_empty() {
            attributes.push(KeyValue::new("db.collection.name", summary.table.to_owned()));
        }
        if !address.is_empty() {
            attributes.push(KeyValue::new("server.address", address.clone()));
            attributes.push(KeyValue::new("server.port", i64::from(*port)));
        }
        attributes.extend(code.map(|code| KeyValue::new("db.response.status_code", code.clone())));
        let is_remote = self.target.backend == DbBackend::Postgres;
        let kind = if is_remote { SpanKind::Client } else { SpanKind::Internal };
        Ended { name: summary.to_string(), kind, start: began(self.start), attributes, error: code.cloned() }
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        let recorded = self.telemetry.tracer().zip(self.parent.as_ref());
        if self.telemetry.metrics().is_none() && recorded.is_none() {
            return;
        }
        let summary = Summary::from_sql(self.sql);
        // Nobody waits for what was cut off.
        let code = if self.is_answered { self.error.take() } else { Some(code_of_cancelled(self.target.backend)) };
        if let Some((tracer, parent)) = recorded {
            tracer.record(parent, self.span(summary, code.as_ref()));
        }
        if let Some(metrics) = self.telemetry.metrics() {
            let Summary { operation, table } = summary;
            metrics.note_statement(self.target.system_name(), operation, table, code, self.start.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_perhaps_written_is_remembered() {
        let meter = StatementMeter::default();
        let written = |xid| Written { system: 7, started: 8, xid };
        assert_eq!(meter.written(), None);
        for (noted, latest) in [(5, 5), (9, 9), (Written::UNKNOWN, Written::UNKNOWN), (12, Written::UNKNOWN)] {
            meter.note_written(written(noted));
            assert_eq!(meter.written(), Some(written(latest)));
        }
    }
}
