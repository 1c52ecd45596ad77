//! Variables that are declared and not sent.
//!
//! The specification takes them for absent (Coercing Field Arguments, Input Objects): an update leaves such a field as it is.
//! async-graphql takes them for null, which would clear it. So what such a variable stands for is taken out of the document
//! before it is executed.

use std::collections::HashSet;

use async_graphql::{
    Name, Positioned, Request,
    parser::types::{DocumentOperations, ExecutableDocument, Field, Selection, SelectionSet, VariableDefinition},
};
use async_graphql_value::Value;

/// Takes what unset variables stand for out of the document of a request.
pub fn remove_unset(document: &mut ExecutableDocument, request: &Request) {
    let executed = match (&document.operations, &request.operation_name) {
        (DocumentOperations::Single(operation), _) => operation,
        (DocumentOperations::Multiple(operations), name) => {
            let operation = match name {
                Some(name) => operations.get(name.as_str()),
                None => operations.values().next().filter(|_| operations.len() == 1),
            };
            // That there is no such operation is for async-graphql to say.
            let Some(operation) = operation else { return };
            operation
        }
    };
    let definitions = executed.node.variable_definitions.iter().map(|definition| &definition.node);
    let is_unset = |definition: &&VariableDefinition| {
        let has_default = definition.default_value.is_some() || !definition.var_type.node.nullable;
        !has_default && !request.variables.contains_key(&definition.name.node)
    };
    let unset: Vec<Name> = definitions.filter(is_unset).map(|definition| definition.name.node.clone()).collect();
    if unset.is_empty() {
        return;
    }
    // What is taken out may be what another operation needs, so the others go.
    let mut operation = executed.clone();
    operation.node.variable_definitions.retain(|definition| !unset.contains(&definition.node.name.node));
    let mut used = HashSet::new();
    collect_fragments(&operation.node.selection_set.node, document, &mut used);
    document.fragments.retain(|name, _| used.contains(name));
    remove_from_selection_set(&mut operation.node.selection_set.node, &unset);
    for fragment in document.fragments.values_mut() {
        remove_from_selection_set(&mut fragment.node.selection_set.node, &unset);
    }
    document.operations = match &request.operation_name {
        Some(name) => DocumentOperations::Multiple([(Name::new(name), operation)].into()),
        None => DocumentOperations::Single(operation),
    };
}

/// The fragments that a selection set uses, directly or through others.
fn collect_fragments(selection_set: &SelectionSet, document: &ExecutableDocument, used: &mut HashSet<Name>) {
    for selection in &selection_set.items {
        match &selection.node {
            Selection::Field(field) => collect_fragments(&field.node.selection_set.node, document, used),
            Selection::InlineFragment(fragment) => {
                collect_fragments(&fragment.node.selection_set.node, document, used);
            }
            Selection::FragmentSpread(spread) => {
                let name = &spread.node.fragment_name.node;
                if let Some(fragment) = document.fragments.get(name)
                    && used.insert(name.clone())
                {
                    collect_fragments(&fragment.node.selection_set.node, document, used);
                }
            }
        }
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
