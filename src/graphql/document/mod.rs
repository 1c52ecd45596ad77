//! Documents: checked once, and kept for the next request with the same text.

mod canonical;
mod description;
mod executable;
mod id;
mod literals;
mod measure;
mod nulls;
mod root;
mod row_estimate;
mod scopes;
mod siblings;
mod suggestion;
mod validate;
mod validation_errors;
mod values;

use std::{
    collections::HashSet,
    sync::{Arc, OnceLock},
};

use apollo_compiler::{ExecutableDocument, Node, ast::Type, validation::Valid};
use async_graphql::{
    Name, Pos, ServerError, Value, Variables,
    parser::types::{ExecutableDocument as Executable, OperationType},
};
use quick_cache::{Weighter, sync::Cache};

pub use self::{
    canonical::canonical,
    id::DocumentId,
    literals::without_literals,
    measure::Shape,
    nulls::Nulls,
    root::{RootFields, has_fields},
};
use super::{
    definition::Definition,
    error::{ApiError, Code, quoted},
    persisted::PersistedQueries,
    request::{Answer, Params},
    trusted::{TrustedDocuments, not_trusted, unknown_id},
};
use crate::{
    access::{Principal, Scopes},
    config::{GraphQlSettings, Introspection, Limits},
    telemetry::{OperationSeries, Telemetry},
};

/// A valid document, and each of its operations ready to be executed.
#[derive(Debug)]
pub struct Document {
    text: Arc<str>,
    pub id: DocumentId,
    pub valid: Valid<ExecutableDocument>,
    operations: Vec<Operation>,
    max_tokens: usize,
    canonical: OnceLock<Option<DocumentId>>,
}

/// An operation of a valid document.
#[derive(Debug)]
pub struct Operation {
    pub name: Option<Name>,
    pub ty: OperationType,
    pub variables: Vec<Variable>,
    /// The variables that may be null, and stand where nothing may.
    where_nothing_may_be_null: HashSet<Name>,
    /// With the fragments that it uses, and without other operations.
    pub executable: Executable,
    pub definition: Node<apollo_compiler::executable::Operation>,
    /// How many rows it may answer with; none when that depends on its variables.
    rows: Option<u64>,
    /// The scopes that it may ask for, whatever its variables are.
    scopes: Scopes,
    /// Whether several fields of one level may ask for rows.
    pub has_siblings: bool,
    pub shape: Shape,
    /// How long it takes, if that is measured.
    pub series: Option<Arc<OperationSeries>>,
    /// What its SQL statements end with, if that is asked for.
    pub comment: Option<Arc<str>>,
}

/// A variable that an operation declares.
#[derive(Debug)]
pub struct Variable {
    pub name: Name,
    pub ty: Node<Type>,
    pub default: Option<Value>,
}

/// What has become of the text of a document: faults are as good to keep as a document without them.
type Checked = Result<Arc<Document>, Arc<[ServerError]>>;

/// The documents of the server.
pub struct Documents {
    definition: Arc<Definition>,
    pub limits: Limits,
    suggest: bool,
    cache: Option<Cache<Arc<str>, Checked, Bytes>>,
    persisted: PersistedQueries,
    telemetry: Telemetry,
    pub trusted: TrustedDocuments,
}

/// What a request asks for.
#[derive(Debug)]
pub struct Requested {
    pub document: Arc<Document>,
    /// Whether it was asked for by the id of a trusted document.
    pub is_by_id: bool,
}

impl Documents {
    #[must_use]
    pub fn new(definition: Arc<Definition>, settings: &GraphQlSettings, telemetry: Telemetry) -> Self {
        let bytes = settings.document_cache;
        // A cache is divided for about this many documents.
        let cache = (bytes > 0).then(|| Cache::with_weighter(1_000, bytes, Bytes));
        Self {
            definition,
            limits: settings.limits.clone(),
            // They tell names of the schema.
            suggest: !settings.no_suggestions && settings.introspection() == Introspection::All,
            cache,
            persisted: PersistedQueries::default(),
            telemetry,
            trusted: TrustedDocuments::new(&settings.documents),
        }
    }

