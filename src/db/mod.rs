//! How the database is reached: connections, transactions, and what a request may take of them. It knows no table.

mod backup;
mod cancel;
mod catalog;
mod channel;
mod claim;
mod connection;
mod connections;
mod connector;
mod database;
mod error;
mod explain;
mod file;
mod migrate;
mod pool;
mod pooler;
mod queue;
mod readiness;
mod replica;
mod sqlite;
mod sqlite_options;
mod statement_meter;
mod summary;
mod url;
mod write;

pub use self::{
    backup::backup,
    catalog::Indexes,
    channel::Channel,
    connections::{Connections, Transaction},
    database::{Db, DbSettings},
    error::{SERIALIZATION_FAILURE, StoreError},
    migrate::{MIGRATIONS, Migrations, SCHEMA_COMPAT},
    replica::Written,
    statement_meter::{Ran, Usage},
    url::{DatabaseUrl, PostgresUrl},
    write::{UnitOfWork, WriterTurn},
};
pub(crate) use self::{
    connector::{CANNOT_BE_WRITTEN, first_host},
    file::{Open, open_to_read},
};
