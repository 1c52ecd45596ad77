//! How fields are answered: for all objects of a level together.

mod bounds;
mod connection;
mod entity_rows;
mod event;
mod fields;
mod json;
mod list;
mod mutation;
mod node;
mod query;
mod root;
mod settle;

pub use self::{
    bounds::{Bounds, MAX_ERRORS},
    json::Json,
    root::{MutationRoot, QueryRoot, SubscriptionRoot},
    settle::settle,
};
