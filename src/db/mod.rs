//! How the database is reached: connections, transactions, and what a request may take of them. It knows no table.

mod cancel;
mod claim;
mod connection;
mod connector;
mod database;
mod error;
mod file;
mod migrate;
mod pool;
mod queue;
mod readiness;
mod request;
mod session;
mod sqlite;
mod url;
mod write;

pub use self::{
    database::{Db, DbSettings},
    error::StoreError,
    migrate::Migrations,
    request::Usage,
    session::{Session, Transaction},
    url::DatabaseUrl,
    write::{Precedence, UnitOfWork},
};
