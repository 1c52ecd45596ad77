//! The variables of a request: coerced to the types that its operation declares (`CoerceVariableValues`), and those
//! that are not sent.

use std::collections::HashSet;

use apollo_compiler::{Schema, ast::Type, schema::ExtendedType};
use async_graphql::{
    Name, Number, Positioned, Value, Variables,
    indexmap::IndexMap,
    parser::types::{ExecutableDocument, Field, Selection, SelectionSet},
};
use async_graphql_value::Value as ExecutableValue;

use super::{
    document::Operation,
    error::{ApiError, BoundedErrors, Code, abbreviated, quoted, shown_path},
};

/// Entries of a list, at most: more than any argument takes, so that the arguments stay the ones to say what they take.
const MAX_ENTRIES: usize = 10_000;

/// Coerces the variables that were sent to the types of an operation. Those that it does not declare are left out.
///
/// # Errors
///
/// `BAD_USER_INPUT` for each value that is not of its type, with its place.
pub fn coerce(
    schema: &Schema,
    operation: &Operation,
    mut sent: IndexMap<Name, Value>,
) -> Result<Variables, Vec<ApiError>> {
    let mut coerced = Variables::default();
    let mut coercion = Coercion { schema, sigil: "$", path: Vec::new(), faults: BoundedErrors::default() };
    for variable in &operation.variables {
        coercion.path.push(Value::from(variable.name.as_str()));
        if let Some(mut value) = sent.swap_remove(&variable.name) {
            coercion.value(&variable.ty, &mut value);
            coerced.insert(variable.name.clone(), value);
        } else if let Some(default) = &variable.default {
            coerced.insert(variable.name.clone(), default.clone());
        } else if variable.ty.is_non_null() {
            coercion.fault(&format!("must be given: its type is {}", variable.ty));
        }
        coercion.path.pop();
    }
    coercion.faults.finish().map(|()| coerced)
}

/// Coerces one value, which has a name in messages, to a type.
///
/// # Errors
///
/// `BAD_USER_INPUT` for each value in it that is not of its type, with its place.
pub fn coerce_value(schema: &Schema, name: &str, ty: &Type, value: &mut Value) -> Result<(), Vec<ApiError>> {
    let mut coercion = Coercion { schema, sigil: "", path: vec![Value::from(name)], faults: BoundedErrors::default() };
    coercion.value(ty, value);
    coercion.faults.finish()
}

struct Coercion<'s> {
    schema: &'s Schema,
    /// What is before the name of the value in messages.
    sigil: &'static str,
    path: Vec<Value>,
    faults: BoundedErrors,
}

impl Coercion<'_> {
    fn fault(&mut self, message: &str) {
        let Self { sigil, path, faults, .. } = self;
        faults.push(|| {
            let message = format!("`{sigil}{}` {message}", shown_path(path));
            ApiError { variable_path: path.clone(), ..ApiError::new(Code::BadUserInput, message) }
        });
    }

    fn value(&mut self, ty: &Type, value: &mut Value) {
        if *value == Value::Null {
            if ty.is_non_null() {
                self.fault(&format!("must not be null: its type is {ty}"));
            }
            return;
        }
        if !ty.is_list() {
            return self.named(ty, value);
        }
        let entries = ty.item_type();
        match value {
            Value::List(list) if list.len() > MAX_ENTRIES => {
                self.fault(&format!("must have at most {MAX_ENTRIES} entries, not {}", list.len()));
            }
            Value::List(list) => {
                for (index, entry) in list.iter_mut().enumerate() {
                    self.at(index.into(), |coercion| coercion.value(entries, entry));
                }
            }
            // A single value stands for a list of it.
            single => self.value(entries, single),
        }
    }

    fn named(&mut self, ty: &Type, value: &mut Value) {
        let name = ty.inner_named_type();
        let fits = match (self.schema.types.get(name), &mut *value) {
            (Some(ExtendedType::InputObject(object)), Value::Object(fields)) => {
                return self.object(object, fields);
            }
            (Some(ExtendedType::Enum(definition)), Value::String(text)) => {
                definition.values.contains_key(text.as_str())
            }
            (Some(ExtendedType::Scalar(_)), _) => scalar(name, value),
            _ => false,
        };
        if !fits {
            let sent = abbreviated(&value.to_string());
            self.fault(&format!("must be of the type {name}, not {sent}"));
        }
    }

    fn object(&mut self, object: &apollo_compiler::schema::InputObjectType, fields: &mut IndexMap<Name, Value>) {
        for (name, value) in &mut *fields {
            match object.fields.get(name.as_str()) {
                Some(field) => self.at(name.as_str().into(), |coercion| coercion.value(&field.ty, value)),
                None => self.fault(&format!("must not have the field {}: {} has none", quoted(name), object.name)),
            }
        }
        for (name, field) in &object.fields {
            if field.is_required() && !fields.contains_key(name.as_str()) {
                let message = format!("must be given: its type is {}", field.ty);
                self.at(name.as_str().into(), |coercion| coercion.fault(&message));
            }
        }
    }

    fn at(&mut self, segment: Value, coerce: impl FnOnce(&mut Self)) {
        self.path.push(segment);
        coerce(self);
        self.path.pop();
    }
}

