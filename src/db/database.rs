//! [`Db`]: the pools of connections, the replicas, and what all requests share. Each request has a handle of its own,
//! with its deadline and the statements that it has run.

use std::sync::{Arc, atomic::AtomicBool};

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, RuntimeErr, Statement};
use tokio::{
    sync::{RwLock, watch},
    time::Instant,
};

use super::{
    Connections, DbSettings, Migrations, Ran, StoreError, Transaction, Usage, Written,
    catalog::{Catalog, Indexes, read_indexes},
    connector::{Connector, Isolation},
    file::File,
    pool::Pool,
    queue::{self, Queue},
    replicas::Replicas,
    sqlite::RunOn,
    sqlite_options,
    statement_meter::StatementMeter,
};
use crate::{config::DatabaseUrl, telemetry::Telemetry};

/// The database: connections that read, and connections that write.
///
/// SQLite has a single writer by nature, and waiting for it in turn is fair and without polling. PostgreSQL has a pool
/// of its own for writes, so that neither reads nor writes wait until the others have ended.
///
/// A clone is cheap, and goes on counting with the one that it was made of.
#[derive(Clone, Debug)]
pub struct Db {
    pub read: Connections,
    pub write: Connections,
    pub(super) shared: Arc<Shared>,
}

/// How many of the connections that read are kept for what is likely to be short ([`claim::Claim`]).
fn reserved(connections: u32) -> u32 {
    if connections < 4 { 0 } else { (connections / 8).max(1) }
}

/// What all requests have in common.
#[derive(Debug)]
pub(super) struct Shared {
    /// Writers share it, until one that keeps losing to others takes it for itself.
    pub(super) precedence: Arc<RwLock<()>>,
    /// The writes that wait for their turn on SQLite.
    pub(super) queue: Option<Queue>,
    /// Whether the last write that told something about it could write.
    pub(super) is_writable: AtomicBool,
    pub(super) migrations: Migrations,
    events: bool,
    replicas: Option<Replicas>,
    catalog: Catalog,
    telemetry: Telemetry,
    /// The number of writes that have been committed through this handle and its clones.
    committed: watch::Sender<u64>,
}

impl Db {
    /// Opens the first connections. A SQLite file that does not exist is created, unless its URL says otherwise.
    ///
    /// # Errors
    ///
    /// When the database does not answer, or is none of this program.
    pub async fn connect(settings: &DbSettings) -> Result<Self, StoreError> {
        let (connector, write_connections) = match &settings.url {
            DatabaseUrl::Sqlite(url) => {
                sqlite_options::warn_of_others();
                (Connector::Sqlite(File::inspected(url, &settings.migrations).await?), 1)
            }
            DatabaseUrl::Postgres(url) => (Connector::postgres(url, settings), settings.write_connections),
        };
        let long = Arc::default();
        let open = async |name, connections: u32, reserved| {
            let pool = Pool::new(name, connector.clone(), connections, reserved, &long, settings);
            pool.open().await.map(|()| pool)
        };
        // The writer comes first: it creates the file that the readers expect.
        let write = open("write", write_connections, 0).await?;
        let read = open("read", settings.read_connections, reserved(settings.read_connections)).await?;
        Pool::pair(&read, &write);
        let queue = matches!(settings.url, DatabaseUrl::Sqlite(_)).then(queue::start).transpose();
        let queue =
            queue.map_err(|error| DbErr::Conn(RuntimeErr::Internal(format!("no thread for writes: {error}"))))?;
        let meter =
            Arc::new(StatementMeter::new(settings.slow_statement, Arc::clone(&long), settings.telemetry.clone()));
        let read = Connections::new(read, Arc::clone(&meter));
        let urls = if matches!(settings.url, DatabaseUrl::Postgres(_)) { &settings.replicas[..] } else { &[] };
        let mut replicas = Vec::with_capacity(urls.len());
        for (replica, url) in (1..).zip(urls) {
            let connector = Connector::postgres(url, settings);
            let number = settings.read_connections;
            let pool = Pool::new(&format!("replica-{replica}"), connector, number, reserved(number), &long, settings);
            replicas.push(pool);
        }
        let replicas = if replicas.is_empty() {
            None
        } else {
            Some(Replicas::new(&read, replicas, settings.max_replica_lag, settings.telemetry.clone()).await?)
        };
        let db = Self {
            read,
            write: Connections::new(write, meter),
            shared: Arc::new(Shared {
                precedence: Arc::default(),
                queue,
                is_writable: AtomicBool::new(true),
                migrations: settings.migrations.clone(),
                events: settings.events && settings.migrations.make_events,
                replicas,
                catalog: Catalog::default(),
                telemetry: settings.telemetry.clone(),
                committed: watch::Sender::default(),
            }),
        };
        db.ensure_known().await?;
        Ok(db)
    }

