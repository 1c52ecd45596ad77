//! Global ids: readable, `Hero:1`. Where the type is known, the bare number is an id as well.

use super::ArgumentPath;
use crate::{
    graphql::{
        answer::Json,
        error::{ApiError, Code, quoted},
    },
    schema::{Entity, with_article},
};

type Entities = &'static [&'static Entity];

/// The global id of the object with this key.
#[must_use]
pub fn global_id(entity: &Entity, key: i64) -> String {
    format!("{}:{key}", entity.name)
}

/// Writes the global id of an object, whose key is written by a function, without a text of its own for it.
pub fn write_id(entity: &Entity, json: &mut Json, write_key: impl FnOnce(&mut Vec<u8>)) {
    json.raw(b"\"");
    json.raw(entity.name.as_bytes());
    json.raw(b":");
    write_key(json.bytes());
    json.raw(b"\"");
}

/// The key in an id of an entity: a global id or a bare number.
///
/// # Errors
///
/// `BAD_USER_INPUT` when it is an id of another type, or none at all.
pub fn key_of(entities: Entities, entity: &Entity, id: &str, path: ArgumentPath<'_>) -> Result<i64, ApiError> {
    let (name, sent) = (entity.name, || quoted(id));
    let message = match split(entities, id) {
        Some((None, key)) => return Ok(key),
        Some((Some(other), key)) if other == entity => return Ok(key),
        Some((Some(other), key)) => format!(
            "{} is the id of {}, where one of {} is expected: \"{name}:{key}\" or \"{key}\"",
            sent(),
            with_article(other.name),
            with_article(name)
        ),
        None => format!("{} is not an id; write \"{name}:1\" or \"1\"", sent()),
    };
    Err(path.error(Code::BadUserInput, message))
}

/// The entity and the key in a global id.
///
/// # Errors
///
/// `BAD_USER_INPUT` when it is not a global id.
pub fn node_of(entities: Entities, id: &str, path: ArgumentPath<'_>) -> Result<(&'static Entity, i64), ApiError> {
    if let Some((Some(entity), key)) = split(entities, id) {
        return Ok((entity, key));
    }
    let examples: Vec<String> = entities.iter().map(|entity| format!("\"{}:1\"", entity.name)).collect();
    let message = format!("{} is not a global id; write {}", quoted(id), examples.join(" or "));
    Err(path.error(Code::BadUserInput, message))
}

/// The parts of an id. Keys are positive and written in one way only, so that equal objects have equal ids.
fn split(entities: Entities, id: &str) -> Option<(Option<&'static Entity>, i64)> {
    let (entity, digits) = match id.split_once(':') {
        Some((name, digits)) => (Some(*entities.iter().find(|entity| entity.name == name)?), digits),
        None => (None, id),
    };
    let canonical = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    canonical.then(|| digits.parse().ok()).flatten().map(|key| (entity, key))
}
