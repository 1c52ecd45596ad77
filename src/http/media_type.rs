//! Media types: what a request is sent in, and what its answer is wanted in (GraphQL over HTTP, Media Types).

use std::cmp::Reverse;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// The media types that an answer may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// `application/graphql-response+json`, whose statuses tell what became of the request.
    GraphQlResponse,
    /// `application/json`, for clients from before the specification: whatever is well-formed is answered with 200.
    Json,
    /// `text/event-stream`: GraphQL over Server-Sent Events, distinct connections.
    EventStream,
}

impl MediaType {
    /// The type that a client likes best; of those that it likes equally, the one that it names first.
    /// `application/json` when it takes anything. None when it takes neither.
    #[must_use]
    pub fn accepted(headers: &HeaderMap) -> Option<Self> {
        if !headers.contains_key(header::ACCEPT) {
            return Some(Self::Json);
        }
        let ranges: Vec<_> = ranges(headers).collect();
        // For each type the range counts that says most exactly what is meant (RFC 9110, 12.5.1).
        let range_for = |media_type| {
            let matching = ranges.iter().enumerate().filter(|(_, range)| {
                // A stream is for clients that name it.
                range.media_type.map_or(media_type != Self::EventStream, |named| named == media_type)
            });
            matching.max_by_key(|(place, range)| (range.exactness, Reverse(*place)))
        };
        let candidates = [Self::Json, Self::GraphQlResponse, Self::EventStream].into_iter().filter_map(|media_type| {
            let (place, range) = range_for(media_type)?;
            (range.quality > 0).then_some((range.quality, range.exactness, Reverse(place), media_type))
        });
        // What a client takes without naming it is JSON, which comes first here and stays when all else is equal.
        let best = candidates.reduce(|best, other| {
            let (one, two) = ((best.0, best.1 > 1, best.2), (other.0, other.1 > 1, other.2));
            if two > one { other } else { best }
        });
        best.map(|(.., media_type)| media_type)
    }

    /// Whether a client takes a stream of events, though it may like something else better.
    #[must_use]
    pub fn takes_event_stream(headers: &HeaderMap) -> bool {
        ranges(headers).any(|range| range.media_type == Some(Self::EventStream) && range.quality > 0)
    }

    /// The header `Content-Type` of an answer.
    #[must_use]
    pub fn content_type(self) -> (HeaderName, HeaderValue) {
        let value = match self {
            Self::GraphQlResponse => "application/graphql-response+json; charset=utf-8",
            // What is refused before there is a stream is JSON.
            Self::Json | Self::EventStream => "application/json; charset=utf-8",
        };
        (header::CONTENT_TYPE, HeaderValue::from_static(value))
    }
}

/// Whether a request is sent as JSON in UTF-8.
///
/// A form of a foreign page can send no other type without asking first, so this also keeps such pages out.
pub fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Ok(value) = value.to_str() else { return false };
    let parts = parts(value);
    parts.name.eq_ignore_ascii_case("application/json") && is_utf8(parts.charset)
}

/// A range of media types that a client takes.
struct Range {
    /// None for any.
    media_type: Option<MediaType>,
    /// How exactly it says what is meant: 2 for a type, 1 for `application/*`, 0 for `*/*`.
    exactness: u8,
    /// How much it is liked, from 0 to 1,000.
    quality: u16,
}

/// The entries of the header `Accept`.
pub fn accept(headers: &HeaderMap) -> impl Iterator<Item = Parts<'_>> {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(parts)
}

/// The ranges in the header `Accept` in which the server can answer.
fn ranges(headers: &HeaderMap) -> impl Iterator<Item = Range> {
    accept(headers).filter_map(range)
}

/// A range in which the server can answer.
fn range(Parts { name, charset, quality }: Parts<'_>) -> Option<Range> {
    let (media_type, exactness) = match name.to_ascii_lowercase().as_str() {
        "application/graphql-response+json" => (Some(MediaType::GraphQlResponse), 2),
        "application/json" => (Some(MediaType::Json), 2),
        "text/event-stream" => (Some(MediaType::EventStream), 2),
        "application/*" => (None, 1),
        "*/*" => (None, 0),
        _ => return None,
    };
    is_utf8(charset).then_some(Range { media_type, exactness, quality })
}

