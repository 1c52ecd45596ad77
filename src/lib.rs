//! hero-teams: a GraphQL server for heroes, the teams they belong to, and the membership that links them.
//!
//! A request comes in through `http`, is resolved by `graphql`, and reads and writes through `store`. The rows are
//! SeaORM entities in the crate `entity`, and the tables are made by the crate `migration`. Two rules keep the layers
//! apart: `store` never names async-graphql, and `graphql` holds no query.

/// What exists: the declared entities and their relations.
pub mod schema;

/// Who asks, and what they may do.
pub mod access;

/// Every setting of the server.
pub mod config;
/// What the server tells those who run it.
pub mod log;

/// What the server tells those who watch it.
pub mod telemetry;

/// What was committed, for those who listen.
pub mod events;

/// Requests to other servers.
mod http_client;

/// One request.
pub mod http;

/// One connection after another.
pub mod server;

/// The signals that end the program.
mod stop;

/// The life of the program that serves.
mod serve;

/// The program: commands, their output and their status.
mod program;
pub use program::run;

/// What clients see.
pub mod graphql;

/// How the database is reached.
pub mod db;

/// What the database holds.
pub mod store;

/// What files hold: export and import.
pub mod records;

/// What a command writes.
mod output;

/// How far a command has come.
pub mod progress;
