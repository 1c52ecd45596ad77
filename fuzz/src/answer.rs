//! What holds for every answer, whatever was sent.

use std::time::Duration;

use axum::{body::Bytes, http::StatusCode};
use hero_teams::{config::Limits, graphql::Code};
use serde_json::Value;

const STATUSES: [StatusCode; 5] = [
    StatusCode::OK,
    StatusCode::BAD_REQUEST,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::NOT_ACCEPTABLE,
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
];
/// Without those that say that the server, its database or other requests are in the way.
const CODES: [Code; 4] = [Code::BadUserInput, Code::NotFound, Code::QueryTooComplex, Code::PersistedQueryNotFound];
const MAX_TIME: Duration = Duration::from_secs(2);
const MAX_MESSAGE: usize = 1_000;
/// What only those know who see the server from within, in small letters.
const INNER_WORDS: [&str; 14] = [
    "::",
    "/src/",
    ".rs:",
    "apollo",
    "async_graphql",
    "hero_team_link",
    "i32",
    "i64",
    "panicked",
    "sea_orm",
    "sqlite",
    "sqlx",
    "struct ",
    "u64",
];

/// What a request was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
    /// The time that the processor took for it.
    pub time: Duration,
}

impl Answer {
    /// Checks the answer to what was sent, which its messages may repeat.
    ///
    /// # Panics
    ///
    /// When it is not what it must be. libFuzzer then keeps the input.
    pub fn check(&self, sent: &str) {
        let Self { status, body, time } = self;
        assert!(STATUSES.contains(status), "the status is {status}: {}", body.escape_ascii());
        assert!(*time <= MAX_TIME, "the answer took {time:?}");
        assert!(body.len() <= 2 * Limits::DEFAULT.max_answer_bytes, "the answer has {} bytes", body.len());
        match self.json() {
            Value::Array(answers) => answers.iter().for_each(|answer| self.check_one(answer, sent)),
            answer => self.check_one(&answer, sent),
        }
    }

    /// The answer as clients understand it.
    ///
    /// # Panics
    ///
    /// When it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the answer is JSON")
    }

    fn check_one(&self, answer: &Value, sent: &str) {
        let entries = answer.as_object().expect("an answer is an object");
        let (data, errors) = (entries.get("data"), entries.get("errors"));
        assert_eq!(entries.len(), usize::from(data.is_some()) + usize::from(errors.is_some()), "{answer}");
        assert!(errors.is_some() || data.is_some_and(Value::is_object), "nothing is answered: {answer}");
        assert!(data.is_none() || self.status == StatusCode::OK, "{} with data: {answer}", self.status);
        let errors = errors.map(|errors| errors.as_array().expect("the errors are a list"));
        assert!(errors.is_none_or(|errors| !errors.is_empty()), "the list of errors is empty: {answer}");
        for error in errors.into_iter().flatten() {
            check_error(error, data, sent);
        }
    }
}

fn check_error(error: &Value, data: Option<&Value>, sent: &str) {
    let message = error["message"].as_str().expect("an error has a message");
    assert!((1..=MAX_MESSAGE).contains(&message.chars().count()), "the length of a message: {error}");
    let code = error["extensions"]["code"].as_str();
    assert!(CODES.iter().any(|known| Some(known.as_str()) == code), "the code of {error}");
    for location in error["locations"].as_array().into_iter().flatten() {
        let is_place = |name: &str| location[name].as_u64() > Some(0);
        assert!(is_place("line") && is_place("column"), "the place of {error}");
    }
    // What was executed names the field that failed, and answers null for it.
    let path = error["path"].as_array();
    assert_eq!(path.is_some(), data.is_some(), "the path of {error}");
    if let (Some(path), Some(data)) = (path, data) {
        assert!(is_null_at(path, data), "the field of {error} is not null: {data}");
    }
    let lower = message.to_ascii_lowercase();
    let leak = INNER_WORDS.iter().find(|word| lower.contains(**word) && !may_repeat(sent, word));
    assert_eq!(leak, None, "a message of the inside: {error}");
}

/// Whether a word may be in a message because it was sent: as it is, or escaped in JSON or in a string of GraphQL.
fn may_repeat(sent: &str, word: &str) -> bool {
    sent.contains("\\u") || sent.replace('\\', "").to_ascii_lowercase().contains(word)
}

/// Whether a path leads to null, or through it when what is above a field could not be without the field.
fn is_null_at(path: &[Value], data: &Value) -> bool {
    let mut place = data;
    for segment in path {
        let next = match segment {
            _ if place.is_null() => return true,
            Value::String(key) => place.get(key),
            index => index.as_u64().and_then(|index| place.get(usize::try_from(index).ok()?)),
        };
        let Some(next) = next else { return false };
        place = next;
    }
    place.is_null()
}