    /// The database for one request. Its statements are counted together, and end at the deadline: what runs then is
    /// cancelled in the database, and fails with [`StoreError::Timeout`]. An earlier deadline of this handle stays.
    #[must_use]
    pub fn for_request(&self, deadline: Instant) -> Self {
        self.with(self.meter().until(deadline))
    }

    /// The same for a request that only reads, which a replica may answer that has what its client has written. A
    /// replica that gives no answer is no error: the primary is asked instead.
    pub async fn for_query(&self, deadline: Instant, after: &[Written]) -> Self {
        let db = self.for_request(deadline);
        match &self.shared.replicas {
            Some(replicas) => match replicas.choose(after).await {
                Some((replica, generation)) => Self { read: db.read.by(replica, generation), ..db },
                None => db,
            },
            None => db,
        }
    }

    /// What the request has written last, where there are replicas that do not have it at once.
    #[must_use]
    pub fn written_by_request(&self) -> Option<Written> {
        self.write.meter.written()
    }

    /// Begins a transaction of a request, which is SERIALIZABLE.
    ///
    /// # Errors
    ///
    /// When no connection gets free in time, or the database does not answer.
    pub async fn begin(&self) -> Result<Transaction, StoreError> {
        Ok(self.write.begin().await?.told(self.has_replicas()))
    }

    /// Begins a transaction that only reads, and reads what was committed when it began. It holds up no writer.
    ///
    /// # Errors
    ///
    /// When no connection gets free in time, or the database does not answer.
    pub async fn snapshot(&self) -> Result<Transaction, StoreError> {
        Ok(self.uncounted().read.begin_in(RunOn::BlockingPool, Some(Isolation::RepeatableRead)).await?)
    }

    /// Notes that it may have written something in a transaction that is not known.
    pub(super) fn note_perhaps_written(&self) {
        if let Some(replicas) = &self.shared.replicas {
            self.meter().note_written(Written { system: replicas.system(), started: 0, xid: Written::UNKNOWN });
        }
    }

    pub(super) fn has_replicas(&self) -> bool {
        self.shared.replicas.is_some()
    }

    /// Whether a statement may be a transaction by itself, as on PostgreSQL. Behind a pooler it would have no
    /// time-out. With replicas it could not tell its number, which comes with a COMMIT.
    pub(super) fn has_implicit_transactions(&self) -> bool {
        let is_postgres = self.write.get_database_backend() == DbBackend::Postgres;
        is_postgres && !self.write.connector().is_pooled() && !self.has_replicas()
    }

    /// Whether what the request reads may be read by a statement of another request that asks the same, and the other
    /// way round. SQLite reads at once. What is watched closely has statements of its own, and so has what only those
    /// connections of a replica may answer that have what a client has written.
    #[must_use]
    pub fn shares_reads(&self) -> bool {
        self.read.get_database_backend() == DbBackend::Postgres && self.read.are_all_alike() && self.meter().may_share()
    }

    /// The same database for the same request. `call` is called with each query when it has its connection, and is
    /// about to be sent.
    #[must_use]
    pub fn sending(&self, call: impl Fn(&mut Statement) + Send + Sync + 'static) -> Self {
        Self { read: self.read.sending(call), write: self.write.clone(), shared: Arc::clone(&self.shared) }
    }

    /// Waits until the deadline for a statement that may be one of another request.
    ///
    /// # Errors
    ///
    /// When the deadline has come.
    pub async fn until_deadline<T>(&self, statement: impl Future<Output = T>) -> Result<T, StoreError> {
        Ok(self.meter().until_deadline(statement).await?)
    }

