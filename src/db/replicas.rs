//! Replicas: hot standbys of PostgreSQL that answer queries, unless they lag.
//!
//! How far a replica has come is known from the numbers of transactions, which are the same there: no function of the
//! write-ahead log is needed, and no table. The primary is asked from time to time which number it has come to. What a
//! replica does not yet have is as old as the first such number that it has not come to.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use sea_orm::{
    ConnectionTrait as _, DbBackend, DbErr, QueryResult, Statement,
    sqlx::{self, Executor as _, PgConnection, Row as _},
};
use tokio::{
    sync::Mutex,
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};

use super::{
    Connections, Written,
    connector::Connector,
    pool::Pool,
    primary::{Look, Primary},
    replica::{IS_AHEAD, Replica},
    statement_meter::StatementMeter,
    written::{STARTED, SYSTEM},
};
use crate::telemetry::{Metrics, Telemetry};

/// Why a replica is not asked that has been looked at.
const LAGS: &str = "it lags behind the primary";
const IS_FULL: &str = "it gives no connection";
const DOES_NOT_STREAM: &str = "it does not stream from the primary";
/// Why no replica is asked before it is looked at again.
const ANOTHER_PRIMARY: &str = "the primary is another server, or was started again";
/// How often replicas and the primary are looked at, at the most and at the least.
const LOOK_AFTER: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(500)];
/// How long a look may take. A replica that takes longer is not asked for anything.
const MAX_LOOK: Duration = Duration::from_secs(1);
/// How long a replica is waited for to have what a client has written, and the first pause between two looks.
const MAX_WAIT: Duration = Duration::from_millis(50);
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// What is looked at: the number of the cluster, whether it is a standby, when the server was started, the transactions
/// up to which all have ended, and from which on none has, and the process that receives what is streamed. What that
/// process does is only told to roles with `pg_read_all_stats`.
static LOOK: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {SYSTEM}, pg_is_in_recovery()::text, {STARTED}, pg_snapshot_xmin(pg_current_snapshot())::text,
            pg_snapshot_xmax(pg_current_snapshot())::text,
            (SELECT pid FROM pg_stat_wal_receiver WHERE COALESCE(status, 'streaming') = 'streaming')::text"
    )
});

/// The replicas of a database.
#[derive(Debug)]
pub struct Replicas {
    next: AtomicUsize,
    watched: Arc<Watched>,
    meter: Arc<StatementMeter>,
    telemetry: Telemetry,
    looks: Vec<AbortHandle>,
}

impl Replicas {
    /// Begins to look at replicas, and waits for the first look.
    ///
    /// # Errors
    ///
    /// When the primary does not answer.
    pub async fn new(
        connections: &Connections,
        replicas: Vec<Arc<Pool>>,
        max_lag: Duration,
        telemetry: Telemetry,
    ) -> Result<Self, DbErr> {
        let meter = Arc::new(connections.meter.uncounted());
        let connections = connections.with_meter(&meter);
        let begun = Instant::now();
        let primary = Arc::new(Primary::new(look_at_primary(&connections).await?, begun));
        let pause = (max_lag / 4).clamp(LOOK_AFTER[0], LOOK_AFTER[1]);
        let mut all = Vec::new();
        let mut looks = Vec::new();
        for (number, pool) in (1..).zip(replicas) {
            let replica = Arc::new(Replica::new(number, pool));
            let following = follow(Arc::clone(&replica), Arc::clone(&primary), max_lag, pause);
            looks.push(tokio::spawn(following).abort_handle());
            all.push(replica);
        }
        for replica in &all {
            // A replica that does not answer is none, and keeps nobody from starting.
            replica.until_looked_at(2 * MAX_LOOK).await;
        }
        // One of them may be ahead of a primary that was a standby before.
        let begun = Instant::now();
        let look = look_at_primary(&connections).await?;
        for replica in &all {
            replica.compare(look, begun);
        }
        let watched = Arc::new(Watched { connections, primary, replicas: all, max_lag, turn: Mutex::new(()) });
        let watching = {
            let watched = Arc::clone(&watched);
            async move {
                loop {
                    sleep(pause).await;
                    watched.look().await;
                }
            }
        };
        looks.push(tokio::spawn(watching).abort_handle());
        Ok(Self { next: AtomicUsize::new(0), watched, meter, telemetry, looks })
    }

    /// The number of the cluster.
    pub fn system(&self) -> u64 {
        self.watched.primary.system()
    }

