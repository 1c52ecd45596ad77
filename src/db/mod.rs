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
mod migrations;
mod pool;
mod pooler;
mod primary;
mod queue;
mod readiness;
mod replica;
mod replicas;
mod settings;
mod sqlite;
mod sqlite_error;
mod sqlite_options;
mod statement_meter;
mod summary;
mod write;
mod written;

pub use self::{
    backup::backup,
    catalog::Indexes,
    channel::Channel,
    connections::{Connections, Transaction},
    database::Db,
    error::{SERIALIZATION_FAILURE, StoreError},
    migrations::{MIGRATIONS, Migrations, SCHEMA_COMPAT},
    settings::DbSettings,
    statement_meter::{Ran, Usage},
    write::{UnitOfWork, WriterTurn},
    written::Written,
};
pub(crate) use self::{
    connector::{CANNOT_BE_WRITTEN, first_host},
    file::{Open, open_to_read},
};
