//! From declared entities to GraphQL types, and from the values of arguments to what they ask for.
//!
//! Each file registers its types and reads the values that clients send for them.

mod arguments;
mod connection;
mod filter;
mod id;
mod input;
mod item;
mod object;
mod order;
mod register;
mod root;

pub use self::{
    arguments::{ArgumentPath, Arguments, Input},
    filter::filter,
    id::{global_id, key_of, node_of, write_id},
    input::{InputReader, bounded},
    order::order,
    register::{REQUIRES_SCOPES, Registry},
    root::NODE,
};
use crate::schema::Entity;

/// Registers all types of the schema.
pub fn register(registry: &mut Registry, entities: &[&'static Entity]) {
    register::requires_scopes(registry);
    root::register(registry, entities);
    object::register(registry, entities);
    connection::register(registry, entities);
    filter::register(registry, entities);
    order::register(registry, entities);
    input::register(registry, entities);
}