    /// The next replica in turn that is up and has what a client has written, in connections of one generation. For
    /// that it is waited for a moment.
    pub async fn choose(&self, after: &[Written]) -> Option<(&Arc<Replica>, Option<u64>)> {
        let first = self.next.fetch_add(1, Relaxed);
        let all = &self.watched.replicas;
        let in_turn = (0..all.len()).map(|index| &all[first.wrapping_add(index) % all.len()]);
        let mut up = in_turn.filter(|replica| replica.is_up());
        let latest = after.iter().map(|written| written.xid).max();
        let Some(latest) = latest else { return up.next().map(|replica| (replica, None)) };
        let (replica, result) = 'found: {
            let is_unknown = after.iter().any(|written| written.is_unknown());
            if is_unknown || !self.watched.knows(after).await {
                break 'found (None, "primary");
            }
            let system = self.system();
            if after.iter().any(|written| written.system != system) {
                break 'found (None, "primary");
            }
            let generations = up.map(|replica| (replica, replica.pool.generation()));
            if let Some(found) = generations.clone().find(|(replica, generation)| replica.has(latest, *generation)) {
                break 'found (Some(found), "replica");
            }
            match generations.clone().next() {
                Some(next) if self.comes_to(next, after).await => (Some(next), "waited"),
                _ => (None, "primary"),
            }
        };
        if let Some(metrics) = self.telemetry.metrics() {
            metrics.note_read_your_writes(result);
        }
        replica.map(|(replica, generation)| (replica, Some(generation)))
    }

    /// Whether a replica has these transactions, at once or in a moment.
    async fn comes_to(&self, (replica, generation): (&Arc<Replica>, u64), after: &[Written]) -> bool {
        let end = Instant::now() + MAX_WAIT;
        let connections = Connections::new(Arc::clone(&replica.pool), Arc::new(self.meter.until(end)));
        // A snapshot of a standby does not name those that run, so their state is asked for as well.
        // The state of one that has not come yet is an error.
        let sql = format!(
            "SELECT bool_and(CASE WHEN xid < pg_snapshot_xmax(pg_current_snapshot())
                THEN pg_xact_status(xid) = 'committed' ELSE false END),
            pg_snapshot_xmin(pg_current_snapshot())::text,
            {SYSTEM} FROM unnest($1::text[]::xid8[]) AS xid"
        );
        let xids: Vec<String> = after.iter().map(|written| written.xid.to_string()).collect();
        let mut pause = FIRST_PAUSE;
        loop {
            let statement = Statement::from_sql_and_values(DbBackend::Postgres, &sql, [xids.clone().into()]);
            if let Ok(Some(row)) = connections.query_one_raw(statement).await
                && row.try_get_by_index(0) == Ok(Some(true))
                && number(&row, 2) == after.first().map(|written| written.system)
            {
                replica.note_horizon(number(&row, 1).unwrap_or_default(), generation);
                return true;
            }
            if Instant::now() + pause >= end {
                return false;
            }
            sleep(pause).await;
            pause *= 2;
        }
    }

    /// Brings the metrics of the replicas up to date.
    pub fn tell_state(&self, metrics: &Metrics) {
        for replica in &self.watched.replicas {
            replica.pool.tell_state(metrics);
            metrics.set_replica(replica.number, replica.is_up(), replica.lag());
        }
    }

    /// Waits for what is running, then closes all connections.
    pub async fn close(&self) {
        self.looks.iter().for_each(AbortHandle::abort);
        for replica in &self.watched.replicas {
            // What a replica says at the end is of no use.
            let _ = replica.pool.close().await;
        }
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        self.looks.iter().for_each(AbortHandle::abort);
    }
}

/// The primary, and the replicas that are compared with it.
#[derive(Debug)]
struct Watched {
    connections: Connections,
    primary: Arc<Primary>,
    replicas: Vec<Arc<Replica>>,
    max_lag: Duration,
    /// Looks come one after another. In another order an earlier one would look like another primary.
    turn: Mutex<()>,
}

impl Watched {
    /// Whether what was written was written by the primary that is known, or by one before it. Where that is not clear,
    /// the primary is looked at.
    async fn knows(&self, written: &[Written]) -> bool {
        let are_known = || written.iter().all(|written| self.primary.knows(written.started));
        if are_known() {
            return true;
        }
        let _turn = self.turn.lock().await;
        if are_known() {
            return true;
        }
        let is_seen = self.look_in_turn().await;
        if is_seen {
            for written in written {
                self.primary.note_before(written.started);
            }
        }
        is_seen
    }

    async fn look(&self) {
        let _turn = self.turn.lock().await;
        self.look_in_turn().await;
    }

