//! What the database holds: rows in and out. Every query is here.

pub mod api_key;
mod copy;
mod create;
mod delete;
mod dialect;
pub mod event;
mod filter;
mod insert;
mod links;
mod order;
mod page;
mod relate;
mod row;
pub mod seed;
mod tables;
mod update;

pub use self::{
    copy::{Copied, copy},
    create::{Create, Creation},
    delete::PendingDelete,
    filter::{Filter, IntTest, Quantifier, TextTest},
    insert::Values,
    order::{Bound, Order, OrderBy, position},
    page::{Count, CountQuery, ListQuery, Page, Slice, by_keys, count, matching, page, related_counts, related_pages},
    relate::Relate,
    row::{Row, Scalar},
    tables::migrations,
    update::{Change, Update},
};
