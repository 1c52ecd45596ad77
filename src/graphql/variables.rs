//! Variables that are declared and not sent.
//!
//! The specification takes them for absent (Coercing Field Arguments, Input Objects): an update leaves such a field as it is.
//! async-graphql takes them for null, which would clear it. So what such a variable stands for is taken out of the document
//! before it is executed.

use async_graphql::{
    Name, Positioned, Request, Value as ConstValue,
    parser::types::{DocumentOperations, ExecutableDocument, Field, Selection, SelectionSet},
};
use async_graphql_value::Value;

/// Takes what unset variables stand for out of the document of a request.
pub fn remove_unset(document: &mut ExecutableDocument, request: &Request) {
    let mut unset: Vec<Name> = Vec::new();
    for (name, operation) in document.operations.iter() {
        // Other operations of the document are not executed.
        if request.operation_name.is_some() && name.map(Name::as_str) != request.operation_name.as_deref() {
            continue;
        }
        unset.extend(operation.node.variable_definitions.iter().filter_map(|definition| {
            let definition = &definition.node;
            let is_sent = request.variables.contains_key(&definition.name.node);
            (!is_sent && definition.default_value() == Some(&ConstValue::Null) && definition.default_value.is_none())
                .then(|| definition.name.node.clone())
        }));
    }
    if unset.is_empty() {
        return;
    }
    let operations: Vec<_> = match &mut document.operations {
        DocumentOperations::Single(operation) => vec![operation],
        DocumentOperations::Multiple(operations) => operations.values_mut().collect(),
    };
    for operation in operations {
        operation.node.variable_definitions.retain(|definition| !unset.contains(&definition.node.name.node));
        remove_from_selection_set(&mut operation.node.selection_set.node, &unset);
    }
    for fragment in document.fragments.values_mut() {
        remove_from_selection_set(&mut fragment.node.selection_set.node, &unset);
    }
}

fn remove_from_selection_set(selection_set: &mut SelectionSet, unset: &[Name]) {
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
fn remove_from_value(value: &mut Value, unset: &[Name]) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !is_unset(value, unset));
            for value in fields.values_mut() {
                remove_from_value(value, unset);
            }
        }
        Value::List(entries) => {
            for entry in entries {
                if is_unset(entry, unset) {
                    *entry = Value::Null;
                }
                remove_from_value(entry, unset);
            }
        }
        _ => {}
    }
}

fn is_unset(value: &Value, unset: &[Name]) -> bool {
    matches!(value, Value::Variable(name) if unset.contains(name))
}