    /// Looks at the primary, and gives whether it answers.
    async fn look_in_turn(&self) -> bool {
        let mut goes_on = true;
        loop {
            let begun = Instant::now();
            let look = match timeout(MAX_LOOK, look_at_primary(&self.connections)).await {
                Ok(Ok(look)) if !look.is_standby => look,
                // It is about to become the primary, or was one.
                Ok(Ok(_)) => {
                    tracing::debug!("the primary is a standby");
                    return false;
                }
                // Nothing is written meanwhile, as far as can be known.
                Ok(Err(error)) => {
                    tracing::debug!(%error, "the primary cannot be looked at");
                    return false;
                }
                Err(_) => {
                    tracing::debug!("the primary does not answer");
                    return false;
                }
            };
            let went_on = std::mem::replace(&mut goes_on, self.primary.note(look, begun, self.max_lag));
            for replica in &self.replicas {
                if !goes_on {
                    replica.change_primary();
                    replica.set_state(Some(ANOTHER_PRIMARY));
                }
                // At other times one may be ahead for a moment: with synchronous replication the primary shows a
                // commit when a standby has answered.
                if !goes_on || !went_on {
                    replica.compare(look, begun);
                }
            }
            if goes_on {
                return true;
            }
            // What a look has to wait for may take a while. Another one directly after it tells who was ahead.
        }
    }
}

/// Looks at a replica from time to time, over a connection of its own.
async fn follow(replica: Arc<Replica>, primary: Arc<Primary>, max_lag: Duration, pause: Duration) {
    let mut connection = None;
    loop {
        let generation = replica.pool.generation();
        let state = match timeout(MAX_LOOK, look_at(&replica, &mut connection)).await {
            Ok(Ok(look)) if look.system != primary.system() => Some("it belongs to another database"),
            Ok(Ok(look)) if !look.is_standby => Some("it is not a standby, or no longer"),
            Ok(Ok(look)) if replica.is_ahead(look) => Some(IS_AHEAD),
            Ok(Ok(look)) => {
                let lag = primary.lag(look.xmax);
                replica.note(look, lag, generation);
                if !replica.follows() {
                    Some(DOES_NOT_STREAM)
                } else if lag.is_none_or(|lag| lag > max_lag) {
                    Some(LAGS)
                } else if replica.pool.has_connections() {
                    None
                } else if replica.opens(MAX_LOOK).await {
                    // What was seen is old by now.
                    continue;
                } else {
                    Some(IS_FULL)
                }
            }
            Ok(Err(error)) => {
                if replica.was_up() {
                    tracing::info!(%error, replica = replica.number, "a replica cannot be looked at");
                }
                connection = None;
                Some("it cannot be reached")
            }
            Err(_) => {
                connection = None;
                Some("it does not answer")
            }
        };
        if !matches!(state, None | Some(LAGS | IS_FULL | DOES_NOT_STREAM)) {
            replica.forget();
        }
        replica.set_state(state);
        sleep(pause).await;
    }
}

async fn look_at(replica: &Replica, kept: &mut Option<PgConnection>) -> Result<Look, sqlx::Error> {
    let Connector::Postgres(postgres) = replica.pool.connector() else { return Err(sqlx::Error::RowNotFound) };
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => postgres.open().await?.0,
    };
    let row = connection.fetch_one(LOOK.as_str()).await?;
    *kept = Some(connection);
    let text = |column: usize| row.try_get::<&str, _>(column);
    look([text(0)?, text(1)?, text(2)?, text(3)?, text(4)?], row.try_get(5)?).ok_or(sqlx::Error::RowNotFound)
}

async fn look_at_primary(primary: &Connections) -> Result<Look, DbErr> {
    let row = primary.query_one_raw(Statement::from_string(DbBackend::Postgres, LOOK.as_str())).await?;
    let row = row.ok_or(DbErr::RecordNotFound(String::new()))?;
    let text = |column: usize| row.try_get_by_index::<String>(column);
    look([&text(0)?, &text(1)?, &text(2)?, &text(3)?, &text(4)?], None).ok_or(DbErr::RecordNotFound(String::new()))
}

fn look([system, is_standby, started, xmin, xmax]: [&str; 5], receiver: Option<&str>) -> Option<Look> {
    let number = |text: &str| text.parse().ok();
    let (system, started, is_standby) = (number(system)?, number(started)?, is_standby == "true");
    let receiver = receiver.and_then(number);
    Some(Look { system, is_standby, started, receiver, xmin: number(xmin)?, xmax: number(xmax)? })
}

fn number(row: &QueryResult, column: usize) -> Option<u64> {
    row.try_get_by_index::<String>(column).ok()?.parse().ok()
}
