//! From declared entities to GraphQL types, and from the values of arguments to what they ask for.
//!
//! Each file registers its types and reads the values that clients send for them.

mod all;
mod arguments;
mod connection;
mod event;
mod filter;
mod id;
mod input;
mod item;
mod object;
mod order;
mod register;
mod root;

pub use self::{
    all::{types, validate},
    arguments::{ArgumentPath, Arguments, DEFAULT_LIMIT, Input, MAX_LIMIT},
    event::{id_of_side, sides, subscription},
    filter::filter,
    id::{global_id, key_of, node_of, write_id},
    input::InputReader,
    order::{order, symbol},
    register::{REQUIRES_SCOPES, Registry, register},
    root::NODE,
};
