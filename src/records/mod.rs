//! Files with records, as JSON Lines and as CSV (RFC 4180): out of one snapshot, and in by batches.
//!
//! Ids in a file are names inside it: an import gives new ones.

mod export;
mod import;
mod source;
mod table;

pub use self::{
    export::export,
    import::{Checked, Imported, import, validate},
    table::Table,
};