    /// Counts a statement of another request, which has read these rows for this one as well.
    pub fn count_shared(&self, start: Instant, rows: u64, what: impl FnOnce() -> String) {
        self.meter().count_shared(start, rows, what);
    }

    /// The replica that is asked, from 1; none where the primary is.
    #[must_use]
    pub fn replica(&self) -> Option<u32> {
        self.read.replica()
    }

    /// The database for what no client asks for. Its statements are counted for none, and nobody observes them.
    #[must_use]
    pub fn uncounted(&self) -> Self {
        self.with(self.meter().uncounted())
    }

    /// The number of rows of a table, as it was in the last minute: on PostgreSQL what its statistics say, on SQLite
    /// exact up to `max`. It is 0 where nothing is known.
    pub async fn table_rows(&self, table: &str, key: &str, max: u64) -> u64 {
        self.shared.catalog.table_rows(&self.uncounted().read, table, key, max).await
    }

    /// The indexes of the tables, as they were in the last minute. There are none where nothing is known.
    pub async fn indexes(&self) -> Arc<Indexes> {
        self.shared.catalog.indexes(&self.uncounted().read).await
    }

    /// The indexes that are known without asking the database: none.
    #[must_use]
    pub fn no_indexes(&self) -> Indexes {
        Indexes::none(self.read.get_database_backend())
    }

    /// The indexes of the tables, as they are now.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn read_indexes(&self) -> Result<Arc<Indexes>, DbErr> {
        read_indexes(&self.read).await
    }

    /// What has been asked of the database through this handle and its clones.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage { replica: self.read.replica(), ..self.meter().usage() }
    }

    /// What is told to those who watch.
    #[must_use]
    pub fn telemetry(&self) -> &Telemetry {
        &self.shared.telemetry
    }

    /// The statements that the request has run, those that took the longest first, if a slow operation is reported.
    #[must_use]
    pub fn ran(&self) -> Vec<Ran> {
        self.meter().ran()
    }

    /// Has the statements of the request end with a comment from now on.
    pub fn comment(&self, comment: &Arc<str>) {
        self.meter().comment(comment);
    }

    /// Brings the metrics of connections and replicas up to date.
    pub fn tell_state(&self) {
        let Some(metrics) = self.telemetry().metrics() else { return };
        self.read.tell_state(metrics);
        self.write.tell_state(metrics);
        if let Some(replicas) = &self.shared.replicas {
            replicas.tell_state(metrics);
        }
    }

    /// Whether writes write their events.
    #[must_use]
    pub fn writes_events(&self) -> bool {
        self.shared.events
    }

    /// Tells when something was committed through this handle, its clones, and those that are made of them.
    #[must_use]
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.shared.committed.subscribe()
    }

    /// Whether a connection to the database has a session of its own, in which one can LISTEN.
    #[must_use]
    pub fn keeps_sessions(&self) -> bool {
        !self.write.connector().is_pooled()
    }

    pub(super) fn note_commit(&self) {
        self.shared.committed.send_modify(|number| *number = number.wrapping_add(1));
    }

    /// Calls `observer` with each statement before it runs, for this handle and for those that are made of it later.
    /// BEGIN, COMMIT and ROLLBACK are not observed.
    pub fn on_statement(&mut self, observer: impl Fn(&Statement) + Send + Sync + 'static) {
        *self = self.with(self.meter().observed(observer));
    }

    /// Waits for what is running, then closes all connections.
    ///
    /// # Errors
    ///
    /// When a connection cannot be closed.
    pub async fn close(self) -> Result<(), StoreError> {
        if let Some(replicas) = &self.shared.replicas {
            replicas.close().await;
        }
        self.read.close().await?;
        // The writer goes last: the last connection of a SQLite file checkpoints its write-ahead log.
        Ok(self.write.close().await?)
    }

    pub(super) fn meter(&self) -> &StatementMeter {
        &self.read.meter
    }

    fn with(&self, meter: StatementMeter) -> Self {
        let meter = Arc::new(meter);
        Self {
            read: self.read.with_meter(&meter),
            write: self.write.with_meter(&meter),
            shared: Arc::clone(&self.shared),
        }
    }
}
