//! What a document would cost, measured before anything walks it.
//!
//! async-graphql 7.2 parses values by recursion without a bound, so a few kilobytes of brackets overflow the stack, and walks
//! the fragments again for each spread, so a few hundred bytes of spreads keep it busy for seconds. Here the text is looked at
//! once, and then each fragment once.

use std::collections::HashMap;

use async_graphql::{
    Name,
    parser::types::{ExecutableDocument, Selection, SelectionSet},
};

use super::error::{ApiError, Code};

/// Brackets in brackets, at most, of all three kinds together.
const MAX_NESTING: usize = 64;
/// Fields, spreads and inline fragments after all spreads have been replaced by their fragments, at most.
const MAX_SELECTIONS: usize = 10_000;

/// Checks how deep brackets are nested in the text of a document, before it is parsed.
///
/// # Errors
///
/// `QUERY_TOO_COMPLEX` with the measured and the allowed value.
pub fn check_nesting(document: &str) -> Result<(), ApiError> {
    let mut depth = 0_usize;
    let mut deepest = 0;
    let mut rest = document.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = match first {
            b'#' => after(behind, |byte| matches!(byte, b'\n' | b'\r')),
            b'"' => after_string(behind),
            b'{' | b'[' | b'(' => {
                depth += 1;
                deepest = deepest.max(depth);
                behind
            }
            b'}' | b']' | b')' => {
                depth = depth.saturating_sub(1);
                behind
            }
            _ => behind,
        };
    }
    check("brackets are nested", deepest, MAX_NESTING)
}

/// Checks how many selections a document has when all spreads are replaced by their fragments.
///
/// # Errors
///
/// `QUERY_TOO_COMPLEX` with the measured and the allowed value.
pub fn check_selections(document: &ExecutableDocument) -> Result<(), ApiError> {
    let mut measured = HashMap::new();
    let operations = document.operations.iter();
    let selections = operations
        .map(|(_, operation)| selections(&operation.node.selection_set.node, document, &mut measured))
        .fold(0, usize::saturating_add);
    check("selections, with those of fragments at each spread, number", selections, MAX_SELECTIONS)
}

fn check(what: &str, measured: usize, allowed: usize) -> Result<(), ApiError> {
    if measured > allowed {
        let message = format!("{what} {measured}; at most {allowed} are allowed");
        return Err(ApiError::new(Code::QueryTooComplex, message));
    }
    Ok(())
}

fn selections<'a>(
    selection_set: &'a SelectionSet,
    document: &'a ExecutableDocument,
    measured: &mut HashMap<&'a Name, usize>,
) -> usize {
    let of_one = |selection: &'a Selection| match selection {
        Selection::Field(field) => selections(&field.node.selection_set.node, document, measured),
        Selection::InlineFragment(fragment) => selections(&fragment.node.selection_set.node, document, measured),
        Selection::FragmentSpread(spread) => {
            let name = &spread.node.fragment_name.node;
            if let Some(selections) = measured.get(name) {
                return *selections;
            }
            let Some(fragment) = document.fragments.get(name) else { return 0 };
            // A fragment in itself is for the validation to refuse.
            measured.insert(name, 0);
            let selections = selections(&fragment.node.selection_set.node, document, measured);
            measured.insert(name, selections);
            selections
        }
    };
    let items = selection_set.items.iter().map(|item| &item.node);
    items.map(of_one).fold(selection_set.items.len(), usize::saturating_add)
}

fn after(text: &[u8], is_end: impl Fn(&u8) -> bool) -> &[u8] {
    text.iter().position(is_end).map_or(&[], |end| &text[end + 1..])
}

/// What is behind a string, whose opening quotation mark is before `text`.
fn after_string(text: &[u8]) -> &[u8] {
    if let Some(mut block) = text.strip_prefix(br#""""#) {
        while !block.is_empty() {
            if let Some(behind) = block.strip_prefix(br#"""""#) {
                return behind;
            }
            block = block.strip_prefix(br#"\""""#).unwrap_or(&block[1..]);
        }
        return block;
    }
    let mut escaped = false;
    for (index, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            // A string ends with its line at the latest.
            b'"' | b'\n' | b'\r' => return &text[index + 1..],
            _ => {}
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    #[test]
    fn brackets_in_strings_and_comments_do_not_count() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for fine in [
            nested(64),
            format!("\"{}\"", nested(100)),
            format!("\"\\\"{}\"", nested(100)),
            format!("\"\"\"{}\\\"\"\"{} \" \"\" {}\"\"\"", nested(100), nested(100), nested(100)),
            format!("# {}\n{}", nested(100), nested(64)),
            "}".repeat(1_000),
        ] {
            assert!(check_nesting(&fine).is_ok(), "{fine}");
        }
        for deep in [
            nested(65),
            "{and:[".repeat(33),
            format!("\"\" {}", nested(65)),
            format!("\"\"\"\"\"\" {}", nested(65)),
            format!("\"unclosed\n{}", nested(65)),
            format!("# comment\n{}", nested(65)),
            format!("\"\\\\\"{}", nested(65)),
        ] {
            assert!(check_nesting(&deep).is_err(), "{deep}");
        }
    }

    #[test]
    fn each_fragment_is_measured_once() {
        let fragment = |level: i32| format!("fragment f{level} on Query {{ ...f{} ...f{} }}", level + 1, level + 1);
        let fragments: Vec<String> = (0..500).map(fragment).collect();
        let document =
            format!("{{ ...f0 ...f0 }} {} fragment f500 on Query {{ ...f0 heroes {{ name }} }}", fragments.join(" "));
        let document = parse_query(document).expect("it parses");
        assert!(check_selections(&document).is_err());
        let document =
            parse_query("{ heroes { ...h ... on Node { id } } } fragment h on Hero { id name }").expect("it parses");
        assert!(check_selections(&document).is_ok());
    }
}
