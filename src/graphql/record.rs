//! Records of files and filters of commands: read as clients send inputs, with the same checks and messages.

use apollo_compiler::ast::Type;
use async_graphql::{Name, Value, indexmap::IndexMap};

use super::{
    definition::Definition,
    error::ApiError,
    executor::sdl,
    types::{ArgumentPath, Input, InputReader, filter, key_of},
    variables::coerce_value,
};
use crate::{
    schema::{Api, Entity},
    store::{Filter, Values},
};

/// What is wrong with a record.
#[derive(Clone, Debug)]
pub struct RecordFault {
    /// Where in the record the fault is, from the noun for the record inwards: `["hero", "name"]`.
    pub path: Vec<Value>,
    /// What was wrong, and what would be right.
    pub message: String,
}

impl From<ApiError> for RecordFault {
    fn from(error: ApiError) -> Self {
        let path = if error.argument_path.is_empty() { error.variable_path } else { error.argument_path };
        Self { path, message: error.message }
    }
}

/// Reads records and filters.
#[derive(Debug)]
pub struct RecordReader {
    definition: Definition,
    entities: &'static [&'static Entity],
}

impl RecordReader {
    /// The reader of the records of an API.
    ///
    /// # Errors
    ///
    /// When the entities make no schema.
    pub fn new<A: Api>() -> Result<Self, String> {
        Ok(Self { definition: Definition::new(sdl::<A>())?, entities: A::entities() })
    }

    /// The entities of the API.
    #[must_use]
    pub fn entities(&self) -> &'static [&'static Entity] {
        self.entities
    }

    /// The values of an object to create, as `create` has them without the nested objects.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them.
    pub fn values(&self, entity: &'static Entity, fields: IndexMap<Name, Value>) -> Result<Values, Vec<RecordFault>> {
        let mut value = Value::Object(fields);
        self.coerce(entity.one, &format!("Create{}Input", entity.name), &mut value)?;
        let mut reader = InputReader::new(self.entities);
        let create = reader.create(entity, Input::new(&value, ArgumentPath::argument(entity.one)));
        reader.finish().map_err(faults)?;
        Ok(create.map(|create| create.values).unwrap_or_default())
    }

    /// The filter of a list of an entity.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn filter(&self, entity: &'static Entity, mut value: Value) -> Result<Filter, Vec<RecordFault>> {
        self.coerce("where", &format!("{}Filter", entity.name), &mut value)?;
        filter(self.entities, entity, Input::new(&value, ArgumentPath::argument("where")))
            .map_err(|error| faults(vec![error]))
    }

    /// The key in an id of an entity, at a path in a record.
    ///
    /// # Errors
    ///
    /// When it is an id of another entity, or none at all.
    pub fn key(&self, entity: &'static Entity, id: &Value, path: &[&str]) -> Result<i64, RecordFault> {
        let input = Input::new(id, ArgumentPath::argument("id"));
        let key = match input.id() {
            Ok(id) => key_of(self.entities, entity, &id, input.path()).map_err(|error| error.message),
            Err(_) => Err(format!("{id} is not an id; write \"{0}:1\" or \"1\"", entity.name)),
        };
        key.map_err(|message| {
            let message = format!("`{}`: {message}", path.join("."));
            RecordFault { path: path.iter().map(|name| Value::from(*name)).collect(), message }
        })
    }

    fn coerce(&self, name: &str, ty: &str, value: &mut Value) -> Result<(), Vec<RecordFault>> {
        let Ok(ty) = apollo_compiler::Name::new(ty) else { return Ok(()) };
        coerce_value(&self.definition.schema, name, &Type::NonNullNamed(ty), value).map_err(faults)
    }
}

fn faults(errors: Vec<ApiError>) -> Vec<RecordFault> {
    errors.into_iter().map(RecordFault::from).collect()
}
