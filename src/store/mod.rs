//! What the database holds: rows in and out, plain functions over a connection. Every query is here.

mod cancel;
mod connection;
mod connector;
mod create;
mod delete;
mod dialect;
mod error;
mod file;
mod filter;
mod insert;
mod links;
mod migrate;
mod order;
mod page;
mod pool;
mod queue;
mod readiness;
mod relate;
mod request;
mod row;
pub mod seed;
mod session;
mod sqlite;
mod update;
mod url;
mod write;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use sea_orm::Statement;
use tokio::{sync::RwLock, time::Instant};

use crate::schema::Api;

use self::{connector::Connector, file::File, pool::Pool, queue::Queue, request::Request};
pub use self::{
    create::{Create, Creation},
    delete::PendingDelete,
    error::StoreError,
    filter::{Filter, IntTest, Quantifier, TextTest},
    insert::Values,
    migrate::Migrations,
    order::{Bound, Order, OrderBy, position},
    page::{ListQuery, Page, Slice, by_keys, count, page, related_counts, related_pages},
    relate::Relate,
    request::Usage,
    row::{Row, Scalar},
    session::{Session, Transaction},
    update::{Change, Update},
    url::DatabaseUrl,
    write::UnitOfWork,
};

/// The migrations of an API, and the tables that they make: those of its entities, and those of their links.
#[must_use]
pub fn migrations<A: Api>() -> Migrations {
    let mut tables = Vec::new();
    for entity in A::entities() {
        let links = entity.relations.iter().map(|relation| relation.link.table.to_string());
        for table in std::iter::once(entity.table().to_owned()).chain(links) {
            if !tables.contains(&table) {
                tables.push(table);
            }
        }
    }
    Migrations::new::<A::Migrator>(tables)
}

/// How to reach the database.
#[derive(Clone, Debug)]
pub struct DbSettings {
    /// The migrations that make the tables.
    pub migrations: Migrations,
    pub url: DatabaseUrl,
    /// Connections that read, at most.
    pub read_connections: u32,
    /// Connections that write, at most. SQLite always has one.
    pub write_connections: u32,
    /// How long a request waits for a connection that is free.
    pub acquire_timeout: Duration,
    /// How long a statement may take on PostgreSQL before it is cancelled. Zero for no end.
    pub statement_timeout: Duration,
    /// How long a statement may take before it is warned of. Zero for as long as it likes.
    pub slow_statement: Duration,
}

/// The database: connections that read, and connections that write.
///
/// SQLite has a single writer by nature, and waiting for it in turn is fair and without polling. PostgreSQL has a
/// pool of its own for writes because their isolation level is an option of the connection, which saves each
/// transaction a statement.
///
/// A clone is cheap, and goes on counting with the one that it was made of.
#[derive(Clone, Debug)]
pub struct Db {
    pub read: Session,
    pub write: Session,
    shared: Arc<Shared>,
}

/// What all requests have in common.
#[derive(Debug)]
struct Shared {
    /// Writers share it, until one that keeps losing to others takes it for itself.
    precedence: Arc<RwLock<()>>,
    /// The writes on SQLite that wait for their turn.
    queue: Arc<Queue>,
    /// Whether the last write that told something about it could write.
    is_writable: AtomicBool,
    migrations: Migrations,
}

impl Db {
    /// Opens the first connections. A SQLite file that is not there is created.
    ///
    /// # Errors
    ///
    /// When the database does not answer, or is none of this program.
    pub async fn connect(settings: &DbSettings) -> Result<Self, StoreError> {
        let (is_sqlite, [writer, reader]) = match &settings.url {
            DatabaseUrl::Sqlite(url) => {
                let connector = Connector::Sqlite(File::inspected(url, &settings.migrations).await?);
                (true, [connector.clone(), connector])
            }
            DatabaseUrl::Postgres(options) => {
                let isolations = ["serializable", "read committed"];
                (false, isolations.map(|isolation| Connector::postgres(options, settings, isolation)))
            }
        };
        // The writer comes first: it creates the file that the readers expect.
        let write_connections = if is_sqlite { 1 } else { settings.write_connections };
        let write = Pool::open(writer, write_connections, settings.acquire_timeout).await?;
        let read = Pool::open(reader, settings.read_connections, settings.acquire_timeout).await?;
        let request = Arc::new(Request::new(settings.slow_statement));
        let db = Self {
            read: Session::new(read, Arc::clone(&request)),
            write: Session::new(write, request),
            shared: Arc::new(Shared {
                precedence: Arc::default(),
                queue: Arc::default(),
                is_writable: AtomicBool::new(true),
                migrations: settings.migrations.clone(),
            }),
        };
        db.check().await?;
        Ok(db)
    }

    /// The database for one request. Its statements are counted together, and end at the deadline: what runs then is
    /// cancelled in the database, and fails with [`StoreError::Timeout`]. An earlier deadline of this handle stays.
    #[must_use]
    pub fn for_request(&self, deadline: Instant) -> Self {
        self.with(self.request().until(deadline))
    }

    /// What has been asked of the database through this handle and its clones.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.request().usage()
    }

    /// Shows each statement that is run through this handle, and through those that are made of it from now on, before it
    /// runs. What only begins and ends transactions is not shown.
    pub fn on_statement(&mut self, observer: impl Fn(&Statement) + Send + Sync + 'static) {
        *self = self.with(self.request().observed(observer));
    }

    /// Waits for what is running, then closes all connections.
    ///
    /// # Errors
    ///
    /// When a connection cannot be closed.
    pub async fn close(self) -> Result<(), StoreError> {
        self.read.close().await?;
        // The writer goes last: the last connection of a SQLite file folds its write-ahead log into it.
        Ok(self.write.close().await?)
    }

    fn request(&self) -> &Request {
        &self.read.request
    }

    fn with(&self, request: Request) -> Self {
        let request = Arc::new(request);
        Self { read: self.read.of(&request), write: self.write.of(&request), shared: Arc::clone(&self.shared) }
    }
}
