//! Connections and transactions as a request uses them. All its statements come by [`StatementMeter`].

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use sea_orm::{
    ConnAcquireErr, ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement,
    prelude::async_trait::async_trait,
};
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit},
    task::yield_now,
    time::{Instant, timeout_at},
};

use super::{
    claim::Claim,
    connector::Connector,
    connector::Isolation,
    error::{is_of_replica, unanswered_commit, unanswered_if_lost},
    pool::{Pool, PooledConnection},
    replica::Replica,
    sqlite::RunOn,
    statement_meter::{Run, StatementMeter},
};
use crate::telemetry::Metrics;

/// The connections of a pool, as a request uses them: each statement in one that is free.
///
/// What is queried here only reads. So when a connection turns out to have ended, or to have a statement prepared for
/// tables that have been changed since, the query is repeated once in another one.
#[derive(Clone, Debug)]
pub struct Connections {
    pool: Arc<Pool>,
    pub(super) meter: Arc<StatementMeter>,
    /// Where else its queries may go.
    route: Option<Arc<Route>>,
    sending: Option<Sending>,
}

/// What is called with a query that is about to be sent.
#[derive(Clone)]
struct Sending(Arc<dyn Fn(&mut Statement) + Send + Sync>);

impl fmt::Debug for Sending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sending")
    }
}

/// The way of the queries of one request to a replica, until that fails.
#[derive(Debug)]
struct Route {
    replica: Arc<Replica>,
    /// The generation of connections in which it is known to have what was asked for.
    generation: Option<u64>,
    is_left: AtomicBool,
}

impl Route {
    fn leads_to_replica(&self) -> bool {
        !self.is_left.load(Relaxed)
    }

    /// From now on the primary is asked. It has all that the replica has, and perhaps more.
    fn leave(&self) {
        self.is_left.store(true, Relaxed);
    }
}

/// A transaction of a request. It is rolled back when it is dropped, whatever it is doing then.
#[derive(Debug)]
pub struct Transaction {
    lease: Mutex<PooledConnection>,
    meter: Arc<StatementMeter>,
    backend: DbBackend,
    /// Where its statements run.
    run_on: RunOn,
    /// Whether it is one statement, which commits itself.
    is_implicit: bool,
    /// Whether its commit tells its number.
    is_told: bool,
}

/// After a read of SQLite that took longer than this, other tasks have their turn.
const MAX_READ_IN_A_ROW: Duration = Duration::from_millis(1);

impl Connections {
    pub(super) fn new(pool: Arc<Pool>, meter: Arc<StatementMeter>) -> Self {
        Self { pool, meter, route: None, sending: None }
    }

    /// The same connections, used for another request.
    pub(super) fn with_meter(&self, meter: &Arc<StatementMeter>) -> Self {
        Self { pool: Arc::clone(&self.pool), meter: Arc::clone(meter), route: None, sending: None }
    }

    /// The same connections, with a replica that is asked first.
    pub(super) fn by(self, replica: &Arc<Replica>, generation: Option<u64>) -> Self {
        let route = Route { replica: Arc::clone(replica), generation, is_left: AtomicBool::new(false) };
        Self { route: Some(Arc::new(route)), ..self }
    }

    /// The same connections, with what is called with each query that has its connection and is about to be sent.
    pub(super) fn sending(&self, call: impl Fn(&mut Statement) + Send + Sync + 'static) -> Self {
        Self { sending: Some(Sending(Arc::new(call))), ..self.clone() }
    }

    /// The number of the replica that answers, if one does.
    pub(super) fn replica(&self) -> Option<u32> {
        let route = self.route.as_ref().filter(|route| route.leads_to_replica())?;
        Some(route.replica.number)
    }

    /// Whether any connection of the replica may answer, or of the primary where none is asked.
    pub(super) fn are_all_alike(&self) -> bool {
        self.route.as_ref().is_none_or(|route| route.generation.is_none())
    }

    pub(super) fn connector(&self) -> &Connector {
        self.pool.connector()
    }

    /// Begins a transaction, which is SERIALIZABLE.
    ///
    /// # Errors
    ///
    /// When no connection gets free in time, or the database does not answer.
    pub async fn begin(&self) -> Result<Transaction, DbErr> {
        self.begin_in(RunOn::BlockingPool, Some(Isolation::Serializable)).await
    }

