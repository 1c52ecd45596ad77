//! The text of a document as it is printed: the same for all that differ in blanks, commas, comments, descriptions and
//! the order of fragments.

use apollo_compiler::ast::Definition;

use super::{description::without_descriptions, validate::parser};

/// The printed text; none when a text is not of the syntax of documents, or has more tokens.
#[must_use]
pub fn canonical(text: &str, max_tokens: usize) -> Option<String> {
    let mut parser = parser(max_tokens);
    let mut document = parser.parse_ast(&*without_descriptions(text), "request").ok()?;
    document.definitions.sort_by(|one, other| name_of_fragment(one).cmp(&name_of_fragment(other)));
    Some(document.to_string())
}

/// The name of a fragment; none for an operation, which comes before all fragments.
fn name_of_fragment(definition: &Definition) -> Option<&str> {
    match definition {
        Definition::FragmentDefinition(fragment) => Some(&fragment.name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::canonical as canonical_of;

    fn canonical(text: &str) -> Option<String> {
        canonical_of(text, 100)
    }

    #[test]
    fn blanks_comments_and_the_order_of_fragments_make_no_difference() {
        let text = "query A($a: Int = 1) { hero(id: \"1\") { ...B ...C } } \
                    fragment B on Hero { id } fragment C on Hero { age }";
        let other =
            "fragment C on Hero{age}\n# C\n\"B\" fragment B on Hero{id,}query A($a:Int=1){hero(id:\"1\"){...B...C}}";
        assert_eq!(canonical(text), canonical(other));
        for other in [
            text.replace("\"1\"", "\"2\""),
            text.replace("$a: Int = 1", "$a: Int = 2"),
            text.replace("{ age }", "{ id }"),
            text.replace("...B ...C", "...C ...B"),
            text.replace("query A", "query B"),
        ] {
            assert_ne!(canonical(text), canonical(&other), "{other}");
        }
        assert_eq!(canonical("query {"), None);
    }
}
