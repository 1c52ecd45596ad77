//! What clients are told when something goes wrong: one error type, one table of codes.

use async_graphql::{ErrorExtensionValues, Pos, ServerError, Value};

use crate::{access::Principal, db::StoreError, schema::Scope};

/// The codes in `extensions.code`. docs/api.md lists them for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The request is wrong and stays wrong however often it is sent.
    BadUserInput,
    /// An object that the input names does not exist.
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
    /// No credential was sent, or it is not accepted.
    Unauthenticated,
    /// The credential does not allow the request.
    Forbidden,
    /// The document is none of those that the server executes.
    DocumentNotTrusted,
    /// The events after a cursor are not kept any more: the objects are to be read anew.
    EventsGone,
    /// A subscription was too slow to take its events. It may go on after its last cursor.
    SlowConsumer,
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
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::DocumentNotTrusted => "DOCUMENT_NOT_TRUSTED",
            Self::EventsGone => "EVENTS_GONE",
            Self::SlowConsumer => "SLOW_CONSUMER",
            Self::Internal => "INTERNAL",
        }
    }

    /// The code of what a principal may not do. One without a credential may be allowed to with one.
    #[must_use]
    pub fn denied(principal: &Principal) -> Self {
        if principal.is_anonymous { Self::Unauthenticated } else { Self::Forbidden }
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
    /// The places in the document, when they are not that of the field. Their column is the offset in the text until
    /// `Document::locate` has seen them.
    pub positions: Vec<Pos>,
    /// What is required and not granted, when that is the fault.
    pub denied: Option<Box<Denied>>,
}

/// What is required and not granted.
#[derive(Clone, Debug)]
pub struct Denied {
    pub requires: Scope,
    /// What requires it, as a schema coordinate: `Hero.secretName`.
    pub coordinate: String,
}

impl ApiError {
    /// A fault in the request that is in no argument.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            argument_path: Vec::new(),
            variable_path: Vec::new(),
            positions: Vec::new(),
            denied: None,
        }
    }

    /// What requires a scope that is not granted, by its schema coordinate.
    #[must_use]
    pub fn denied(code: Code, requires: Scope, coordinate: &str) -> Self {
        let denied = Some(Box::new(Denied { requires, coordinate: coordinate.to_owned() }));
        Self { denied, ..Self::new(code, format!("`{coordinate}` requires the scope `{requires}`")) }
    }

    /// The error at a place in the document, or of the request as a whole, unless it has places of its own.
    #[must_use]
    pub fn at(mut self, position: Option<Pos>) -> ServerError {
        let positions = std::mem::take(&mut self.positions);
        let error = async_graphql::Error::from(self);
        let mut error = ServerError { extensions: error.extensions, ..ServerError::new(error.message, position) };
        if !positions.is_empty() {
            error.locations = positions;
        }
        error
    }
}

/// The greatest number of errors that are reported of what is wrong together.
const MAX_ERRORS: usize = 100;

/// The errors of one request or call: the first ones, and how many more there are.
#[derive(Debug, Default)]
pub struct BoundedErrors {
    errors: Vec<ApiError>,
    more: usize,
}

impl BoundedErrors {
    /// Adds an error, which is made only if it is one of the first.
    pub fn push(&mut self, error: impl FnOnce() -> ApiError) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error());
        } else {
            self.more += 1;
        }
    }

    /// Goes on only when there are none.
    ///
    /// # Errors
    ///
    /// The first ones, and how many more there are.
    pub fn finish(self) -> Result<(), Vec<ApiError>> {
        if self.errors.is_empty() { Ok(()) } else { Err(self.into_vec()) }
    }

    fn into_vec(mut self) -> Vec<ApiError> {
        if let Some(last) = self.errors.last().filter(|_| self.more > 0) {
            self.errors.push(ApiError::new(last.code, format!("and {} more faults", self.more)));
        }
        self.errors
    }
}

/// The first of these errors, and how many more there are.
#[must_use]
pub fn bounded(errors: impl IntoIterator<Item = ApiError>) -> Vec<ApiError> {
    let mut bounded = BoundedErrors::default();
    errors.into_iter().for_each(|error| bounded.push(|| error));
    bounded.into_vec()
}

/// The code of an error that is on its way to a client.
#[must_use]
pub fn code(error: &ServerError) -> Option<String> {
    match error.extensions.as_ref()?.get("code")? {
        Value::String(code) => Some(code.clone()),
        _ => None,
    }
}

/// Tells an error in the payload of a mutation from one of the mutation itself: this one is written. A code that lets
/// clients repeat the request gives way to [`Code::PayloadUnavailable`].
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

/// What was sent, in quotation marks, as a message repeats it.
#[must_use]
pub fn quoted(text: &str) -> String {
    let abbreviated = abbreviated(text);
    match abbreviated.strip_suffix('…') {
        Some(beginning) if abbreviated.len() != text.len() => format!("{beginning:?}…"),
        _ => format!("{text:?}"),
    }
}

/// The beginning of what was sent: a message must not grow with it.
#[must_use]
pub fn abbreviated(text: &str) -> String {
    const MAX_CHARACTERS: usize = 40;
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
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
        if let Some(denied) = error.denied {
            extensions.set("requires", denied.requires.as_str());
            extensions.set("coordinate", denied.coordinate);
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
            StoreError::Conflict(_) => Self::new(
                Code::Conflict,
                "other requests changed the same data at the same time; nothing was written, the request may be \
                 repeated",
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

/// A path as one would write it in code: `input.teams.create[0].name`.
pub fn shown_path(path: &[Value]) -> String {
    let mut shown = String::new();
    for segment in path {
        match segment {
            Value::String(name) if shown.is_empty() => shown += name,
            Value::String(name) => shown = shown + "." + name,
            index => shown = format!("{shown}[{index}]"),
        }
    }
    shown
}