fn is_utf8(charset: Option<&str>) -> bool {
    charset.is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8"))
}

/// A media type or a coding, with its parameters.
pub struct Parts<'a> {
    pub name: &'a str,
    charset: Option<&'a str>,
    /// How much it is liked, from 0 to 1,000.
    pub quality: u16,
}

/// The parts of an entry of a header such as `Accept`.
pub fn parts(value: &str) -> Parts<'_> {
    let mut parameters = value.split(';').map(str::trim);
    let mut parts = Parts { name: parameters.next().unwrap_or_default(), charset: None, quality: 1_000 };
    for (name, value) in parameters.filter_map(|parameter| parameter.split_once('=')) {
        let value = value.trim().trim_matches('"');
        if name.trim().eq_ignore_ascii_case("charset") {
            parts.charset = Some(value);
        } else if name.trim().eq_ignore_ascii_case("q") {
            parts.quality = per_mille(value);
        }
    }
    parts
}

/// A quality such as `0.25`. One that is none counts as 0.
fn per_mille(quality: &str) -> u16 {
    let (whole, fraction) = quality.split_once('.').unwrap_or((quality, ""));
    match (whole, format!("{fraction:0<3}").get(..3).map(str::parse::<u16>)) {
        ("1", _) => 1_000,
        ("0", Some(Ok(thousandths))) => thousandths,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_that_is_liked_best() {
        let accepted = |values: &[&'static str]| {
            let values = values.iter().map(|value| (header::ACCEPT, HeaderValue::from_static(value)));
            MediaType::accepted(&values.collect())
        };
        assert_eq!(accepted(&[]), Some(MediaType::Json));
        for (accept, expected) in [
            ("text/event-stream", Some(MediaType::EventStream)),
            ("application/json, text/event-stream", Some(MediaType::Json)),
            ("application/json;q=0.5, text/event-stream", Some(MediaType::EventStream)),
            ("application/json;q=0, application/graphql-response+json;q=0, */*", None),
            ("*/*", Some(MediaType::Json)),
            ("application/*", Some(MediaType::Json)),
            ("application/json", Some(MediaType::Json)),
            ("application/json; charset=utf-8", Some(MediaType::Json)),
            ("Application/GraphQL-Response+JSON", Some(MediaType::GraphQlResponse)),
            ("application/graphql-response+json, application/json", Some(MediaType::GraphQlResponse)),
            ("application/json, application/graphql-response+json", Some(MediaType::Json)),
            ("application/json;q=0.9, application/graphql-response+json", Some(MediaType::GraphQlResponse)),
            ("application/graphql-response+json;q=0.05, application/json;q=0.1", Some(MediaType::Json)),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Some(MediaType::Json)),
            ("application/graphql-response+json; charset=utf-8", Some(MediaType::GraphQlResponse)),
            ("application/graphql-response+json;q=0, application/json;q=0.001", Some(MediaType::Json)),
            ("application/json;q=x, application/graphql-response+json;q=0.5", Some(MediaType::GraphQlResponse)),
            ("application/json; charset=iso-8859-1", None),
            ("application/json;q=0", None),
            ("application/json;q=0, */*", Some(MediaType::GraphQlResponse)),
            ("application/graphql-response+json;q=0, */*;q=0.1", Some(MediaType::Json)),
            ("*/*, application/graphql-response+json", Some(MediaType::GraphQlResponse)),
            ("*/*;q=0.1, application/*;q=0.2", Some(MediaType::Json)),
            ("text/html", None),
            ("", None),
        ] {
            assert_eq!(accepted(&[accept]), expected, "{accept}");
        }
        assert_eq!(accepted(&["text/html", "application/json"]), Some(MediaType::Json));
    }
}
