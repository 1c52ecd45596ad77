//! Descriptions in documents (edition of September 2025, Descriptions), which the parser does not know.

use std::borrow::Cow;

use apollo_parser::{Lexer, Token, TokenKind};

/// The keywords of the definitions that may have a description. A query without a keyword has none.
const DESCRIBED: [&str; 4] = ["query", "mutation", "subscription", "fragment"];

/// The text with blanks in the place of the descriptions of operations, fragments and variables. Everything else stays
/// where it is. A text that is no document stays as it is.
pub fn without_descriptions(text: &str) -> Cow<'_, str> {
    if !text.contains('"') {
        return text.into();
    }
    let is_ignored = |kind| matches!(kind, TokenKind::Whitespace | TokenKind::Comment | TokenKind::Comma);
    let tokens = Lexer::new(text).filter(|token| !token.as_ref().is_ok_and(|token| is_ignored(token.kind())));
    let mut tokens = tokens.peekable();
    let mut descriptions = Vec::new();
    let mut before = None;
    let (mut parentheses, mut brackets) = (0_usize, 0_usize);
    while let Some(token) = tokens.next() {
        let Ok(token) = token else { return text.into() };
        match token.kind() {
            TokenKind::LParen => parentheses += 1,
            TokenKind::RParen => parentheses = parentheses.saturating_sub(1),
            TokenKind::LCurly | TokenKind::LBracket => brackets += 1,
            TokenKind::RCurly | TokenKind::RBracket => brackets = brackets.saturating_sub(1),
            // After `=` it is the default of the variable before.
            TokenKind::StringValue if brackets == 0 && before != Some(TokenKind::Eq) => {
                let next = tokens.peek().and_then(|next| next.as_ref().ok());
                if next.is_some_and(|next| is_described(next, parentheses)) {
                    descriptions.push(token.index()..token.index() + token.data().len());
                }
            }
            _ => {}
        }
        before = Some(token.kind());
    }
    if descriptions.is_empty() {
        return text.into();
    }
    let mut blanked = text.as_bytes().to_vec();
    for description in descriptions {
        blanked[description].fill(b' ');
    }
    String::from_utf8(blanked).map_or_else(|_| text.into(), Cow::Owned)
}

/// Whether a token begins what has a description: a definition, or in its parentheses a variable.
fn is_described(token: &Token<'_>, parentheses: usize) -> bool {
    match parentheses {
        0 => token.kind() == TokenKind::Name && DESCRIBED.contains(&token.data()),
        1 => token.kind() == TokenKind::Dollar,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::without_descriptions;

    #[test]
    fn descriptions_are_blanks() {
        for (text, expected) in [
            (r#""A" query B { c }"#, r"    query B { c }"),
            (r#"query B("é" $a: Int, "c" $b: [Int] = 1) { c }"#, r"query B(     $a: Int,     $b: [Int] = 1) { c }"),
            (r#""""a "b" """ fragment A on B { c }"#, r"             fragment A on B { c }"),
            (r#"{ c } "d" subscription { e }"#, r"{ c }     subscription { e }"),
            // A text of another kind, or in another place.
            (r#""A" { c }"#, r#""A" { c }"#),
            (r#""A" "B" query { c }"#, r#""A"     query { c }"#),
            (r#"query($a: String = "d" $b: Int) { c }"#, r#"query($a: String = "d" $b: Int) { c }"#),
            (r#"query($a: [String] = ["d" "e"] $b: Int) { c }"#, r#"query($a: [String] = ["d" "e"] $b: Int) { c }"#),
            (r#"query @a(b: "c") { d(e: "query") { f } }"#, r#"query @a(b: "c") { d(e: "query") { f } }"#),
            (r#"{ a(b: "c" $d: 1) }"#, r#"{ a(b: "c" $d: 1) }"#),
            (r#""A query { c }"#, r#""A query { c }"#),
            ("query { c }", "query { c }"),
        ] {
            assert_eq!(without_descriptions(text), expected, "{text}");
        }
    }
}
