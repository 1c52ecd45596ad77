//! What a request is once it is known to be valid and allowed.

use std::{sync::Arc, time::Duration};

use async_graphql::{
    Name, Value, Variables,
    indexmap::IndexMap,
    parser::types::{ExecutableDocument, OperationType},
};
use tokio::time::Instant;

use super::{
    cost::{Cost, CostReport},
    document::{Document, Nulls, RootFields},
    request::RequestedOperation,
};
use crate::{db::Written, schema::Scopes, telemetry::OperationSeries};

/// A request that is well-formed, valid and allowed.
#[expect(missing_debug_implementations, reason = "a document has none that helps")]
pub struct CheckedRequest {
    pub(super) requested: RequestedOperation,
    /// Whether it was asked for by the id of a trusted document.
    pub(super) is_by_id: bool,
    /// How long such operations take, if that is measured.
    pub(super) series: Option<Arc<OperationSeries>>,
    /// When it came, and how long it took to check it.
    pub(super) start: Instant,
    pub(super) check: Duration,
    pub(super) document: Arc<Document>,
    pub(super) prepared: Prepared,
    pub(super) after: Vec<Written>,
    pub(super) cost: Option<(CostReport, Box<Cost>)>,
    /// Whether it begins a trace, because no request of HTTP is around it.
    pub begins_trace: bool,
}

impl CheckedRequest {
    /// Whether it asks for events.
    #[must_use]
    pub fn is_subscription(&self) -> bool {
        self.requested.ty == OperationType::Subscription
    }

    /// Its operation.
    #[must_use]
    pub fn operation(&self) -> &RequestedOperation {
        &self.requested
    }
}

/// An operation that can be executed.
#[derive(Clone)]
pub(super) struct Prepared {
    pub estimated_rows: u64,
    /// What its SQL statements end with.
    pub comment: Option<Arc<str>>,
    pub fields: RootFields,
    /// The fields that ask for the schema.
    pub introspected: IndexMap<Name, Value>,
    pub execution: Execution,
}

/// What async-graphql executes.
#[derive(Clone)]
pub(super) struct Execution {
    pub executable: ExecutableDocument,
    pub variables: Variables,
    pub nulls: Arc<Nulls>,
    pub scopes: Scopes,
    /// Whether loaders wait for further fields of a level.
    pub has_siblings: bool,
}
