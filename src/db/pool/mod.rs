//! The connections that are open, and whose turn it is to use them.

mod growth;
mod handle;
mod lease;
mod state;

pub use self::{
    handle::Pool,
    lease::{Interrupt, PooledConnection},
    state::no_answer,
};
