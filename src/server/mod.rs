//! One connection after another, from the listener to the last byte of an answer. It knows HTTP and no GraphQL.

mod accept;
mod activity;
mod connection;
mod listener;
mod stream;
mod unclear_host;

pub use self::{
    accept::serve_until,
    listener::{Listener, Peer},
    unclear_host::{UnclearHost, authority},
};
