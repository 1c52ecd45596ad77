//! One connection after another, from the listener to the last byte of an answer. It knows HTTP and no GraphQL.

mod accept;
mod activity;
mod connection;
mod lifetime;
mod listener;
mod stream;
mod unclear_host;

pub use self::{
    accept::serve_until,
    lifetime::{Connection, Lifetime, OpenSocket},
    listener::{Listener, Peer},
    unclear_host::{UnclearHost, authority},
};
