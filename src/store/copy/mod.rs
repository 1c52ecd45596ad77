//! Everything from another database: of this program, on SQLite or PostgreSQL, or the file of the tutorial.

mod source;
mod table;
mod target;

pub use self::{
    source::CopySource,
    target::{Copied, copy},
};
