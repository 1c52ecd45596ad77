//! What clients are told when something goes wrong: one error type, one table of codes.

use async_graphql::{ErrorExtensionValues, Pos, ServerError, Value};

use crate::store::StoreError;

/// The codes in `extensions.code`. The README lists them for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The request is wrong and stays wrong however often it is sent.
    BadUserInput,
    /// An object that the input names is not there.
    NotFound,
    /// Other requests were in the way. The request may be repeated.
    Conflict,
    /// The document would cost too much.
    QueryTooComplex,
    /// The request, or a statement of it, took longer than it may.
    Timeout,
    /// The document is not known by its hash: it is to be sent along.
    PersistedQueryNotFound,
    /// The database cannot be reached at the moment.
    Unavailable,
    /// A mutation is written, and its payload could not be read.
    PayloadUnavailable,
    /// A fault of the server.
    Internal,
}

impl Code {
    /// The code as clients see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadUserInput => "BAD_USER_INPUT",
            Self::NotFound => "NOT_FOUND",
            Self::Conflict => "CONFLICT",
            Self::QueryTooComplex => "QUERY_TOO_COMPLEX",
            Self::Timeout => "TIMEOUT",
            Self::PersistedQueryNotFound => "PERSISTED_QUERY_NOT_FOUND",
            Self::Unavailable => "UNAVAILABLE",
            Self::PayloadUnavailable => "PAYLOAD_UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }
}

/// An error as a client sees it.
///
/// It has no `Display` on purpose: async-graphql turns whatever has one into a GraphQL error without a code. Without it
/// the conversion below is the only way out, and the compiler refuses any other.
#[derive(Clone, Debug)]
pub struct ApiError {
    pub code: Code,
    /// What was wrong, and what would be right.
    pub message: String,
    /// Where in the arguments the fault is, from the name of the argument inwards. Empty when no argument is at fault.
    pub argument_path: Vec<Value>,
    /// Where in the variables the fault is, from the name of the variable inwards. Empty when no variable is at fault.
    pub variable_path: Vec<Value>,
}

impl ApiError {
    /// A fault in the request that is in no argument.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), argument_path: Vec::new(), variable_path: Vec::new() }
    }

    /// The error at a place in the document, or of the request as a whole.
    #[must_use]
    pub fn at(self, position: Option<Pos>) -> ServerError {
        let error = async_graphql::Error::from(self);
        ServerError { extensions: error.extensions, ..ServerError::new(error.message, position) }
    }
}

/// The code of an error that is on its way to a client.
#[must_use]
pub fn code(error: &ServerError) -> Option<String> {
    match error.extensions.as_ref()?.get("code")? {
        Value::String(code) => Some(code.clone()),
        _ => None,
    }
}

/// Tells an error in the payload of a mutation from one of the mutation itself: this one is written. A code that lets clients
/// repeat the request gives way to [`Code::PayloadUnavailable`].
pub fn tell_written(error: &mut ServerError) {
    let may_be_repeated = [Code::Conflict, Code::Timeout, Code::Unavailable].map(Code::as_str);
    if error.path.len() > 1 && code(error).is_some_and(|code| may_be_repeated.contains(&code.as_str())) {
        error.extensions.get_or_insert_default().set("code", Code::PayloadUnavailable.as_str());
        error.message = format!("this is written, but could not be read: {}", error.message);
    }
}

/// A message of a library, which may repeat what was sent, and what was sent may be long.
#[must_use]
pub fn shortened(mut message: String) -> String {
    const MAX_CHARACTERS: usize = 500;
    if let Some((end, _)) = message.char_indices().nth(MAX_CHARACTERS) {
        message.truncate(end);
        message.push('…');
    }
    message
}

impl From<ApiError> for async_graphql::Error {
    fn from(error: ApiError) -> Self {
        let mut extensions = ErrorExtensionValues::default();
        extensions.set("code", error.code.as_str());
        if !error.argument_path.is_empty() {
            extensions.set("argumentPath", error.argument_path);
        }
        if !error.variable_path.is_empty() {
            extensions.set("variablePath", error.variable_path);
        }
        Self { message: error.message, source: None, extensions: Some(extensions) }
    }
}

/// What the database said goes to the log, never to the client.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { keys, .. } => {
                Self::new(Code::NotFound, format!("there are no rows with these keys: {keys:?}"))
            }
            StoreError::Conflict => Self::new(
                Code::Conflict,
                "other requests changed the same data at the same time; nothing was written, the request may be repeated",
            ),
            StoreError::Timeout => {
                Self::new(Code::Timeout, "the database took too long to answer; ask for less, or with a simpler filter")
            }
            StoreError::Unavailable(cause) => {
                tracing::error!(%cause, "the database is unavailable");
                Self::new(Code::Unavailable, "the database is not available at the moment; try again later")
            }
            StoreError::Busy(cause) => {
                tracing::warn!(%cause, "no connection to the database was free");
                Self::new(Code::Unavailable, "no connection to the database was free in time; try again later")
            }
            StoreError::Unanswered(cause) => {
                tracing::error!(%cause, "the database is unavailable");
                Self::new(Code::Unavailable, "the database did not answer the commit; this may be written, or not")
            }
            StoreError::Database(cause) => {
                tracing::error!(%cause, "the database failed");
                Self::new(Code::Internal, "the server failed to do this; its log has the reason")
            }
        }
    }
}
