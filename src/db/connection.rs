//! One connection to the database, and how what runs in it is interrupted.
//!
//! SQLite asks a progress handler from time to time whether to go on. PostgreSQL is told over another connection to
//! cancel what runs in the process of this one. Neither knows the request that it was for, only the connection. So the
//! store keeps its connections itself, where a pool of SQLx would not say which of them runs a statement.

use std::{
    pin::Pin,
    sync::{Arc, LazyLock},
    time::Duration,
};

use sea_orm::{
    DbErr, ExecResult, QueryResult, RuntimeErr,
    sea_query::Values,
    sqlx::{self, AssertSqlSafe, Connection as _, Executor, PgConnection, Row as _, query::Query},
};
use sea_query_sqlx::SqlxValues;
use tokio::time::Instant;
use tracing::{
    Dispatch,
    instrument::{WithDispatch, WithSubscriber as _},
};

use super::{
    cancel::Canceller,
    connector::{Connector, Isolation, Postgres, Process},
    error::{is_lost, is_not_supported, is_outdated, unanswered_commit},
    sqlite::{RunOn, Sqlite},
    written::{STARTED, SYSTEM, Written},
};

/// A connection, and what is known of what runs in it.
#[derive(Debug)]
pub struct Connection {
    driver: Driver,
    opened: Instant,
    generation: u64,
    /// When it was taken for use last.
    pub taken: Instant,
    /// When it came back from its last use.
    pub used: Instant,
    /// A statement was sent, and its answer has not come.
    running: bool,
    in_transaction: bool,
    health: Health,
}

/// What is known of a connection from its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Well,
    /// The last answer was an error, so it may not stand any more.
    Failed,
    /// It does not stand any more, or what it keeps is out of date.
    Outdated,
}

#[derive(Debug)]
enum Driver {
    Sqlite(Box<Sqlite>),
    Postgres(PgConnection, PostgresSession),
}

/// What is known of a session of PostgreSQL.
#[derive(Debug)]
struct PostgresSession {
    postgres: Arc<Postgres>,
    /// The process that serves it; none through a pooler, where it may be another one each time.
    process: Option<Process>,
}

/// How long a connection lives.
const MAX_LIFETIME: Duration = Duration::from_mins(30);
/// How long after its last use a connection is asked whether it still stands.
const IDLE_BEFORE_PING: Duration = Duration::from_secs(1);

/// What commits a transaction, and tells which one it is.
static COMMIT_AND_TELL: LazyLock<String> =
    LazyLock::new(|| format!("SELECT pg_current_xact_id_if_assigned()::text, {SYSTEM}, {STARTED}; COMMIT"));

impl Connection {
    /// Opens a connection, which is given up when its generation is no longer the latest one.
    pub async fn open(connector: &Connector, generation: u64) -> Result<Self, sqlx::Error> {
        let driver = match connector {
            Connector::Sqlite(file) => Driver::Sqlite(Box::new(Sqlite::open(Arc::clone(file)).await?)),
            Connector::Postgres(postgres) => {
                let (connection, process) = postgres.open().await?;
                Driver::Postgres(connection, PostgresSession { postgres: Arc::clone(postgres), process })
            }
        };
        let now = Instant::now();
        let (running, in_transaction, health) = (false, false, Health::Well);
        Ok(Self { driver, opened: now, generation, taken: now, used: now, running, in_transaction, health })
    }

    /// The process of PostgreSQL that serves it, if it can be known.
    pub fn process(&self) -> Option<Process> {
        match &self.driver {
            Driver::Sqlite(_) => None,
            Driver::Postgres(_, session) => session.process,
        }
    }

