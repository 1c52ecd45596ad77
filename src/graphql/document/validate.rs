//! Validation as the specification has it, by apollo-compiler.

use apollo_compiler::{
    ExecutableDocument, Name, Schema,
    diagnostic::ToCliReport as _,
    parser::Parser,
    schema::ExtendedType,
    validation::{DiagnosticList, Valid},
};
use async_graphql::ServerError;

use super::{Limits, faults::Faults, measure::measure, scan::scan, values};

/// How deep the parser may go. The scan has counted brackets, so nothing reaches this.
const RECURSION_LIMIT: usize = 500;
/// Longer names are not compared with others, which takes time for each pair of characters.
const MAX_COMPARED: usize = 100;
/// Names that differ in more than a third of their characters are not mistaken for each other.
const MIN_SIMILARITY: f64 = 0.66;

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
    let document = parsed.map_err(|invalid| faults(&invalid.errors).into_errors(|_| None))?;
    measure(&document, limits).map_err(|error| vec![error.at(None)])?;
    let suggestion = |fault: &str| if suggest { suggestion(schema, fault) } else { None };
    let validated = document.to_executable_validate(schema);
    let valid = validated.map_err(|invalid| faults(&invalid.errors).into_errors(suggestion))?;
    let faults = values::faults(schema, &valid, text);
    if faults.is_empty() { Ok(valid) } else { Err(faults.into_errors(|_| None)) }
}

fn faults(diagnostics: &DiagnosticList) -> Faults {
    // A selection that is not understood is passed over, and may leave nothing selected, which is no fault of its own.
    let is_empty = |message: &str| message.ends_with("must have a subselection set");
    let (mut faults, mut of_empty) = (Faults::default(), Faults::default());
    for diagnostic in diagnostics.iter() {
        let message = diagnostic.error.to_string();
        let faults = if is_empty(&message) { &mut of_empty } else { &mut faults };
        faults.note(message, diagnostic.error.location());
    }
    if faults.is_empty() { of_empty } else { faults }
}

/// What may have been meant. The library names what is unknown in its messages alone, between backticks.
fn suggestion(schema: &Schema, fault: &str) -> Option<String> {
    let named: Vec<&str> = fault.split('`').skip(1).step_by(2).collect();
    let (unknown, known): (&str, Vec<&str>) = match named[..] {
        [class, field] if fault.contains("does not have a field") => (field, fields(schema, class)),
        [argument, coordinate] if fault.contains("is not supported by") => {
            let (class, field) = coordinate.split_once('.')?;
            let arguments = &schema.type_field(class, field).ok()?.arguments;
            (argument, arguments.iter().map(|argument| argument.name.as_str()).collect())
        }
        [class] | [class, _] if fault.contains("cannot find type") || fault.contains("not a type defined") => {
            (class, schema.types.keys().map(Name::as_str).collect())
        }
        _ => return None,
    };
    if unknown.len() > MAX_COMPARED {
        return None;
    }
    let similarity = |known: &&str| strsim::jaro_winkler(unknown, known);
    let best = known.into_iter().max_by(|one, other| similarity(one).total_cmp(&similarity(other)))?;
    (similarity(&best) >= MIN_SIMILARITY).then(|| format!("; did you mean `{best}`?"))
}

fn fields<'s>(schema: &'s Schema, class: &str) -> Vec<&'s str> {
    match schema.types.get(class) {
        Some(ExtendedType::Object(object)) => object.fields.keys().map(Name::as_str).collect(),
        Some(ExtendedType::Interface(interface)) => interface.fields.keys().map(Name::as_str).collect(),
        _ => Vec::new(),
    }
}
