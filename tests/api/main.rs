//! The tests speak as a client does: the real router, real migrations, a fresh database for each test.
#![expect(clippy::expect_used, reason = "a test that cannot go on fails, and the message says why")]

mod databases;
mod line;
mod logged;
mod support;

mod atomicity;
mod batching;
mod browser;
mod changed_tables;
mod clients;
mod command_line;
mod commits;
mod conformance;
mod connections;
mod create;
mod deadlines;
mod delete;
mod documents;
mod edge;
mod faults;
mod few_connections;
mod files;
mod graphql_over_http;
mod http;
mod input;
mod lists;
mod log;
mod memory;
mod missions;
mod model;
mod node;
mod outages;
mod pages;
mod plans;
mod poolers;
mod postgres;
mod property;
mod races;
mod read;
mod schema;
mod settings;
mod sockets;
mod standby;
mod story;
mod update;