    /// Whether something runs in it that cannot be interrupted.
    pub fn is_stuck(&self) -> bool {
        self.running && matches!(&self.driver, Driver::Postgres(_, session) if session.process.is_none())
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether it has lived long enough.
    pub fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.opened) >= MAX_LIFETIME
    }

    /// Whether nothing is left in it of what it was used for.
    pub fn is_reset(&self) -> bool {
        !self.running && !self.in_transaction && self.health == Health::Well
    }

    /// Whether it is of no use any more, while another one may be: PostgreSQL has ended it, does not know its prepared
    /// statements any more, or serves it as one that may only read.
    pub fn is_outdated(&self) -> bool {
        self.health == Health::Outdated
    }

    /// Gives it up for such a reason.
    pub fn outdate(&mut self) {
        self.health = Health::Outdated;
    }

    /// Whether it was used a moment ago, so that it needs no question whether it still stands.
    pub fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) < IDLE_BEFORE_PING && !self.is_old(now)
    }

    pub async fn execute(&mut self, run_on: RunOn, sql: Arc<str>, values: Option<Values>) -> Result<ExecResult, DbErr> {
        let is_wrapped = self.begin_where_needed(run_on).await?;
        self.running = true;
        let result = match &mut self.driver {
            Driver::Sqlite(sqlite) => sqlite.execute(run_on, sql, values).await,
            Driver::Postgres(connection, session) => {
                detached(session.query(sql, values).execute(connection)).await.map(ExecResult::from)
            }
        };
        let result = self.ended(result).map_err(|error| DbErr::Exec(runtime(error)))?;
        self.commit_if(is_wrapped, run_on).await?;
        Ok(result)
    }

    pub async fn query_all(
        &mut self,
        run_on: RunOn,
        sql: Arc<str>,
        values: Option<Values>,
    ) -> Result<Vec<QueryResult>, DbErr> {
        let is_wrapped = self.begin_where_needed(run_on).await?;
        self.running = true;
        let result = match &mut self.driver {
            Driver::Sqlite(sqlite) => sqlite.query_all(run_on, sql, values).await,
            Driver::Postgres(connection, session) => {
                let rows = detached(session.query(sql, values).fetch_all(connection)).await;
                rows.map(|rows| rows.into_iter().map(QueryResult::from).collect())
            }
        };
        let rows = self.ended(result).map_err(|error| DbErr::Query(runtime(error)))?;
        self.commit_if(is_wrapped, run_on).await?;
        Ok(rows)
    }

    /// Runs statements as they are, without a plan to keep.
    pub async fn execute_unprepared(&mut self, run_on: RunOn, sql: Arc<str>) -> Result<ExecResult, DbErr> {
        self.running = true;
        let result = match &mut self.driver {
            Driver::Sqlite(sqlite) => sqlite.execute_unprepared(run_on, sql).await,
            Driver::Postgres(connection, _) => connection.execute(AssertSqlSafe(sql)).await.map(ExecResult::from),
        };
        self.ended(result).map_err(|error| DbErr::Exec(runtime(error)))
    }

    pub async fn begin(&mut self, run_on: RunOn, isolation: Isolation) -> Result<(), DbErr> {
        self.in_transaction = true;
        self.running = true;
        let begun = match &mut self.driver {
            Driver::Sqlite(sqlite) => {
                // One that writes takes the lock at once, so that what it has read cannot change before it writes.
                let begin = if isolation == Isolation::RepeatableRead { "BEGIN" } else { "BEGIN IMMEDIATE" };
                sqlite.command(run_on, begin).await
            }
            Driver::Postgres(connection, session) => {
                connection.execute(AssertSqlSafe(session.postgres.begin(isolation))).await.map(drop)
            }
        };
        self.ended(begun).map_err(|error| {
            // A standby has no serializable transactions. It may be one that is no longer what its address leads to.
            if is_not_supported(&error) {
                self.outdate();
            }
            DbErr::Conn(runtime(error))
        })
    }

    /// Refuses to commit what would not be all of it.
    fn check_transaction(&self) -> Result<(), DbErr> {
        if self.running || self.health != Health::Well {
            return Err(DbErr::Exec(RuntimeErr::Internal("a statement of the transaction has failed".to_owned())));
        }
        Ok(())
    }

    /// Begins a transaction for one statement where a pooler does not keep prepared statements: the two steps of one
    /// that is not kept would come to different sessions.
    async fn begin_where_needed(&mut self, run_on: RunOn) -> Result<bool, DbErr> {
        let is_needed = match &self.driver {
            Driver::Sqlite(_) => false,
            Driver::Postgres(_, PostgresSession { postgres, .. }) => postgres.is_pooled && !postgres.prepares,
        };
        if !is_needed || self.in_transaction {
            return Ok(false);
        }
        Box::pin(self.begin(run_on, Isolation::ReadCommitted)).await?;
        Ok(true)
    }

    async fn commit_if(&mut self, is_wrapped: bool, run_on: RunOn) -> Result<(), DbErr> {
        if is_wrapped { Box::pin(self.commit(run_on)).await } else { Ok(()) }
    }

    /// Commits what was begun, unless a statement in it has failed or was cut off.
    pub async fn commit(&mut self, run_on: RunOn) -> Result<(), DbErr> {
        self.check_transaction()?;
        let result = self.command(run_on, "COMMIT").await;
        // PostgreSQL ends a transaction when its commit fails, SQLite may keep it.
        self.in_transaction = result.is_err() && self.is_sqlite();
        result.map_err(failed_commit)
    }

    /// Commits what was begun on PostgreSQL, and tells the transaction, if it has a number, in the same trip. The
    /// cluster and the start of the server are asked for as well: the address may lead to others than a moment ago.
    pub async fn commit_and_tell(&mut self) -> Result<Option<Written>, DbErr> {
        self.check_transaction()?;
        let Driver::Postgres(connection, _) = &mut self.driver else {
            return Err(DbErr::Exec(RuntimeErr::Internal("SQLite has no numbers of transactions".to_owned())));
        };
        self.running = true;
        let result = connection.fetch_all(AssertSqlSafe(COMMIT_AND_TELL.as_str())).await;
        let result = self.ended(result);
        self.in_transaction = false;
        let rows = result.map_err(failed_commit)?;
        let number = |column: usize| rows.first()?.try_get::<Option<&str>, _>(column).ok()??.parse().ok();
        let written = || Some(Written { xid: number(0)?, system: number(1)?, started: number(2)? });
        Ok(written())
    }

    /// Asks for a sign of life.
    pub async fn ping(&mut self) -> Result<(), sqlx::Error> {
        self.running = true;
        let result = match &mut self.driver {
            Driver::Sqlite(sqlite) => sqlite.ping(),
            Driver::Postgres(connection, _) => connection.ping().await,
        };
        self.ended(result)
    }

    /// Has what runs in it cancelled, and does not wait until it has ended. It is not to be used afterwards.
    pub async fn cancel(&mut self, connector: &Connector, canceller: &Canceller) -> Result<(), sqlx::Error> {
        match &self.driver {
            Driver::Postgres(_, PostgresSession { process: Some(process), .. }) => {
                canceller.signal(connector, *process).await
            }
            // The thread of SQLite is interrupted when it is dropped. Through a pooler PostgreSQL has its own time-out.
            _ => Ok(()),
        }
    }

    /// Ends what a request has left in it: a statement that runs, a transaction that is open.
    ///
    /// When this has come to its end, nothing of it can reach what runs in the connection afterwards.
    pub async fn reset(&mut self, connector: &Connector, canceller: &Canceller) -> Result<(), sqlx::Error> {
        if self.running {
            match &mut self.driver {
                Driver::Sqlite(sqlite) => sqlite.interrupt().await?,
                Driver::Postgres(connection, PostgresSession { process: Some(process), .. }) => {
                    canceller.cancel(connector, *process, connection).await?;
                }
                Driver::Postgres(connection, _) => connection.ping().await?,
            }
            self.running = false;
        }
        if self.in_transaction {
            self.rollback().await?;
        } else {
            self.ping().await?;
        }
        self.health = Health::Well;
        Ok(())
    }

    pub async fn close(self) -> Result<(), sqlx::Error> {
        match self.driver {
            Driver::Sqlite(sqlite) => sqlite.close().await,
            Driver::Postgres(connection, _) => connection.close().await,
        }
    }

    async fn rollback(&mut self) -> Result<(), sqlx::Error> {
        if !matches!(&self.driver, Driver::Sqlite(sqlite) if !sqlite.is_in_transaction()) {
            self.command(RunOn::BlockingPool, "ROLLBACK").await?;
        }
        self.in_transaction = false;
        Ok(())
    }

    async fn command(&mut self, run_on: RunOn, sql: &'static str) -> Result<(), sqlx::Error> {
        self.running = true;
        let result = match &mut self.driver {
            Driver::Sqlite(sqlite) => sqlite.command(run_on, sql).await,
            Driver::Postgres(connection, _) => connection.execute(sql).await.map(drop),
        };
        self.ended(result)
    }

    fn ended<T>(&mut self, result: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        self.running = false;
        match &result {
            Err(error) if is_outdated(error) => self.outdate(),
            Err(_) if self.health == Health::Well => self.health = Health::Failed,
            _ => {}
        }
        result
    }

    fn is_sqlite(&self) -> bool {
        matches!(self.driver, Driver::Sqlite(..))
    }
}

/// Boxes a future of SQLx, and detaches it from tracing.
///
/// Unboxed, its several KiB are copied into every future around it. Attached, it enters the span of the request once
/// more for each row, which takes 5 % of the time of 1,000 rows.
fn detached<F: Future>(future: F) -> WithDispatch<Pin<Box<F>>> {
    Box::pin(future).with_subscriber(Dispatch::none())
}

impl PostgresSession {
    fn query(&self, sql: Arc<str>, values: Option<Values>) -> Query<'static, sqlx::Postgres, SqlxValues> {
        let values = SqlxValues(values.unwrap_or_else(|| Values(Vec::new())));
        sqlx::query_with(AssertSqlSafe(sql), values).persistent(self.postgres.prepares)
    }
}

fn failed_commit(error: sqlx::Error) -> DbErr {
    if is_lost(&error) { unanswered_commit(error) } else { DbErr::Exec(runtime(error)) }
}

fn runtime(error: sqlx::Error) -> RuntimeErr {
    RuntimeErr::SqlxError(Arc::new(error))
}
