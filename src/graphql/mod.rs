//! What clients see: documents in, answers out. It translates, and holds no query.

mod answer;
mod check_documents;
mod checked_request;
mod context;
mod cost;
mod definition;
mod document;
mod documents;
mod error;
mod execute;
mod executor;
mod introspection;
mod loaders;
mod observe;
mod persisted;
mod record;
mod request;
mod schema_changes;
mod shared_reads;
mod subscription;
mod trusted;
mod types;
mod variables;
mod watch;

pub use self::{
    check_documents::check_documents,
    checked_request::CheckedRequest,
    cost::CostReport,
    document::DocumentId,
    error::{Code, code},
    execute::{SDL, Schema, validate},
    executor::sdl,
    observe::milliseconds,
    record::{RecordFault, RecordReader},
    request::{Answer, Outcome, Params, PersistedQuery, RequestedOperation, Timing},
    schema_changes::{SchemaChange, Verdict, schema_changes},
    subscription::{Delivery, Subscription},
};
