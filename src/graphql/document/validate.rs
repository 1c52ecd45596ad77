//! Validation as the specification has it, by apollo-compiler.

use apollo_compiler::{
    ExecutableDocument, Schema,
    diagnostic::ToCliReport as _,
    parser::Parser,
    validation::{DiagnosticData, DiagnosticList, Valid},
};
use async_graphql::{Pos, ServerError};

use super::{Limits, measure::measure, scan::scan, suggestion::UnknownNames, values};
use crate::graphql::error::{ApiError, Code, shortened};

/// Faults of a document that are reported, at most.
const MAX_FAULTS: usize = 20;
/// How deep the parser may go. The scan has counted brackets, so nothing reaches this.
const RECURSION_LIMIT: usize = 500;

/// Parses, measures and validates a document.
///
/// # Errors
///
/// `QUERY_TOO_COMPLEX` when it would cost too much, `BAD_USER_INPUT` for each fault of its syntax, or of what it says.
pub fn checked(
    text: &str,
    schema: &Valid<Schema>,
    limits: &Limits,
    suggest: bool,
) -> Result<Valid<ExecutableDocument>, Vec<ServerError>> {
    scan(text, limits).map_err(|error| vec![error])?;
    let parsed = Parser::new().recursion_limit(RECURSION_LIMIT).parse_ast(text, "request");
    let document = parsed.map_err(|invalid| faults(&invalid.errors, None))?;
    measure(&document, limits).map_err(|error| vec![error.at(None)])?;
    let validated = document.to_executable_validate(schema);
    let unknown = || suggest.then(|| UnknownNames::new(&document, schema));
    let valid = validated.map_err(|invalid| faults(&invalid.errors, unknown().as_ref()))?;
    let faults = values::faults(schema, &valid, text, MAX_FAULTS);
    if faults.is_empty() { Ok(valid) } else { Err(faults) }
}

fn faults(faults: &DiagnosticList, unknown: Option<&UnknownNames>) -> Vec<ServerError> {
    let fault = |diagnostic: &DiagnosticData| {
        let offset = diagnostic.location().map(|span| span.offset());
        let suggestion = offset.filter(|_| is_unknown(diagnostic)).and_then(|offset| unknown?.suggestion(offset));
        let suggestion = suggestion.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        let error = ApiError::new(Code::BadUserInput, shortened(diagnostic.to_string() + &suggestion));
        error.at(offset.map(|column| Pos { line: 0, column }))
    };
    // A selection that is not understood is passed over, and may leave nothing selected, which is no fault of its own.
    let is_empty = |diagnostic: &DiagnosticData| diagnostic.unstable_error_name() == Some("MissingSubselection");
    let has_others = faults.iter().any(|diagnostic| !is_empty(diagnostic.error));
    let diagnostics = faults.iter().map(|diagnostic| diagnostic.error);
    let mut diagnostics = diagnostics.filter(|diagnostic| !(has_others && is_empty(diagnostic)));
    let mut first: Vec<_> = diagnostics.by_ref().take(MAX_FAULTS).map(fault).collect();
    let more = diagnostics.count();
    first.extend((more > 0).then(|| {
        let message = format!("and {more} more faults");
        ApiError::new(Code::BadUserInput, message).at(None)
    }));
    first
}

/// Whether it is about a name that is not known, and not about something else at the same place.
fn is_unknown(diagnostic: &DiagnosticData) -> bool {
    diagnostic.unstable_error_name().is_some_and(|name| name.starts_with("Undefined"))
}
