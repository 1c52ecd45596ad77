//! The connections that are open, and whose turn it is to use them.

mod acquire;
mod growth;
mod lease;
mod state;

pub use self::{
    acquire::Pool,
    lease::{Interrupt, PooledConnection},
    state::no_answer,
};
