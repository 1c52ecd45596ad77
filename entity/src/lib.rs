//! What a row is: one SeaORM entity for each table.
//!
//! This crate knows the tables and nothing else. How the tables came to be is in `migration`, what clients see is
//! in the server's `schema` module.

pub mod api_key;
pub mod event;
pub mod hero;
pub mod hero_team_link;
pub mod import_batch;
pub mod team;