    /// Begins a transaction whose statements run in a place. Without an isolation level it is not begun at all: its one
    /// statement is a transaction by itself, as PostgreSQL has it. That saves two trips.
    pub(super) async fn begin_in(&self, run_on: RunOn, isolation: Option<Isolation>) -> Result<Transaction, DbErr> {
        let begun = |lease| {
            let (lease, meter, backend) = (Mutex::new(lease), Arc::clone(&self.meter), self.pool.connector().backend());
            Transaction { lease, meter, backend, run_on, is_implicit: isolation.is_none(), is_told: false }
        };
        let mut may_repeat = true;
        loop {
            let mut lease = self.lease(&self.pool, Claim::First, None).await?;
            let Some(isolation) = isolation else { return Ok(begun(lease)) };
            let target = Arc::clone(lease.target());
            let begun_now = self.meter.until_deadline(lease.connection()?.begin(run_on, isolation));
            match self.meter.told("BEGIN", &target, begun_now).await? {
                // Nothing has been done in it.
                Err(_) if lease.is_outdated() && std::mem::take(&mut may_repeat) => {}
                result => return result.map(|()| begun(lease)),
            }
        }
    }

    /// Whether connections are open.
    pub(super) fn has_connections(&self) -> bool {
        self.pool.has_connections()
    }

    /// Whether all its connections are in use, by requests whose deadlines have passed.
    pub(super) fn is_overdue(&self) -> bool {
        self.pool.is_overdue()
    }

    /// Asks the database for a sign of life, beside the connections that are in use.
    pub(super) async fn probe(&self, time: Duration) -> Result<(), DbErr> {
        self.pool.probe(time).await
    }

    /// Waits until the database gives no sign of life any more.
    pub(super) async fn until_silent(&self) -> DbErr {
        self.pool.until_silent().await
    }

    /// Brings the metrics of the pool up to date.
    pub(super) fn tell_state(&self, metrics: &Metrics) {
        self.pool.tell_state(metrics);
    }

    /// Whether its connections could not be opened to write.
    pub(super) fn is_read_only(&self) -> bool {
        matches!(self.pool.connector(), Connector::Sqlite(file) if file.is_read_only())
    }

    /// How long a connection is waited for.
    pub(super) fn acquire_timeout(&self) -> Duration {
        self.pool.acquire_timeout()
    }

    /// How long a commit is waited for past the deadline.
    pub(super) fn commit_timeout(&self) -> Duration {
        self.pool.commit_timeout()
    }

    /// Waits for what is running, then closes all connections for good.
    ///
    /// # Errors
    ///
    /// When a connection cannot be closed.
    pub async fn close(&self) -> Result<(), DbErr> {
        self.pool.close().await
    }

    /// A connection for one statement, with a permit of the request. The permit ends when the connection is back.
    async fn permit(
        &self,
        pool: &Arc<Pool>,
        sql: &str,
    ) -> Result<(Option<OwnedSemaphorePermit>, PooledConnection), DbErr> {
        let permit = self.meter.permit().await?;
        Ok((permit, self.lease(pool, self.meter.claim(sql), Some(sql)).await?))
    }

    async fn lease(&self, pool: &Arc<Pool>, claim: Claim, sql: Option<&str>) -> Result<PooledConnection, DbErr> {
        let due = self.meter.deadline();
        match pool.try_acquire(claim, due) {
            Some(lease) => Ok(lease),
            None => self.meter.until_deadline(Box::pin(pool.acquire(claim, sql, due))).await?,
        }
    }

    /// Queries in one of the connections of a pool, which may have to be of a generation.
    async fn query(
        &self,
        pool: &Arc<Pool>,
        generation: Option<u64>,
        statement: Statement,
    ) -> Result<Vec<QueryResult>, DbErr> {
        let mut once_more = self.repeatable(&statement);
        let mut statement = statement;
        loop {
            let (permit, mut lease) = self.permit(pool, &statement.sql).await?;
            let connection = lease.connection()?;
            if generation.is_some_and(|generation| generation != connection.generation()) {
                return Err(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed));
            }
            let start = connection.taken;
            let run = reading(pool, RunOn::Caller, start);
            if let Some(Sending(call)) = &self.sending {
                call(&mut statement);
            }
            let result = self.meter.query_all(connection, run, statement).await;
            let is_outdated = lease.is_outdated();
            drop((permit, lease));
            match once_more.take() {
                Some(repeated) if is_outdated => statement = repeated,
                _ => {
                    self.yield_after_long_read(start).await;
                    return result;
                }
            }
        }
    }

    /// The statement once more, for when the connection turns out to be of no use. One to SQLite never does.
    fn repeatable(&self, statement: &Statement) -> Option<Statement> {
        (self.get_database_backend() == DbBackend::Postgres).then(|| statement.clone())
    }

    /// Lets other tasks go on when a read of SQLite in this one has held them up, because many in a row would hold them
    /// up for long. PostgreSQL is waited for while they go on.
    async fn yield_after_long_read(&self, start: Instant) {
        if self.get_database_backend() == DbBackend::Sqlite && start.elapsed() > MAX_READ_IN_A_ROW {
            yield_now().await;
        }
    }
}

