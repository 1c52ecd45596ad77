//! A valid document, and what is known of each of its operations.

use std::{
    collections::HashSet,
    sync::{Arc, OnceLock},
};

use apollo_compiler::{ExecutableDocument, Node, ast::Type, executable::Field, validation::Valid};
use async_graphql::{
    Name, Pos, ServerError, Value, Variables,
    parser::types::{ExecutableDocument as Executable, OperationType},
};

use super::{
    canonical::canonical,
    executable,
    id::DocumentId,
    measure::{Shape, ensure_within},
    nulls::{Nulls, where_nothing_may_be_null},
    repeated_values::RepeatedValues,
    root::is_introspection,
    row_estimate, scopes, siblings, validate,
};
use crate::{
    access::Principal,
    graphql::{
        definition::Definition,
        error::{ApiError, Code, quoted},
    },
    schema::Scopes,
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
    /// What its arguments read again and again.
    repeated: RepeatedValues,
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

/// The greatest number of values that arguments repeat. They are read into memory one by one.
const MAX_REPEATED_VALUES: usize = 100_000;

/// A variable that an operation declares.
#[derive(Debug)]
pub struct Variable {
    pub name: Name,
    pub ty: Node<Type>,
    pub default: Option<Value>,
}

impl Document {
    /// A valid document of a text, with the shapes of its operations.
    pub fn new(
        (definition, telemetry): (&Definition, &Telemetry),
        max_tokens: usize,
        text: Arc<str>,
        (valid, shapes): (Valid<ExecutableDocument>, Vec<Shape>),
        is_trusted: bool,
    ) -> Self {
        let id = DocumentId::from_text(&text);
        let trusted = is_trusted.then_some(id);
        let operation = |(operation, shape)| Operation::new((definition, telemetry), &valid, operation, shape, trusted);
        let operations = valid.operations.iter().zip(shapes).map(operation).collect();
        Self { id, text, valid, operations, max_tokens, canonical: OnceLock::new() }
    }

    /// The rows of those operations whose variables do not count, as estimated.
    pub fn constant_rows(&self) -> impl Iterator<Item = u64> {
        self.operations.iter().filter_map(|operation| operation.rows)
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

    /// What is wrong with the variables of a request that are null.
    #[must_use]
    pub fn nulls(&self, definition: &Definition, operation: &Operation, variables: &Variables) -> Nulls {
        let is_null = |name| variables.get(name) == Some(&Value::Null);
        if !operation.where_nothing_may_be_null.iter().any(is_null) {
            return Nulls::default();
        }
        Nulls::new(&definition.schema, &self.valid, &operation.definition, variables)
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

    /// The fields of the root that ask for the schema, but for those that conditions leave out.
    pub fn introspections<'a>(
        &'a self,
        operation: &'a Operation,
        variables: &Variables,
    ) -> impl Iterator<Item = &'a Node<Field>> {
        let fields = scopes::root_fields(&self.valid, &operation.definition, Some(variables)).into_iter();
        fields.filter(|field| is_introspection(&field.name))
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
        let times = self
            .text
            .split('$')
            .skip(1)
            .filter(|rest| rest.strip_prefix(name).is_some_and(|rest| !rest.starts_with(is_part)));
        (times.count() == 2).then_some(name)
    }

    /// Makes lines and columns of the offsets in errors.
    pub fn locate(&self, errors: &mut [ServerError]) {
        locate(&self.text, errors);
    }
}

impl Operation {
    /// Checks how many values its arguments repeat, now that its variables are known.
    ///
    /// # Errors
    ///
    /// `QUERY_TOO_COMPLEX` with the counted and the allowed number.
    pub fn check_repeated_values(&self, variables: &Variables) -> Result<(), ApiError> {
        let what = "values that arguments repeat, by variables and fragments,";
        ensure_within(what, self.repeated.count(variables), MAX_REPEATED_VALUES)
    }

    fn new(
        (definition, telemetry): (&Definition, &Telemetry),
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
        let (name, ty) = (operation.name.as_ref().map(Name::new), executable::operation_type(operation));
        if let Some(name) = name.as_ref().filter(|_| trusted.is_some()) {
            telemetry.trust_operation_name(name);
        }
        let series = telemetry.series(type_name(ty), name.as_deref()).map(Arc::new);
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
            where_nothing_may_be_null: where_nothing_may_be_null(&definition.schema, document, operation),
            executable: executable::executable(document, operation),
            definition: operation.clone(),
            repeated: RepeatedValues::new(document, operation),
            rows,
            scopes: scopes::asked(definition, document, operation),
            has_siblings: siblings::has_siblings(document, operation),
            shape,
            series,
            comment,
        }
    }
}

/// The type of an operation, as documents have it.
#[must_use]
pub const fn type_name(ty: OperationType) -> &'static str {
    match ty {
        OperationType::Query => "query",
        OperationType::Mutation => "mutation",
        OperationType::Subscription => "subscription",
    }
}

/// Makes lines and columns of the offsets in errors, in one walk through the text. Columns count characters.
pub fn locate(text: &str, errors: &mut [ServerError]) {
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