    /// The document that a principal asks for.
    ///
    /// # Errors
    ///
    /// The answer that says what is wrong with it, that its id or its hash is not known, or that it is not trusted.
    pub fn requested(&self, params: &Params, principal: &Principal) -> Result<Requested, Box<Answer>> {
        let refused = |error: ApiError| Box::new(Answer::from(error));
        let persisted = params.persisted_query().map_err(refused)?;
        // Libraries that insist on a text send an empty one with an id.
        let has_id = params.document_id.is_some() || persisted.is_some();
        let text = params.query.as_deref().filter(|text| !has_id || !text.is_empty());
        let id = match (&params.document_id, &persisted) {
            (Some(_), _) if text.is_some() => {
                let message = "`documentId` stands for a document, so `query` must be left out";
                return Err(refused(ApiError::new(Code::BadUserInput, message)));
            }
            (Some(id), _) => Some(&**id),
            (None, Some(persisted)) if text.is_none() => Some(&*persisted.sha256_hash),
            _ => None,
        };
        if let Some(document) = id.and_then(|id| self.trusted.by_id(id)) {
            self.note("trusted");
            return Ok(Requested { document, is_by_id: true });
        }
        let is_enforced = self.trusted.is_enforced_for(principal);
        if params.document_id.is_some() || (id.is_some() && is_enforced) {
            return Err(refused(unknown_id()));
        }
        if is_enforced {
            // Nothing else is looked at any further, and nothing of it is kept.
            let document = self.trusted_text(text.unwrap_or_default()).ok_or_else(|| refused(not_trusted()))?;
            return Ok(Requested { document, is_by_id: false });
        }
        // An empty document is refused as one.
        let text: Arc<str> = match &persisted {
            Some(persisted) => self.persisted.text(persisted, text).map_err(refused)?,
            None => text.unwrap_or_default().into(),
        };
        if id.is_some() {
            self.note("persisted");
        }
        let checked = self.get(&text);
        self.trusted.note_other(params, checked.as_deref().ok(), &text, principal);
        let document = checked.map_err(|errors| Box::new(Answer::not_executed(errors.to_vec())))?;
        Ok(Requested { document, is_by_id: false })
    }

    /// The document with a text, if that is trusted: nothing else is looked at any further.
    fn trusted_text(&self, text: &str) -> Option<Arc<Document>> {
        if self.trusted.requires_id() {
            return None;
        }
        self.trusted.by_canonical(DocumentId::from_text(&canonical(text, self.limits.max_tokens)?))
    }

