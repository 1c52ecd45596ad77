//! The values that clients send, and where in the arguments they are.

use std::{borrow::Cow, fmt};

use async_graphql::{Name, Value, indexmap::IndexMap};

use crate::graphql::error::{ApiError, Code};

/// The number of objects in a list when the query does not say how many.
pub const DEFAULT_LIMIT: i32 = 100;
/// The greatest number of objects in a list.
pub const MAX_LIMIT: i32 = 1_000;
/// The greatest number of entries of a list in the arguments.
pub const MAX_LIST: usize = 1_000;

/// The path of a value in the arguments of a field.
#[derive(Clone, Copy, Debug)]
pub struct ArgumentPath<'a> {
    outer: Option<&'a ArgumentPath<'a>>,
    segment: Segment,
}

#[derive(Clone, Copy, Debug)]
enum Segment {
    Name(&'static str),
    Index(usize),
}

impl<'a> ArgumentPath<'a> {
    /// An argument of the field.
    #[must_use]
    pub fn argument(name: &'static str) -> Self {
        Self { outer: None, segment: Segment::Name(name) }
    }

    /// A field of the input object at this path.
    #[must_use]
    pub fn field(&'a self, name: &'static str) -> Self {
        Self { outer: Some(self), segment: Segment::Name(name) }
    }

    /// An entry of the list at this path.
    #[must_use]
    pub fn entry(&'a self, index: usize) -> Self {
        Self { outer: Some(self), segment: Segment::Index(index) }
    }

    /// An error at this path.
    pub fn error(&self, code: Code, message: impl Into<String>) -> ApiError {
        ApiError { argument_path: self.path(), ..ApiError::new(code, message) }
    }

    /// An error at this path, whose message begins with the path.
    pub fn bad_input(&self, message: impl fmt::Display) -> ApiError {
        self.error(Code::BadUserInput, format!("`{self}` {message}"))
    }

    fn path(&self) -> Vec<Value> {
        let mut path = self.outer.map(ArgumentPath::path).unwrap_or_default();
        path.push(match self.segment {
            Segment::Name(name) => Value::from(name),
            Segment::Index(index) => Value::from(index),
        });
        path
    }
}

/// As one would write it in code: `input.teams.create[0].name`.
impl fmt::Display for ArgumentPath<'_> {
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

/// The arguments of a field, with the values of variables.
#[derive(Debug)]
pub struct Arguments(pub Vec<(Name, Value)>);

impl Arguments {
    /// The value of an argument; none when it is absent.
    #[must_use]
    pub fn get(&self, name: &'static str) -> Input<'_> {
        let value = self.0.iter().find(|(argument, _)| argument == name).map(|(_, value)| value);
        Input { value, path: ArgumentPath::argument(name) }
    }
}

/// A value that a client has sent, or has not, at its path. The type has been checked before, but for null, which a
/// variable with a default can bring anywhere (All Variable Usages Are Allowed).
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    value: Option<&'a Value>,
    path: ArgumentPath<'a>,
}

impl<'a> Input<'a> {
    /// A value at a path.
    #[must_use]
    pub fn new(value: &'a Value, path: ArgumentPath<'a>) -> Self {
        Self { value: Some(value), path }
    }

    /// The path of the value.
    #[must_use]
    pub fn path(&self) -> ArgumentPath<'a> {
        self.path
    }

    /// Whether it is given as null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.value, Some(Value::Null))
    }

    /// The value; none when it is absent or null.
    #[must_use]
    pub fn some(&self) -> Option<&'a Value> {
        self.value.filter(|value| **value != Value::Null)
    }

    /// The same, when it is neither absent nor null.
    #[must_use]
    pub fn present(self) -> Option<Self> {
        self.some().map(|_| self)
    }

    /// The same, when it is not absent.
    ///
    /// # Errors
    ///
    /// `BAD_USER_INPUT` when it is null.
    pub fn not_null(self) -> Result<Option<Self>, ApiError> {
        if self.is_null() { Err(self.wrong()) } else { Ok(self.present()) }
    }

    /// The error of a value that is null where it must not be.
    fn wrong(&self) -> ApiError {
        self.path().bad_input("must not be null")
    }

    /// A whole number.
    ///
    /// # Errors
    ///
    /// `BAD_USER_INPUT` when it is null.
    pub fn int(&self) -> Result<i32, ApiError> {
        let Some(Value::Number(number)) = self.value else { return Err(self.wrong()) };
        number.as_i64().and_then(|number| number.try_into().ok()).ok_or_else(|| self.wrong())
    }

    /// Text.
    ///
    /// # Errors
    ///
    /// `BAD_USER_INPUT` when it is null.
    pub fn text(&self) -> Result<&'a str, ApiError> {
        if let Some(Value::String(text)) = self.value { Ok(text) } else { Err(self.wrong()) }
    }

    /// An id, which may be sent as a number.
    ///
    /// # Errors
    ///
    /// `BAD_USER_INPUT` when it is null.
    pub fn id(&self) -> Result<Cow<'a, str>, ApiError> {
        match self.value {
            Some(Value::String(text)) => Ok(text.as_str().into()),
            Some(Value::Number(number)) => Ok(number.to_string().into()),
            _ => Err(self.wrong()),
        }
    }

    /// True or false.
    ///
    /// # Errors
    ///
    /// `BAD_USER_INPUT` when it is null.
    pub fn boolean(&self) -> Result<bool, ApiError> {
        if let Some(Value::Boolean(boolean)) = self.value { Ok(*boolean) } else { Err(self.wrong()) }
    }

    /// The name of an enum value.
    ///
    /// # Errors
    ///
    /// `BAD_USER_INPUT` when it is null.
    pub fn symbol(&self) -> Result<&'a str, ApiError> {
        match self.value {
            Some(Value::Enum(name)) => Ok(name),
            // A variable brings it as text.
            Some(Value::String(name)) => Ok(name),
            _ => Err(self.wrong()),
        }
    }

    /// The entries of a list. A single value stands for a list of it; absent and null for an empty one.
    #[must_use]
    pub fn list(&self) -> &'a [Value] {
        match self.some() {
            Some(Value::List(entries)) => entries,
            Some(single) => std::slice::from_ref(single),
            None => &[],
        }
    }

    /// The entries of a list that is not too long.
    ///
    /// # Errors
    ///
    /// `BAD_USER_INPUT` when it is.
    pub fn bounded_list(&self) -> Result<&'a [Value], ApiError> {
        let list = self.list();
        if list.len() > MAX_LIST {
            let length = list.len();
            return Err(self.path().bad_input(format_args!("must have at most {MAX_LIST} entries, not {length}")));
        }
        Ok(list)
    }

    /// The fields of an input object.
    ///
    /// # Errors
    ///
    /// `BAD_USER_INPUT` when it is null.
    pub fn object(&self) -> Result<Object<'a>, ApiError> {
        if let Some(Value::Object(fields)) = self.value { Ok(Object(fields)) } else { Err(self.wrong()) }
    }
}

/// The fields of an input object.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a>(&'a IndexMap<Name, Value>);

impl<'a> Object<'a> {
    /// A field of the object at a path; its value is none when it is absent.
    #[must_use]
    pub fn get(self, name: &'static str, path: &'a ArgumentPath<'a>) -> Input<'a> {
        Input { value: self.0.get(name), path: path.field(name) }
    }
}