impl Transaction {
    /// The same transaction, whose number its request is told when it is committed ([`Db::written_by_request`]).
    ///
    /// [`Db::written_by_request`]: super::Db::written_by_request
    pub(super) fn told(self, is_told: bool) -> Self {
        Self { is_told, ..self }
    }

    /// Commits it. A commit that has been sent is waited for past the deadline of the request, because its answer is
    /// the only one that tells what is written. When it does not come within `commit_timeout` more, the connection is
    /// given up.
    ///
    /// # Errors
    ///
    /// What the database says. Nothing is written then, unless the answer did not come
    /// ([`super::StoreError::Unanswered`]).
    pub async fn commit(self) -> Result<(), DbErr> {
        if self.is_implicit {
            return Ok(());
        }
        let mut lease = self.lease.into_inner();
        let end = self.meter.deadline_and(lease.commit_timeout());
        let target = Arc::clone(lease.target());
        let connection = lease.connection()?;
        let commit = async {
            if self.is_told {
                if let Some(written) = connection.commit_and_tell().await? {
                    self.meter.note_written(written);
                }
                Ok(())
            } else {
                connection.commit(self.run_on.without_deadline()).await
            }
        };
        let committed = timeout_at(end, self.meter.told("COMMIT", &target, commit)).await;
        committed.unwrap_or_else(|_| {
            lease.abandon();
            Err(unanswered_commit("it took too long"))
        })
    }

    fn run(&self, lease: &PooledConnection) -> Run {
        let interrupt = if self.is_implicit { lease.interrupt() } else { None };
        Run { target: Arc::clone(lease.target()), on: self.run_on, start: Instant::now(), interrupt }
    }

    /// What a statement gives. When the connection to one that commits itself has ended, it may have done so.
    fn ended<T>(&self, result: Result<T, DbErr>) -> Result<T, DbErr> {
        if self.is_implicit { result.map_err(unanswered_if_lost) } else { result }
    }

    /// Gives up its connection, because others may not be what this one is.
    pub(super) async fn outdate(self) -> Result<(), DbErr> {
        self.lease.into_inner().connection()?.outdate();
        Ok(())
    }
}

#[async_trait]
impl ConnectionTrait for Connections {
    fn get_database_backend(&self) -> DbBackend {
        self.pool.connector().backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let (_permit, mut lease) = self.permit(&self.pool, &statement.sql).await?;
        let connection = lease.connection()?;
        let start = connection.taken;
        let run = reading(&self.pool, RunOn::BlockingPool, start);
        self.meter.execute(connection, run, statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let (_permit, mut lease) = self.permit(&self.pool, sql).await?;
        let connection = lease.connection()?;
        let start = connection.taken;
        let run = reading(&self.pool, RunOn::BlockingPool, start);
        let sql: Arc<str> = sql.into();
        self.meter.run(&sql, run, connection.execute_unprepared(RunOn::BlockingPool, Arc::clone(&sql)), |_| 0).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        Ok(self.query_all_raw(statement).await?.into_iter().next())
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        if let Some(route) = self.route.as_ref().filter(|route| route.leads_to_replica()) {
            let replica = &route.replica;
            tokio::select! {
                result = self.query(&replica.pool, route.generation, statement.clone()) => match result {
                    Err(error) if is_of_replica(&error) => {
                        let replica = replica.number;
                        tracing::info!(%error, replica, "a replica gives no answer; the primary is asked");
                    }
                    result => return result,
                },
                () = replica.until_down() => {}
            }
            route.leave();
        }
        self.query(&self.pool, None, statement).await
    }
}

/// How a statement runs that the deadline cuts off.
fn reading(pool: &Pool, on: RunOn, start: Instant) -> Run {
    Run { target: Arc::clone(pool.target()), on, start, interrupt: None }
}

#[async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        self.backend
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let mut lease = self.lease.lock().await;
        let run = self.run(&lease);
        self.ended(self.meter.execute(lease.connection()?, run, statement).await)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let mut lease = self.lease.lock().await;
        let run = self.run(&lease);
        let sql: Arc<str> = sql.into();
        let executed = lease.connection()?.execute_unprepared(self.run_on, Arc::clone(&sql));
        self.ended(self.meter.run(&sql, run, executed, |_| 0).await)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        Ok(self.query_all_raw(statement).await?.into_iter().next())
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let mut lease = self.lease.lock().await;
        let run = self.run(&lease);
        self.ended(self.meter.query_all(lease.connection()?, run, statement).await)
    }
}
