//! Validation as the specification has it, by apollo-compiler.

use std::collections::HashSet;

use apollo_compiler::{
    ExecutableDocument, Node, Schema,
    diagnostic::ToCliReport as _,
    executable::Operation,
    parser::Parser,
    validation::{DiagnosticData, DiagnosticList, Valid},
};
use apollo_parser::{Lexer, TokenKind};
use async_graphql::ServerError;

use super::{
    description::without_descriptions,
    measure::{Shape, ensure_within, measure},
    root::is_introspection,
    suggestion::UnknownNames,
    validation_errors::ValidationErrors,
    values,
};
use crate::{config::Limits, graphql::error::ApiError};

/// Selections, lists and objects in each other, at most: as deep as the parser goes on the stack. Documents that are
/// not too deep stay far below.
const MAX_NESTING: usize = 64;

/// Parses, measures and validates a document. Gives it with the shapes of its operations, in their order.
///
/// # Errors
///
/// `QUERY_TOO_COMPLEX` when it would cost too much, `BAD_USER_INPUT` for each fault of its syntax, or of what it says.
pub fn checked(
    text: &str,
    schema: &Valid<Schema>,
    limits: &Limits,
    suggest: bool,
) -> Result<(Valid<ExecutableDocument>, Vec<Shape>), Vec<ServerError>> {
    let mut parser = parser(limits.max_tokens);
    let text = &*without_descriptions(text);
    let parsed = parser.parse_ast(text, "request");
    check_text(text, &parser, limits).map_err(|error| vec![error.at(None)])?;
    let document = parsed.map_err(|invalid| faults(&invalid.errors, None, &[]).into_errors())?;
    let shapes = measure(&document, limits).map_err(|error| vec![error.at(None)])?;
    let valid = match document.to_executable_validate(schema) {
        Ok(valid) => valid,
        Err(invalid) => {
            let unknown = suggest.then(|| UnknownNames::new(&document, schema));
            let faults = faults(&invalid.errors, unknown.as_ref(), &merged_subscriptions(&invalid.partial));
            if !faults.is_empty() {
                return Err(faults.into_errors());
            }
            Valid::assume_valid(invalid.partial)
        }
    };
    let mut faults = values::faults(schema, &valid, text);
    let others = valid.operations.iter().filter(|operation| !operation.is_query());
    for field in others.flat_map(|operation| operation.all_fields(&valid)).filter(|field| is_introspection(&field.name))
    {
        faults.note(format!("`{}` can be asked for in queries alone", field.name), field.location());
    }
    if faults.is_empty() { Ok((valid, shapes)) } else { Err(faults.into_errors()) }
}

/// A parser that stops when there are more tokens, or brackets are nested too deep.
pub fn parser(max_tokens: usize) -> Parser {
    // It counts blank space, once before each token and before the end, and the end itself.
    Parser::new().token_limit(max_tokens.saturating_mul(2).saturating_add(2)).recursion_limit(MAX_NESTING)
}

/// Checks the number of tokens, comments and commas among them, and how deep brackets are nested.
///
/// The parser has stopped at its limits. Only of a text that is beyond them all tokens are counted.
fn check_text(text: &str, parser: &Parser, limits: &Limits) -> Result<(), ApiError> {
    let is_deep = parser.recursion_reached() > MAX_NESTING;
    if parser.tokens_reached() <= limits.max_tokens && !is_deep {
        return Ok(());
    }
    let (mut tokens, mut depth, mut deepest) = (0_usize, 0_usize, parser.recursion_reached());
    for token in Lexer::new(text) {
        match token.map(|token| token.kind()) {
            Ok(TokenKind::Whitespace | TokenKind::Eof) => continue,
            Ok(TokenKind::LCurly | TokenKind::LBracket | TokenKind::LParen) => depth += 1,
            Ok(TokenKind::RCurly | TokenKind::RBracket | TokenKind::RParen) => depth = depth.saturating_sub(1),
            _ => {}
        }
        tokens += 1;
        deepest = deepest.max(depth);
    }
    ensure_within("tokens", tokens, limits.max_tokens)?;
    if is_deep { ensure_within("brackets in brackets", deepest, MAX_NESTING) } else { Ok(()) }
}

/// The number of tokens of a document, comments and commas among them.
pub fn tokens(text: &str) -> usize {
    let text = without_descriptions(text);
    let is_counted = |kind| !matches!(kind, TokenKind::Whitespace | TokenKind::Eof);
    Lexer::new(&text).filter(|token| token.as_ref().is_ok_and(|token| is_counted(token.kind()))).count()
}

/// Where subscriptions begin whose fields at the root are one field (Single Root Field). apollo-compiler 1.33 counts
/// how often it is selected.
fn merged_subscriptions(document: &ExecutableDocument) -> Vec<usize> {
    let is_one = |operation: &&Node<Operation>| {
        let keys: HashSet<_> = operation.root_fields(document).map(|field| field.response_key()).collect();
        operation.is_subscription() && keys.len() == 1
    };
    let places = document.operations.iter().filter(is_one).filter_map(Node::location);
    places.map(|location| location.offset()).collect()
}

/// The faults that a document has, but for that of several fields at the root of these subscriptions.
fn faults(diagnostics: &DiagnosticList, unknown: Option<&UnknownNames>, merged: &[usize]) -> ValidationErrors {
    let (mut faults, mut of_empty) = (ValidationErrors::default(), ValidationErrors::default());
    for diagnostic in diagnostics.iter().map(|diagnostic| diagnostic.error) {
        let location = diagnostic.location();
        let is_of_merged = location.is_some_and(|location| merged.contains(&location.offset()));
        if is_of_merged && diagnostic.unstable_error_name() == Some("SubscriptionUsesMultipleFields") {
            continue;
        }
        let offset = location.filter(|_| is_unknown(diagnostic)).map(|location| location.offset());
        let suggestion = offset.and_then(|offset| unknown?.suggestion(offset));
        let suggestion = suggestion.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        // A selection that is not understood is passed over, and may leave nothing selected, which is no fault of its
        // own.
        let is_empty = diagnostic.unstable_error_name() == Some("MissingSubselection");
        let faults = if is_empty { &mut of_empty } else { &mut faults };
        faults.note(diagnostic.to_string() + &suggestion, location);
    }
    if faults.is_empty() { of_empty } else { faults }
}

/// Whether it is about a name that is not known, and not about something else at the same place.
fn is_unknown(diagnostic: &DiagnosticData) -> bool {
    diagnostic.unstable_error_name().is_some_and(|name| name.starts_with("Undefined"))
}
