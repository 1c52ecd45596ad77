//! Checks of the input, before the database is touched. All faults are reported together, each with its place.

use std::{collections::HashSet, fmt};

use async_graphql::{ID, MaybeUndefined, Value};

use super::{
    error::{ApiError, Code},
    id::NodeType,
};
use crate::store::Relate;

/// Characters in a name, at most.
pub const MAX_CHARACTERS: usize = 200;
/// The greatest age, in years.
pub const MAX_AGE: i32 = 1_000_000;
/// Entries in one list of the input, at most.
pub const MAX_LIST: usize = 1_000;
/// Objects that one call may name, nested ones included.
pub const MAX_OBJECTS: usize = 10_000;
/// Faults that are reported for one call, at most.
const MAX_FAULTS: usize = 100;

/// A place in the arguments of a field.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    outer: Option<&'a Place<'a>>,
    segment: Segment,
}

#[derive(Clone, Copy, Debug)]
enum Segment {
    Name(&'static str),
    Index(usize),
}

impl<'a> Place<'a> {
    /// An argument of the field.
    #[must_use]
    pub fn argument(name: &'static str) -> Self {
        Self { outer: None, segment: Segment::Name(name) }
    }

    /// A field of the input object at this place.
    #[must_use]
    pub fn field(&'a self, name: &'static str) -> Self {
        Self { outer: Some(self), segment: Segment::Name(name) }
    }

    /// An entry of the list at this place.
    #[must_use]
    pub fn entry(&'a self, index: usize) -> Self {
        Self { outer: Some(self), segment: Segment::Index(index) }
    }

    /// An error at this place.
    pub fn fault(&self, code: Code, message: impl Into<String>) -> ApiError {
        ApiError { argument_path: self.path(), ..ApiError::new(code, message) }
    }

    /// An error at this place, whose message begins with the name of the place.
    pub fn bad_input(&self, message: impl fmt::Display) -> ApiError {
        self.fault(Code::BadUserInput, format!("`{self}` {message}"))
    }

    fn path(&self) -> Vec<Value> {
        let mut path = self.outer.map(Place::path).unwrap_or_default();
        path.push(match self.segment {
            Segment::Name(name) => Value::from(name),
            Segment::Index(index) => Value::from(index),
        });
        path
    }
}

/// As one would write it in code: `input.teams.create[0].name`.
impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(outer) = self.outer {
            outer.fmt(formatter)?;
        }
        match (self.segment, self.outer) {
            (Segment::Index(index), _) => write!(formatter, "[{index}]"),
            (Segment::Name(name), None) => formatter.write_str(name),
            (Segment::Name(name), Some(_)) => write!(formatter, ".{name}"),
        }
    }
}

/// Checks that a list of ids is not too long.
///
/// # Errors
///
/// `BAD_USER_INPUT` when it is.
pub fn check_length(length: usize, place: Place<'_>) -> Result<(), ApiError> {
    if length > MAX_LIST {
        return Err(place.bad_input(format_args!("must have at most {MAX_LIST} entries, not {length}")));
    }
    Ok(())
}

/// An input object with the values of a new row.
pub trait RowInput {
    type Row;