    /// A document that is to be trusted.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn trusted(&self, text: &str) -> Checked {
        let document = self.validated(Arc::from(text), true)?;
        for rows in document.operations.iter().filter_map(|operation| operation.rows) {
            self.check_rows(rows).map_err(|error| Arc::from([error.at(None)]))?;
        }
        Ok(document)
    }

    fn get(&self, text: &str) -> Checked {
        let Some(cache) = &self.cache else { return self.validated(Arc::from(text), false) };
        if let Some(checked) = cache.get(text) {
            self.note("hit");
            return checked;
        }
        self.note("miss");
        let text: Arc<str> = Arc::from(text);
        let checked = self.validated(Arc::clone(&text), false);
        cache.insert(text, checked.clone());
        checked
    }

    /// Brings the metrics of the cache up to date.
    pub fn tell_state(&self) {
        let bytes = self.cache.as_ref().map_or(0, Cache::weight);
        if let Some(metrics) = self.telemetry.metrics() {
            metrics.document_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    fn note(&self, result: &'static str) {
        if let Some(metrics) = self.telemetry.metrics() {
            metrics.note_document(result);
        }
    }

    fn validated(&self, text: Arc<str>, is_trusted: bool) -> Checked {
        match validate::checked(&text, &self.definition.schema, &self.limits, self.suggest) {
            Ok((valid, shapes)) => Ok(Arc::new(Document::new(self, text, valid, shapes, is_trusted))),
            Err(mut faults) => {
                locate(&text, &mut faults);
                Err(faults.into())
            }
        }
    }

    /// Checks how many rows an operation may answer with, now that its variables are known.
    ///
    /// # Errors
    ///
    /// `QUERY_TOO_COMPLEX` with the estimated and the allowed value.
    pub fn check_rows(&self, estimated_rows: u64) -> Result<(), ApiError> {
        let rows = usize::try_from(estimated_rows).unwrap_or(usize::MAX);
        ensure_within("rows, as estimated,", rows, self.limits.max_rows)
    }
}

impl Document {
    fn new(
        documents: &Documents,
        text: Arc<str>,
        valid: Valid<ExecutableDocument>,
        shapes: Vec<Shape>,
        is_trusted: bool,
    ) -> Self {
        let id = DocumentId::from_text(&text);
        let trusted = is_trusted.then_some(id);
        let operation = |(operation, shape)| Operation::new(documents, &valid, operation, shape, trusted);
        let operations = valid.operations.iter().zip(shapes).map(operation).collect();
        Self { id, text, valid, operations, max_tokens: documents.limits.max_tokens, canonical: OnceLock::new() }
    }

    /// The rows of an operation, as estimated.
    pub fn estimated_rows(&self, operation: &Operation, variables: &Variables) -> u64 {
        operation.rows.unwrap_or_else(|| row_estimate::estimate(&self.valid, &operation.definition, variables))
    }

    /// The number of its tokens.
    pub fn tokens(&self) -> usize {
        validate::tokens(&self.text)
    }

    /// The operation with this name, or the only one (`GetOperation`).
    ///
    /// # Errors
    ///
    /// `BAD_USER_INPUT` when there is none, or several to choose from.
    pub fn operation(&self, name: Option<&str>) -> Result<&Operation, ApiError> {
        let wrong = |message: String| Err(ApiError::new(Code::BadUserInput, message));
        match (name, &self.operations[..]) {
            (Some(name), operations) => {
                let operation = operations.iter().find(|operation| operation.name.as_deref() == Some(name));
                operation.map_or_else(|| wrong(format!("the document has no operation named {}", quoted(name))), Ok)
            }
            (None, [operation]) => Ok(operation),
            (None, _) => wrong("the document has several operations; `operationName` must say which".to_owned()),
        }
    }

    /// What a principal may not do of an operation: `FORBIDDEN`, or `UNAUTHENTICATED` for a request without a
    /// credential, for each thing that asks for a scope which is not granted, with all its places.
    #[must_use]
    pub fn denied(
        &self,
        definition: &Definition,
        operation: &Operation,
        variables: &Variables,
        principal: &Principal,
    ) -> Vec<ApiError> {
        let granted = principal.scopes;
        if granted.allow_all(operation.scopes) {
            return Vec::new();
        }
        let code = Code::denied(principal);
        scopes::denied(definition, &self.valid, &operation.definition, variables, granted, code)
    }

    /// The fields of the root that ask for the schema, with their places.
    pub fn introspections<'a>(&'a self, operation: &'a Operation) -> impl Iterator<Item = (&'a str, Option<Pos>)> {
        let fields = operation.definition.root_fields(&self.valid).filter(|field| is_introspection(&field.name));
        fields.map(|field| {
            let position = field.location().map(|location| Pos { line: 0, column: location.offset() });
            (field.name.as_str(), position)
        })
    }

    /// The hash of its text as it is printed, by which it is known to be the same as another one.
    #[must_use]
    pub fn canonical(&self) -> Option<DocumentId> {
        *self.canonical.get_or_init(|| canonical(&self.text, self.max_tokens).map(|text| DocumentId::from_text(&text)))
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    /// The variable that stands for an argument of the only field at the root of the only operation, when it stands for
    /// nothing else in the document.
    #[must_use]
    pub fn variable_of(&self, argument: &str) -> Option<&str> {
        let [operation] = &self.operations[..] else { return None };
        let field = operation.definition.root_fields(&self.valid).next()?;
        let argument = field.arguments.iter().find(|other| other.name == argument)?;
        let name = argument.value.as_variable()?.as_str();
        // Once where it is declared, and once here. What is in comments and texts counts as well, which does no harm.
        let is_part = |next: char| next.is_ascii_alphanumeric() || next == '_';
        let mut times = self
            .text
            .split('$')
            .skip(1)
            .filter(|rest| rest.strip_prefix(name).is_some_and(|rest| !rest.starts_with(is_part)));
        (times.by_ref().count() == 2).then_some(name)
    }

    /// Makes lines and columns of the offsets in errors.
    pub fn locate(&self, errors: &mut [ServerError]) {
        locate(&self.text, errors);
    }
}

impl Operation {
    fn new(
        documents: &Documents,
        document: &ExecutableDocument,
        operation: &Node<apollo_compiler::executable::Operation>,
        shape: Shape,
        trusted: Option<DocumentId>,
    ) -> Self {
        let variables = operation.variables.iter().map(|variable| Variable {
            name: Name::new(&variable.name),
            ty: variable.ty.clone(),
            default: variable.default_value.as_ref().map(|value| executable::constant(value)),
        });
        let Documents { definition, telemetry, .. } = documents;
        let (name, ty) = (operation.name.as_ref().map(Name::new), executable::operation_type(operation));
        if let Some(name) = name.as_ref().filter(|_| trusted.is_some()) {
            telemetry.trust_operation_name(name);
        }
        let series = telemetry.series(ty, name.as_deref()).map(Arc::new);
        // A GraphQL name has nothing that ends a comment.
        let comment = || {
            let document = trusted.map(|id| format!(",document='{}'", id.short())).unwrap_or_default();
            format!("/*operation='{}'{document}*/", telemetry.operation_name(name.as_deref())).into()
        };
        let comment = telemetry.settings().sql_comments.then(comment);
        let rows = (!row_estimate::depends_on_variables(document, operation))
            .then(|| row_estimate::estimate(document, operation, &Variables::default()));
        Self {
            name,
            ty,
            variables: variables.collect(),
            where_nothing_may_be_null: nulls::where_nothing_may_be_null(&definition.schema, document, operation),
            executable: executable::executable(document, operation),
            definition: operation.clone(),
            rows,
            scopes: scopes::asked(definition, document, operation),
            has_siblings: siblings::has_siblings(document, operation),
            shape,
            series,
            comment,
        }
    }
}

/// Whether a field of the root asks for the schema.
fn is_introspection(field: &str) -> bool {
    matches!(field, "__schema" | "__type")
}

/// How many bytes a document takes in the cache.
#[derive(Clone)]
struct Bytes;

impl Weighter<Arc<str>, Checked> for Bytes {
    fn weight(&self, text: &Arc<str>, checked: &Checked) -> u64 {
        // A document was measured at about 60 times its text. Each operation has its own fragments, so further ones may
        // take as much again. Faults have messages of their own.
        let bytes = match checked {
            Ok(document) => 4_096 + (40 + 20 * document.operations.len()) * text.len(),
            Err(faults) => 1_024 + text.len() + faults.iter().map(|fault| 256 + fault.message.len()).sum::<usize>(),
        };
        bytes as u64
    }
}

/// Checks a measure of a document.
///
/// # Errors
///
/// `QUERY_TOO_COMPLEX` with the name of the limit, and the measured and the allowed value.
fn ensure_within(what: &str, measured: usize, allowed: usize) -> Result<(), ApiError> {
    if measured > allowed {
        let message = format!("the {what} number {measured}; at most {allowed} are allowed");
        return Err(ApiError::new(Code::QueryTooComplex, message));
    }
    Ok(())
}

/// Makes lines and columns of the offsets in errors, in one walk through the text. Columns count characters.
fn locate(text: &str, errors: &mut [ServerError]) {
    let positions = errors.iter_mut().flat_map(|error| &mut error.locations);
    let mut positions: Vec<&mut Pos> = positions.filter(|position| position.line == 0).collect();
    positions.sort_unstable_by_key(|position| position.column);
    let mut characters = text.char_indices().peekable();
    let mut here = Pos { line: 1, column: 1 };
    for position in positions {
        while let Some((_, character)) = characters.next_if(|(offset, _)| *offset < position.column) {
            let is_end = match character {
                '\n' => true,
                // Together with a line feed it is one end.
                '\r' => characters.peek().is_none_or(|(_, next)| *next != '\n'),
                _ => false,
            };
            here =
                if is_end { Pos { line: here.line + 1, column: 1 } } else { Pos { column: here.column + 1, ..here } };
        }
        *position = here;
    }
}
