//! Global ids: readable, `Hero:1`. Where the type is known the bare number is taken too.

use async_graphql::ID;

use super::{
    document::shown,
    error::{ApiError, Code},
    input::Place,
    json::Json,
};

/// The object types that have a global id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeType {
    Hero,
    Team,
}

impl NodeType {
    /// The name of the type in the schema.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hero => "Hero",
            Self::Team => "Team",
        }
    }

    /// The global id of the object with this key.
    #[must_use]
    pub fn id(self, key: i64) -> ID {
        ID(format!("{}:{key}", self.name()))
    }

    /// Writes the global id of the object whose key is written by a function, without a text of its own for it.
    pub fn write_id(self, json: &mut Json, write_key: impl FnOnce(&mut Vec<u8>)) {
        json.raw(b"\"");
        json.raw(self.name().as_bytes());
        json.raw(b":");
        write_key(json.bytes());
        json.raw(b"\"");
    }

    /// The key in an id of this type: a global id or a bare number.
    ///
    /// # Errors
    ///
    /// `BAD_USER_INPUT` when it is an id of another type, or none at all.
    pub fn key(self, id: &ID, place: Place<'_>) -> Result<i64, ApiError> {
        match split(id) {
            Some((None, key)) => Ok(key),
            Some((Some(node), key)) if node == self => Ok(key),
            Some((Some(node), key)) => Err(place.fault(
                Code::BadUserInput,
                format!(
                    "{} is the id of a {}, where one of a {} is expected: \"{}:{key}\" or \"{key}\"",
                    shown(id),
                    node.name(),
                    self.name(),
                    self.name()
                ),
            )),
            None => Err(place.fault(
                Code::BadUserInput,
                format!("{} is not an id; write \"{}:1\" or \"1\"", shown(id), self.name()),
            )),
        }
    }

    /// The type and the key in a global id.
    ///
    /// # Errors
    ///
    /// `BAD_USER_INPUT` when it is not a global id.
    pub fn of(id: &ID, place: Place<'_>) -> Result<(Self, i64), ApiError> {
        match split(id) {
            Some((Some(node), key)) => Ok((node, key)),
            _ => Err(place.fault(
                Code::BadUserInput,
                format!("{} is not a global id; write \"Hero:1\" or \"Team:1\"", shown(id)),
            )),
        }
    }
}

/// The parts of an id. Keys are positive and written in one way only, so that equal objects have equal ids.
fn split(id: &ID) -> Option<(Option<NodeType>, i64)> {
    let (node, digits) = match id.split_once(':') {
        Some(("Hero", digits)) => (Some(NodeType::Hero), digits),
        Some(("Team", digits)) => (Some(NodeType::Team), digits),
        Some(_) => return None,
        None => (None, id.as_str()),
    };
    let canonical = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    canonical.then(|| digits.parse().ok()).flatten().map(|key| (node, key))
}
