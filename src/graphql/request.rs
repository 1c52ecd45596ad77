//! The parameters of a request, and the answer to it (GraphQL over HTTP, Request Parameters and Response).

use std::time::Duration;

use async_graphql::{Name, ServerError, Value, indexmap::IndexMap, parser::types::OperationType};
use serde::{Deserialize, Serialize};

use super::{
    answer::Json,
    cost::{Cost, CostReport},
    document::DocumentId,
    error::{ApiError, Code},
};
use crate::{
    db::{Usage, Written},
    telemetry::{Span, Taken},
};

/// What a client asks for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Params {
    /// The text of the document. It may be left out when the server knows it already, by its hash in the extensions.
    pub query: Option<String>,
    pub operation_name: Option<String>,
    /// The id of a trusted document, in the place of its text. Relay names it `doc_id`.
    #[serde(alias = "doc_id")]
    pub document_id: Option<String>,
    pub variables: Option<IndexMap<Name, Value>>,
    /// What is asked for beyond the specification.
    pub extensions: Option<IndexMap<String, serde_json::Value>>,
    /// The name that the client gives itself.
    #[serde(skip)]
    pub client: Option<String>,
    /// What the client has written, as it was told, besides what the extensions say.
    #[serde(skip)]
    pub after: Vec<String>,
    /// Whether the client wants to know the cost.
    #[serde(skip)]
    pub cost: Option<CostReport>,
}

/// A document by its hash: Apollo's protocol of automatic persisted queries.
#[derive(Clone, Debug)]
pub struct PersistedQuery {
    pub version: f64,
    pub sha256_hash: String,
}

/// What a client is answered.
#[derive(Debug)]
pub struct Answer {
    pub outcome: Outcome,
    pub errors: Vec<ServerError>,
    /// The operation, when there was one to execute.
    pub operation: Option<RequestedOperation>,
    /// What it has cost the database.
    pub usage: Usage,
    /// What else it has taken.
    pub taken: Taken,
    pub timing: Timing,
    /// Whether it is a query that was asked for by the id of a trusted document.
    pub is_by_id: bool,
    /// Its span, if traces are asked for.
    pub span: Option<Span>,
    /// What it has written last, where replicas do not have it at once.
    pub written: Option<Written>,
    /// What it costs, if that is asked for.
    pub cost: Option<Box<Cost>>,
}

/// What a request asks to execute.
#[derive(Clone, Debug)]
pub struct RequestedOperation {
    pub ty: OperationType,
    pub name: Option<Name>,
    pub document: DocumentId,
}

/// How long the parts of a request took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Until it was known to be valid and allowed.
    pub check: Duration,
    pub execution: Duration,
}

/// The greatest number of writes after which a query may be asked to read.
const MAX_AFTER: usize = 16;

/// Whether it came to an execution.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// What was asked for, or null where that failed.
    Executed(Value),
    /// A fault of the request, which was not executed.
    RequestError,
    /// A request without a credential that needs one. It was not executed.
    Unauthenticated,
    /// A request that needs scopes which its credential does not have. It was not executed.
    Forbidden,
    /// A request with a document that is not trusted, where only trusted documents are executed.
    NotTrusted,
    /// A mutation that came in a request that must only read.
    NotReadOnly,
}

impl Params {
    /// The hash of the document, if it comes with one or as one.
    ///
    /// # Errors
    ///
    /// `BAD_USER_INPUT` when it is not of the form of the protocol.
    pub fn persisted_query(&self) -> Result<Option<PersistedQuery>, ApiError> {
        let persisted = self.extensions.as_ref().and_then(|extensions| extensions.get("persistedQuery"));
        let Some(persisted) = persisted.filter(|persisted| !persisted.is_null()) else { return Ok(None) };
        let (version, hash) = (persisted["version"].as_f64(), persisted["sha256Hash"].as_str());
        if let (Some(version), Some(hash)) = (version, hash) {
            return Ok(Some(PersistedQuery { version, sha256_hash: hash.to_owned() }));
        }
        let message = "`persistedQuery` must be such as {\"version\": 1, \"sha256Hash\": \"…\"}";
        Err(ApiError::new(Code::BadUserInput, message))
    }

    /// What the client has written: an answer has all of it.
    ///
    /// # Errors
    ///
    /// `BAD_USER_INPUT` when something is not what this server has told a client, or there is too much.
    pub(super) fn after(&self) -> Result<Vec<Written>, ApiError> {
        let wrong = || {
            let message = "`after` must be a value of `written`, or a list of at most 16 of them";
            ApiError::new(Code::BadUserInput, message)
        };
        let mut after: Vec<&str> = self.after.iter().map(String::as_str).collect();
        match self.extensions.as_ref().and_then(|extensions| extensions.get("after")) {
            None | Some(serde_json::Value::Null) => {}
            Some(serde_json::Value::String(written)) => after.push(written),
            Some(serde_json::Value::Array(list)) => {
                for written in list {
                    after.push(written.as_str().ok_or_else(wrong)?);
                }
            }
            Some(_) => return Err(wrong()),
        }
        if after.len() > MAX_AFTER {
            return Err(wrong());
        }
        after.into_iter().map(|written| written.parse().map_err(|()| wrong())).collect()
    }
}

impl Answer {
    /// The answer as it is sent. There is no entry `data` when the execution never began.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = Json::default();
        json.raw(b"{");
        if let Outcome::Executed(data) = &self.outcome {
            json.key("data");
            json.value(data);
        }
        if !self.errors.is_empty() {
            json.key("errors");
            json.scalar(&self.errors);
        }
        if self.written.is_some() || self.cost.is_some() {
            json.key("extensions");
            json.scalar(Extensions {
                written: self.written.as_ref().map(Written::to_string),
                cost: self.cost.as_deref(),
            });
        }
        json.raw(b"}");
        json.into_bytes()
    }

    /// The answer to a request that was not executed, for one reason that is in none of its arguments.
    #[must_use]
    pub fn from_error(code: Code, message: &str) -> Self {
        ApiError::new(code, message).into()
    }

    /// The answer to a request that was not executed.
    #[must_use]
    pub fn not_executed(errors: Vec<ServerError>) -> Self {
        Self {
            outcome: Outcome::RequestError,
            errors,
            operation: None,
            usage: Usage::default(),
            taken: Taken::default(),
            timing: Timing::default(),
            is_by_id: false,
            span: None,
            written: None,
            cost: None,
        }
    }
}

/// What is told beyond the specification.
#[derive(Serialize)]
struct Extensions<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<&'a Cost>,
}

impl From<ApiError> for Answer {
    fn from(error: ApiError) -> Self {
        vec![error].into()
    }
}

impl From<Vec<ApiError>> for Answer {
    fn from(errors: Vec<ApiError>) -> Self {
        let has = |code| errors.iter().any(|error| error.code == code);
        let outcome = if has(Code::Unauthenticated) {
            Outcome::Unauthenticated
        } else if has(Code::Forbidden) {
            Outcome::Forbidden
        } else if has(Code::DocumentNotTrusted) {
            Outcome::NotTrusted
        } else {
            Outcome::RequestError
        };
        Self { outcome, ..Self::not_executed(errors.into_iter().map(|error| error.at(None)).collect()) }
    }
}
