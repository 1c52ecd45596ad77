//! Requests: the first byte says how the rest is sent.
#![no_main]

use std::fmt::Write as _;

use axum::{
    body::Body,
    http::{
        Request,
        header::{ACCEPT, CONTENT_TYPE},
    },
};
use hero_teams_fuzz::ask;
use libfuzzer_sys::{Corpus, fuzz_target};

/// Media types of bodies. For the last, and the last below, the input has a line of its own.
const CONTENT_TYPES: [Option<&str>; 8] = [
    Some("application/json"),
    Some("application/json; charset=utf-8"),
    Some("application/json; charset=latin1"),
    Some("application/graphql"),
    Some("application/x-www-form-urlencoded"),
    Some("text/plain"),
    None,
    Some(""),
];
const ACCEPTED: [Option<&str>; 8] = [
    None,
    Some("application/json"),
    Some("application/graphql-response+json"),
    Some("application/graphql-response+json; charset=utf-8, application/json;q=0.9"),
    Some("application/json, application/graphql-response+json;q=0.5"),
    Some("*/*"),
    Some("text/html"),
    Some(""),
];

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((&first, mut rest)) = input.split_first() else { return Corpus::Reject };
    // So that `0` is a POST as most clients send it, and `p` a GET.
    let first = first.wrapping_sub(b'0');
    let accepted = header(ACCEPTED[usize::from(first & 7)], &mut rest);
    let content_type = header(CONTENT_TYPES[usize::from(first >> 3 & 7)], &mut rest);
    let is_get = first & 64 != 0;
    let request = if is_get { Request::get(format!("/graphql?{}", escaped(rest))) } else { Request::post("/graphql") };
    let request = accepted.into_iter().fold(request, |request, value| request.header(ACCEPT, value));
    let request = content_type.into_iter().fold(request, |request, value| request.header(CONTENT_TYPE, value));
    let Ok(request) = request.body(if is_get { Body::empty() } else { Body::from(rest.to_vec()) }) else {
        return Corpus::Reject;
    };
    let decoded: Vec<_> = form_urlencoded::parse(rest).flat_map(|(name, value)| [name, value]).collect();
    ask(request).check(&(String::from_utf8_lossy(rest) + &*decoded.concat()));
    Corpus::Keep
});

/// The value of a header: one of those above, or the next line of the input.
fn header<'a>(value: Option<&'static str>, rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    if value != Some("") {
        return value.map(str::as_bytes);
    }
    let mut lines = rest.splitn(2, |byte| *byte == b'\n');
    let line = lines.next();
    *rest = lines.next().unwrap_or_default();
    line
}

/// The query of a URL. What it cannot have is escaped, as clients do; what means something in it stays.
fn escaped(query: &[u8]) -> String {
    query.iter().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~=&%+".contains(byte) {
            escaped.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}
