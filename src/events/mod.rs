//! The events of all servers on one database, for those who listen at this one. It knows no GraphQL.
//!
//! While somebody listens, one task reads what was committed, in its order, and keeps the latest events. Those who
//! listen follow them at their own pace; who is too slow is left to the table of the events.

mod handle;
mod listener;
mod reader;
mod recent;

pub use self::{
    handle::Events,
    listener::{Interrupted, Listener},
    recent::Batch,
};
