//! GraphQL over WebSocket: one connection, from its upgrade to its end.
//!
//! Between the client and async-graphql-axum, which keeps the operations of a connection, stand the rules of the
//! protocol (`protocol.rs`), and around them what needs a clock (`socket.rs`): how long a client may take to say who it
//! is, whether it is still there, and whether its credential is still accepted.

mod initialization;
mod operations;
mod protocol;
mod socket;
mod upgrade;

pub use self::upgrade::{is_wanted, open};
