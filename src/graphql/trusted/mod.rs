//! Trusted documents: those that the apps of the server's owner were built with.
//!
//! They are known by ids, which clients send instead of texts. Where nothing else is executed, a text is trusted as
//! well that is the same document: with other blanks, commas or comments, or with its fragments in another order.

mod documents;
mod known;
mod manifest;

pub use self::{
    documents::{TrustedDocuments, not_trusted},
    known::Known,
};
