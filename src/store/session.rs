//! What a request uses the database through: every statement comes by here, where it is counted, timed and cut off.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement, prelude::async_trait::async_trait,
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

use super::{
    connection::{Connection, Connector},
    error::deadline_exceeded,
    pool::{Lease, Pool},
};

/// What the statements of one request have in common.
#[derive(Default)]
pub struct Request {
    deadline: Option<Instant>,
    /// From what time on a statement is warned of.
    slow: Option<Duration>,
    statements: AtomicU32,
    nanoseconds: AtomicU64,
    observer: Option<Arc<Observer>>,
}

type Observer = dyn Fn(&Statement) + Send + Sync;

/// What the statements of a request have cost so far, without those that only begin and end transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub statements: u32,
    /// The time that they took together. What runs side by side is added up.
    pub time: Duration,
}

/// The connections of a pool, as a request uses them: each statement in one that is free.
#[derive(Clone, Debug)]
pub struct Session {
    pool: Arc<Pool>,
    pub(super) request: Arc<Request>,
}

/// A transaction of a request. It is rolled back when it is dropped, whatever it is doing then.
#[derive(Debug)]
pub struct Transaction {
    lease: Mutex<Lease>,
    request: Arc<Request>,
    backend: DbBackend,
}

impl Request {
    pub fn new(slow: Duration) -> Self {
        Self { slow: (!slow.is_zero()).then_some(slow), ..Self::default() }
    }

    /// A request that is observed in the same way and ends no later, with its own deadline and count.
    pub fn until(&self, deadline: Instant) -> Self {
        let deadline = self.deadline.map_or(deadline, |other| other.min(deadline));
        Self { deadline: Some(deadline), slow: self.slow, observer: self.observer.clone(), ..Self::default() }
    }

    pub fn observed(&self, observer: impl Fn(&Statement) + Send + Sync + 'static) -> Self {
        Self { deadline: self.deadline, slow: self.slow, observer: Some(Arc::new(observer)), ..Self::default() }
    }

    pub fn usage(&self) -> Usage {
        Usage {
            statements: self.statements.load(Ordering::Relaxed),
            time: Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)),
        }
    }

    /// Does something before the deadline, or not at all.
    pub async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, DbErr> {
        match self.deadline {
            None => Ok(work.await),
            Some(deadline) => timeout_at(deadline, work).await.map_err(|_| deadline_exceeded()),
        }
    }

    /// Runs a statement that starts now.
    async fn run<T>(
        &self,
        sql: &str,
        start: Instant,
        statement: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        if self.deadline.is_some_and(|deadline| deadline <= start) {
            return Err(deadline_exceeded());
        }
        let _running = Running { request: self, sql, start };
        self.in_time(statement).await?
    }

    fn observe(&self, statement: &Statement) {
        if let Some(observer) = &self.observer {
            observer(statement);
        }
    }

    async fn execute(
        &self,
        connection: &mut Connection,
        start: Instant,
        statement: Statement,
    ) -> Result<ExecResult, DbErr> {
        self.observe(&statement);
        let sql: Arc<str> = statement.sql.into();
        self.run(&sql, start, connection.execute(Arc::clone(&sql), statement.values)).await
    }

    async fn query_one(
        &self,
        connection: &mut Connection,
        start: Instant,
        statement: Statement,
    ) -> Result<Option<QueryResult>, DbErr> {
        self.observe(&statement);
        let sql: Arc<str> = statement.sql.into();
        self.run(&sql, start, connection.query_one(Arc::clone(&sql), statement.values)).await
    }

    async fn query_all(
        &self,
        connection: &mut Connection,
        start: Instant,
        statement: Statement,
    ) -> Result<Vec<QueryResult>, DbErr> {
        self.observe(&statement);
        let sql: Arc<str> = statement.sql.into();
        self.run(&sql, start, connection.query_all(Arc::clone(&sql), statement.values)).await
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { deadline, slow, .. } = self;
        let usage = self.usage();
        formatter
            .debug_struct("Request")
            .field("deadline", deadline)
            .field("slow", slow)
            .field("usage", &usage)
            .finish()
    }
}

/// A statement while it runs. It counts also when it fails, when its time is over, and when its client goes away.
struct Running<'a> {
    request: &'a Request,
    sql: &'a str,
    start: Instant,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let Self { request, sql, start } = self;
        let time = start.elapsed();
        request.statements.fetch_add(1, Ordering::Relaxed);
        request.nanoseconds.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if request.slow.is_some_and(|slow| slow <= time) {
            let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(milliseconds, sql, "a slow statement");
        }
    }
}

impl Session {
    pub fn new(pool: Arc<Pool>, request: Arc<Request>) -> Self {
        Self { pool, request }
    }

    /// The same connections, used for another request.
    pub fn of(&self, request: &Arc<Request>) -> Self {
        Self { pool: Arc::clone(&self.pool), request: Arc::clone(request) }
    }

    /// Begins a transaction.
    ///
    /// # Errors
    ///
    /// When no connection gets free in time, or the database does not answer.
    pub async fn begin(&self) -> Result<Transaction, DbErr> {
        let mut lease = self.lease().await?;
        self.request.in_time(lease.connection()?.begin()).await??;
        Ok(Transaction {
            lease: Mutex::new(lease),
            request: Arc::clone(&self.request),
            backend: self.pool.connector().backend(),
        })
    }

    /// Waits for what is running, then closes all connections for good.
    ///
    /// # Errors
    ///
    /// When a connection cannot be closed.
    pub async fn close(&self) -> Result<(), DbErr> {
        self.pool.close().await
    }

    pub fn connector(&self) -> &Connector {
        self.pool.connector()
    }

    async fn lease(&self) -> Result<Lease, DbErr> {
        match self.pool.try_acquire() {
            Some(lease) => Ok(lease),
            None => self.request.in_time(self.pool.acquire()).await?,
        }
    }
}

impl Transaction {
    /// Commits it. A commit that has been sent is waited for, past the deadline of the request, too: its answer is the only
    /// one that tells what is written.
    ///
    /// # Errors
    ///
    /// What the database says. Nothing is written then, unless the connection broke before the answer came.
    pub async fn commit(self) -> Result<(), DbErr> {
        self.lease.into_inner().connection()?.commit().await
    }
}

#[async_trait]
impl ConnectionTrait for Session {
    fn get_database_backend(&self) -> DbBackend {
        self.pool.connector().backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let mut lease = self.lease().await?;
        let connection = lease.connection()?;
        self.request.execute(connection, connection.taken, statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let mut lease = self.lease().await?;
        let connection = lease.connection()?;
        self.request.run(sql, connection.taken, connection.execute_unprepared(sql.into())).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let mut lease = self.lease().await?;
        let connection = lease.connection()?;
        self.request.query_one(connection, connection.taken, statement).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let mut lease = self.lease().await?;
        let connection = lease.connection()?;
        self.request.query_all(connection, connection.taken, statement).await
    }
}

#[async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        self.backend
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let mut lease = self.lease.lock().await;
        self.request.execute(lease.connection()?, Instant::now(), statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let mut lease = self.lease.lock().await;
        self.request.run(sql, Instant::now(), lease.connection()?.execute_unprepared(sql.into())).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let mut lease = self.lease.lock().await;
        self.request.query_one(lease.connection()?, Instant::now(), statement).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let mut lease = self.lease.lock().await;
        self.request.query_all(lease.connection()?, Instant::now(), statement).await
    }
}
