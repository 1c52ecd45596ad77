//! What is seen of a document before it is parsed: a single look at its text.
//!
//! Parsers work by recursion and by tokens. Counting brackets and tokens first bounds the stack and the time that a parser
//! takes, whatever it is sent.

use async_graphql::{Pos, ServerError};

use super::{Limits, check};
use crate::graphql::error::{ApiError, Code};

/// Brackets in brackets, at most, of all three kinds together. Documents that are not too deep stay far below.
const MAX_NESTING: usize = 64;

/// Checks the number of tokens, and how deep brackets are nested.
///
/// Commas and comments count as tokens, too, because parsers take time for them.
///
/// # Errors
///
/// `QUERY_TOO_COMPLEX` with the measured and the allowed value, or `BAD_USER_INPUT` for a string that does not end on its line:
/// parsers do not agree where it ends, so nothing could be said of what is behind it.
pub fn scan(text: &str, limits: &Limits) -> Result<(), ServerError> {
    let (mut tokens, mut depth, mut deepest) = (0_usize, 0_usize, 0_usize);
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        if first.is_ascii_whitespace() {
            rest = behind;
            continue;
        }
        tokens += 1;
        rest = match first {
            b'#' => after(behind, |byte| matches!(byte, b'\n' | b'\r')),
            b'"' => after_string(behind).ok_or_else(|| {
                let position = Pos { line: 0, column: text.len() - rest.len() };
                ApiError::new(Code::BadUserInput, "syntax error: a string must end on its line").at(Some(position))
            })?,
            b'{' | b'[' | b'(' => {
                depth += 1;
                deepest = deepest.max(depth);
                behind
            }
            b'}' | b']' | b')' => {
                depth = depth.saturating_sub(1);
                behind
            }
            // A name or a number.
            byte if is_word(*byte) => {
                let length = behind.iter().take_while(|byte| is_word(**byte)).count();
                &behind[length..]
            }
            _ => behind,
        };
    }
    let measured =
        check("tokens", tokens, limits.max_tokens).and_then(|()| check("brackets in brackets", deepest, MAX_NESTING));
    measured.map_err(|error| error.at(None))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn after(text: &[u8], is_end: impl Fn(&u8) -> bool) -> &[u8] {
    text.iter().position(is_end).map_or(&[], |end| &text[end + 1..])
}

/// What is behind a string, whose opening quotation mark is before `text`; none when it does not end on its line.
fn after_string(text: &[u8]) -> Option<&[u8]> {
    if let Some(mut block) = text.strip_prefix(br#""""#) {
        while !block.is_empty() {
            if let Some(behind) = block.strip_prefix(br#"""""#) {
                return Some(behind);
            }
            block = block.strip_prefix(br#"\""""#).unwrap_or(&block[1..]);
        }
        return Some(block);
    }
    let mut escaped = false;
    for (index, byte) in text.iter().enumerate() {
        match byte {
            b'\n' | b'\r' => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(&text[index + 1..]),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_fine(text: &str) -> bool {
        scan(text, &Limits::DEFAULT).is_ok()
    }

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
            assert!(is_fine(&fine), "{fine}");
        }
        for deep in [
            nested(65),
            "{and:[".repeat(33),
            format!("\"\" {}", nested(65)),
            format!("\"\"\"\"\"\" {}", nested(65)),
            "\"unclosed\n".to_owned(),
            "\"unclosed\\\n".to_owned(),
            "\"unclosed".to_owned(),
            format!("# comment\n{}", nested(65)),
            format!("\"\\\\\"{}", nested(65)),
        ] {
            assert!(!is_fine(&deep), "{deep}");
        }
    }

    #[test]
    fn whatever_takes_a_parser_time_is_a_token() {
        let allowed = Limits::DEFAULT.max_tokens;
        for token in ["name ", "1 ", "\"text\"", "#\n", ",", "?", "é"] {
            // A character of several bytes counts several times, which does no harm.
            let count = allowed / token.trim_ascii().len().min(if token.is_ascii() { 1 } else { 2 });
            assert!(is_fine(&token.repeat(count)), "{token}");
            assert!(!is_fine(&token.repeat(allowed + 1)), "{token}");
        }
        assert!(is_fine(&" \n".repeat(allowed)));
    }
}