/// Whether a value is one of a scalar. A whole number may be written as a fraction, and stand for an ID.
fn scalar(ty: &str, value: &mut Value) -> bool {
    match (ty, &mut *value) {
        ("String" | "ID", Value::String(_)) | ("Boolean", Value::Boolean(_)) | ("Float", Value::Number(_)) => true,
        ("Int", Value::Number(number)) => {
            let whole = integer(number).and_then(|number| i32::try_from(number).ok());
            whole.inspect(|whole| *value = (*whole).into()).is_some()
        }
        ("ID", Value::Number(number)) => {
            let whole = integer(number).map(|number| number.to_string());
            whole.map(|whole| *value = Value::String(whole)).is_some()
        }
        _ => false,
    }
}

fn integer(number: &Number) -> Option<i128> {
    // Up to here a fraction holds each whole number.
    const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
    if let Some(number) = number.as_i64() {
        return Some(number.into());
    }
    if let Some(number) = number.as_u64() {
        return Some(number.into());
    }
    let fraction = number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= MAX_EXACT)?;
    format!("{fraction:.0}").parse().ok()
}

/// Takes what unset variables stand for out of a document. The specification takes them for absent (Coercing Field
/// Arguments, Input Objects): an update leaves such a field as it is. async-graphql would take them for null, which
/// clears it.
pub fn remove_unset(operation: &Operation, variables: &Variables, document: &mut ExecutableDocument) {
    let is_unset = |name: &&Name| !variables.contains_key(*name);
    let unset: HashSet<&Name> = operation.variables.iter().map(|variable| &variable.name).filter(is_unset).collect();
    if unset.is_empty() {
        return;
    }
    if let async_graphql::parser::types::DocumentOperations::Single(operation) = &mut document.operations {
        remove_from_selection_set(&mut operation.node.selection_set.node, &unset);
    }
    for fragment in document.fragments.values_mut() {
        remove_from_selection_set(&mut fragment.node.selection_set.node, &unset);
    }
}

fn remove_from_selection_set(selection_set: &mut SelectionSet, unset: &HashSet<&Name>) {
    for selection in &mut selection_set.items {
        match &mut selection.node {
            Selection::Field(Positioned { node: Field { arguments, selection_set, .. }, .. }) => {
                arguments.retain(|(_, value)| !is_unset(&value.node, unset));
                for (_, value) in arguments {
                    remove_from_value(&mut value.node, unset);
                }
                remove_from_selection_set(&mut selection_set.node, unset);
            }
            Selection::InlineFragment(fragment) => {
                remove_from_selection_set(&mut fragment.node.selection_set.node, unset);
            }
            Selection::FragmentSpread(_) => {}
        }
    }
}

/// An entry of a list stays, and is null.
fn remove_from_value(value: &mut ExecutableValue, unset: &HashSet<&Name>) {
    match value {
        ExecutableValue::Object(fields) => {
            fields.retain(|_, value| !is_unset(value, unset));
            for value in fields.values_mut() {
                remove_from_value(value, unset);
            }
        }
        ExecutableValue::List(entries) => {
            for entry in entries {
                if is_unset(entry, unset) {
                    *entry = ExecutableValue::Null;
                }
                remove_from_value(entry, unset);
            }
        }
        _ => {}
    }
}

fn is_unset(value: &ExecutableValue, unset: &HashSet<&Name>) -> bool {
    matches!(value, ExecutableValue::Variable(name) if unset.contains(name))
}
