//! What the database holds: rows in and out. Every query is here.

pub mod api_key;
mod copy;
mod create;
mod delete;
mod dialect;
pub mod event;
mod filter;
mod import;
mod insert;
mod key_map;
mod links;
mod order;
mod page;
mod relate;
mod row;
pub mod seed;
mod snapshot;
mod tables;
mod text_index;
mod update;

pub use self::{
    copy::{Copied, CopySource, copy},
    create::{Create, Creation},
    delete::PendingDelete,
    filter::{Filter, IntTest, Quantifier, Scan, TextTest},
    import::{
        End, ImportBatch, ImportedBatch, ImportedKeys, NewLink, NewObject, finish_import, forget_import, last_import,
    },
    insert::Values,
    key_map::KeyMap,
    order::{Bound, Order, OrderBy, position},
    page::{
        Count, CountQuery, FoundQuery, ListQuery, Page, Slice, by_keys, count, matching, page, related_counts,
        related_pages, replace_keys, rows_found,
    },
    relate::Relate,
    row::{Row, Scalar},
    snapshot::{LinkReader, Snapshot},
    tables::migrations,
    text_index::TextIndex,
    update::{Change, Update},
};
