//! What the schema says of itself.
//!
//! async-graphql answers parts of the introspection wrongly, so apollo-compiler answers it, which also validates
//! documents. It does not know `isOneOf`, of the edition of September 2025, which is answered here.

use apollo_compiler::{
    ExecutableDocument, Node, Schema,
    executable::{Selection, SelectionSet},
    introspection, name,
    response::JsonMap,
    validation::Valid,
};
use async_graphql::{Name, Value, Variables, indexmap::IndexMap};

use super::{
    answer::Json,
    definition::{Definition, TYPE},
    document::{Document, Operation},
    error::{ApiError, Code},
};

const IS_ONE_OF: &str = "isOneOf";

/// What an operation asks of the schema, by response keys.
///
/// # Errors
///
/// `QUERY_TOO_COMPLEX` when it asks for types of types of types, which multiply, or for more than `max_bytes`.
pub fn introspect(
    definition: &Definition,
    document: &Document,
    operation: &Operation,
    variables: &Variables,
    max_bytes: usize,
) -> Result<IndexMap<Name, Value>, ApiError> {
    let failed = || ApiError::new(Code::Internal, "the introspection failed");
    let Definition { schema, implementers, .. } = definition;
    introspection::check_max_depth(&document.valid, &operation.definition)
        .map_err(|_| ApiError::new(Code::QueryTooComplex, "the introspection nests lists of the schema too deep"))?;
    let values = serde_json::to_value(variables).and_then(serde_json::from_value::<JsonMap>).map_err(|_| failed())?;
    // They have been coerced before.
    let values = Valid::assume_valid(values);
    // Each `isOneOf` is sent to apollo-compiler as `<prefix><key>: name` and rewritten afterwards. The prefix is
    // random, so no alias of a client can collide with it.
    let prefix = format!("__isOneOf{}_", fastrand::u64(..));
    let by_name = by_name(&document.valid, schema, &prefix);
    let mut fields: IndexMap<_, Vec<Selection>> = IndexMap::new();
    for field in document.introspections(operation, variables) {
        fields.entry(field.response_key()).or_default().push(field.clone().into());
    }
    let mut introspected = IndexMap::new();
    // One after another, so that no more is made than the first one that is too much.
    for selections in fields.into_values() {
        let mut definition = operation.definition.clone();
        let selection_set = &mut definition.make_mut().selection_set;
        selection_set.selections = selections;
        ask_by_name(selection_set, schema, &prefix);
        let response = introspection::partial_execute(schema, implementers, &by_name, &definition, &values);
        let data = response.ok().and_then(|response| async_graphql::to_value(response.data).ok());
        let mut data = data.ok_or_else(failed)?;
        answer_by_name(&mut data, schema, &prefix);
        let Value::Object(answered) = data else { return Err(failed()) };
        introspected.extend(answered.into_iter().map(serialized));
        if bytes(&introspected) > max_bytes {
            return Err(ApiError::new(Code::QueryTooComplex, "the introspection is too large; ask for less"));
        }
    }
    Ok(introspected)
}

/// A field as it is written into the answer.
fn serialized((key, value): (Name, Value)) -> (Name, Value) {
    let mut json = Json::default();
    json.value(&value);
    (key, json.into_value())
}

/// How many bytes an introspection is written in.
fn bytes(fields: &IndexMap<Name, Value>) -> usize {
    let length = |value: &Value| if let Value::Binary(json) = value { json.len() } else { 0 };
    // Brackets around them, and commas between them.
    fields.values().map(length).sum::<usize>() + fields.len() + 1
}

/// The document with the name of a type in the place of each `isOneOf`.
fn by_name(document: &Valid<ExecutableDocument>, schema: &Schema, prefix: &str) -> Valid<ExecutableDocument> {
    let mut document = document.clone().into_inner();
    for fragment in document.fragments.values_mut() {
        ask_by_name(&mut fragment.make_mut().selection_set, schema, prefix);
    }
    Valid::assume_valid(document)
}

fn ask_by_name(selection_set: &mut SelectionSet, schema: &Schema, prefix: &str) {
    for selection in &mut selection_set.selections {
        match selection {
            Selection::Field(field) if field.name == IS_ONE_OF && selection_set.ty == TYPE => {
                let alias = apollo_compiler::Name::new(&format!("{prefix}{}", field.response_key()));
                if let (Ok(alias), Ok(definition)) = (alias, schema.type_field(TYPE, "name")) {
                    let field = field.make_mut();
                    (field.alias, field.name) = (Some(alias), name!("name"));
                    field.definition = Node::clone(definition);
                }
            }
            Selection::Field(field) if !field.selection_set.selections.is_empty() => {
                ask_by_name(&mut field.make_mut().selection_set, schema, prefix);
            }
            Selection::InlineFragment(fragment) => ask_by_name(&mut fragment.make_mut().selection_set, schema, prefix),
            Selection::Field(_) | Selection::FragmentSpread(_) => {}
        }
    }
}

/// Makes an answer of each name: whether it is that of an input object of which one field is given; null for other
/// types.
fn answer_by_name(value: &mut Value, schema: &Schema, prefix: &str) {
    match value {
        Value::Object(fields) => {
            for value in fields.values_mut() {
                answer_by_name(value, schema, prefix);
            }
            if fields.keys().any(|key| key.starts_with(prefix)) {
                let answered = std::mem::take(fields).into_iter().map(|(key, value)| match key.strip_prefix(prefix) {
                    Some(key) => (Name::new(key), is_one_of(&value, schema)),
                    None => (key, value),
                });
                *fields = answered.collect();
            }
        }
        Value::List(values) => values.iter_mut().for_each(|value| answer_by_name(value, schema, prefix)),
        _ => {}
    }
}

fn is_one_of(name: &Value, schema: &Schema) -> Value {
    let Value::String(name) = name else { return Value::Null };
    let object = schema.get_input_object(name);
    object.map_or(Value::Null, |object| Value::Boolean(object.directives.has("oneOf")))
}