    /// The values, after noting what is wrong with them.
    fn check(self, place: Place<'_>, faults: &mut Faults) -> Self::Row;
}

/// What is to be done with rows on the other side, as the input has it.
#[derive(Debug)]
pub struct RelateInput<N> {
    pub node: NodeType,
    pub create: Option<Vec<N>>,
    pub connect: Option<Vec<ID>>,
    pub connect_or_create: Option<Vec<N>>,
    pub disconnect: Option<Vec<ID>>,
    pub set: MaybeUndefined<Vec<ID>>,
}

impl<N: RowInput> RelateInput<N> {
    /// The instructions, after noting what is wrong with them.
    pub fn check(self, place: Place<'_>, faults: &mut Faults) -> Relate<N::Row> {
        let Self { node, create, connect, connect_or_create, disconnect, set } = self;
        let set = match set {
            MaybeUndefined::Undefined => None,
            MaybeUndefined::Null => {
                faults.note(place.field("set"), "must not be null: leave it out, or write [] for no links at all");
                None
            }
            MaybeUndefined::Value(set) => Some(set),
        };
        let has_others = create.is_some() || connect.is_some() || connect_or_create.is_some() || disconnect.is_some();
        if set.is_some() && has_others {
            faults
                .note(place.field("set"), "must not be given together with other instructions: it replaces all links");
        }
        let mut rows = |list: Option<Vec<N>>, name| {
            let place = place.field(name);
            faults.list(list.unwrap_or_default(), place, |row, place, faults| Some(row.check(place, faults)))
        };
        let create = rows(create, "create");
        let connect_or_create = rows(connect_or_create, "connectOrCreate");
        let mut keys = |list: Option<Vec<ID>>, name| {
            let place = place.field(name);
            faults.list(list.unwrap_or_default(), place, |id, place, faults| faults.key(node, &id, place))
        };
        let connect = keys(connect, "connect");
        let set = set.map(|set| keys(Some(set), "set"));
        let connected: HashSet<i64> = connect.iter().copied().collect();
        let disconnect = faults.list(disconnect.unwrap_or_default(), place.field("disconnect"), |id, place, faults| {
            let key = faults.key(node, &id, place)?;
            if connected.contains(&key) {
                faults.note(place, "must not be in `connect`, too");
            }
            Some(key)
        });
        Relate { create, connect, connect_or_create, disconnect, set }
    }
}

/// What is wrong with the input of a call.
#[derive(Debug, Default)]
pub struct Faults(Vec<ApiError>);

impl Faults {
    /// Notes a fault.
    pub fn note(&mut self, place: Place<'_>, message: impl fmt::Display) {
        self.0.push(place.bad_input(message));
    }

    /// The key in an id, or a note of what is wrong with it.
    pub fn key(&mut self, node: NodeType, id: &ID, place: Place<'_>) -> Option<i64> {
        node.key(id, place).map_err(|fault| self.0.push(fault)).ok()
    }

    /// A value that may be left out but not be null.
    pub fn not_null<T>(&mut self, value: MaybeUndefined<T>, place: Place<'_>) -> Option<T> {
        if value.is_null() {
            self.note(place, "must not be null: leave it out to keep it as it is");
        }
        value.take()
    }

    /// Notes what is wrong with a name.
    pub fn check_text(&mut self, text: &str, place: Place<'_>) {
        if text.trim().is_empty() {
            self.note(place, "must not be blank");
        }
        let characters = text.chars().count();
        if characters > MAX_CHARACTERS {
            self.note(place, format_args!("must have at most {MAX_CHARACTERS} characters, not {characters}"));
        }
        if text.contains('\0') {
            self.note(place, "must not contain the character U+0000");
        }
    }

    /// Notes what is wrong with an age.
    pub fn check_age(&mut self, age: Option<i32>, place: Place<'_>) {
        if let Some(age) = age
            && !(0..=MAX_AGE).contains(&age)
        {
            self.note(place, format_args!("must be from 0 to {MAX_AGE}, not {age}"));
        }
    }

    /// Checks each entry of a list. A list that is too long is one fault, and its entries are not looked at.
    pub fn list<I, O>(
        &mut self,
        list: Vec<I>,
        place: Place<'_>,
        mut check: impl FnMut(I, Place<'_>, &mut Self) -> Option<O>,
    ) -> Vec<O> {
        if let Err(fault) = check_length(list.len(), place) {
            self.0.push(fault);
            return Vec::new();
        }
        list.into_iter().enumerate().filter_map(|(index, entry)| check(entry, place.entry(index), self)).collect()
    }

    /// Notes that a call names too many objects.
    pub fn check_objects(&mut self, objects: usize, place: Place<'_>) {
        if objects > MAX_OBJECTS {
            self.note(
                place,
                format_args!("must name at most {MAX_OBJECTS} objects, nested ones included, not {objects}"),
            );
        }
    }

    /// Goes on only when nothing is wrong.
    ///
    /// # Errors
    ///
    /// All faults. When there are very many, the first ones and how many there are.
    pub fn check(self) -> Result<(), Vec<ApiError>> {
        if self.0.is_empty() { Ok(()) } else { Err(bounded(self.0)) }
    }
}

/// The errors of a call; when there are very many, the first ones and how many there are.
pub fn bounded(mut errors: Vec<ApiError>) -> Vec<ApiError> {
    if errors.len() > MAX_FAULTS {
        let code = errors[MAX_FAULTS].code;
        let more = errors.len() - MAX_FAULTS;
        errors.truncate(MAX_FAULTS);
        errors.push(ApiError::new(code, format!("and {more} more faults")));
    }
    errors
}
