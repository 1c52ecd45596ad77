//! The fields of the root.
//!
//! async-graphql executes a field of the root once for each time it is selected, and gives them in the order in which
//! they were ready. Here the fields are collected first, as the specification has it (`CollectFields`), so that each is
//! executed once, and the answer has them in the order of the query.

use async_graphql::{
    Name, PathSegment, Positioned, ServerError, Value, Variables,
    indexmap::{IndexMap, map::Entry},
    parser::types::{Directive, DocumentOperations, ExecutableDocument, Field, Selection, SelectionSet},
};
use async_graphql_value::Value as ExecutableValue;

use super::nulls::Nulls;
use crate::graphql::error::ApiError;

/// The fields of the root.
#[derive(Clone)]
pub struct RootFields {
    /// Their response keys, in the order of the query.
    keys: Vec<Name>,
    /// Whether some of them ask for the schema.
    pub introspects: bool,
    /// The errors of those that ask for the schema and are not executed, with their response keys.
    failed: Vec<(Name, ApiError)>,
}

impl RootFields {
    /// Collects the fields of an operation, and leaves those in it that are for async-graphql. Each exists once, and
    /// no fragment or condition is left.
    pub fn collect(document: &mut ExecutableDocument, variables: &Variables, nulls: &Nulls) -> Self {
        let mut fields = IndexMap::new();
        if let DocumentOperations::Single(operation) = &mut document.operations {
            let selection_set = std::mem::take(&mut operation.node.selection_set.node);
            collect(selection_set, document, variables, &mut fields);
        }
        let error_of = |field: &Positioned<Field>| {
            let mut arguments = field.node.arguments.iter();
            arguments.find_map(|(_, value)| nulls.of_argument(value.pos.column)).cloned()
        };
        let introspections = || fields.iter().filter(|(_, field)| is_introspection(&field.node.name.node));
        let collected = Self {
            keys: fields.keys().cloned().collect(),
            introspects: introspections().next().is_some(),
            failed: introspections().filter_map(|(key, field)| Some((key.clone(), error_of(field)?))).collect(),
        };
        if let DocumentOperations::Single(operation) = &mut document.operations {
            let others = fields.into_values().filter(|field| !is_introspection(&field.node.name.node));
            let selection = |field: Positioned<Field>| Positioned { pos: field.pos, node: Selection::Field(field) };
            operation.node.selection_set.node.items = others.map(selection).collect();
        }
        collected
    }

    /// Takes the errors of the fields that are not executed, whose values are null.
    pub fn fail(&mut self, values: &mut IndexMap<Name, Value>) -> Vec<ServerError> {
        let failed = std::mem::take(&mut self.failed).into_iter().map(|(key, error)| {
            let path = vec![PathSegment::Field(key.to_string())];
            values.insert(key, Value::Null);
            ServerError { path, ..error.at(None) }
        });
        failed.collect()
    }

    /// The fields in the order of the query. Null when one that cannot be null has failed, which async-graphql leaves
    /// out.
    pub fn in_order(&self, mut values: IndexMap<Name, Value>) -> Value {
        let in_order = self.keys.iter().map(|key| Some((key.clone(), values.swap_remove(key)?)));
        in_order.collect::<Option<IndexMap<_, _>>>().map_or(Value::Null, Value::Object)
    }
}

/// Whether an operation has fields that are for async-graphql.
pub fn has_fields(document: &ExecutableDocument) -> bool {
    let mut operations = document.operations.iter();
    operations.any(|(_, operation)| !operation.node.selection_set.node.items.is_empty())
}

/// Collects the fields of a selection set. Each fragment applies, because the root has one type and no interfaces.
fn collect(
    selection_set: SelectionSet,
    document: &ExecutableDocument,
    variables: &Variables,
    fields: &mut IndexMap<Name, Positioned<Field>>,
) {
    for selection in selection_set.items {
        if is_skipped(selection.node.directives(), variables) {
            continue;
        }
        match selection.node {
            Selection::Field(field) => match fields.entry(field.node.response_key().node.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(field);
                }
                // What both select is selected once (`MergeSelectionSets`).
                Entry::Occupied(mut entry) => {
                    let items = field.node.selection_set.node.items;
                    entry.get_mut().node.selection_set.node.items.extend(items);
                }
            },
            Selection::InlineFragment(fragment) => {
                collect(fragment.node.selection_set.node, document, variables, fields);
            }
            Selection::FragmentSpread(spread) => {
                if let Some(fragment) = document.fragments.get(&spread.node.fragment_name.node) {
                    collect(fragment.node.selection_set.node.clone(), document, variables, fields);
                }
            }
        }
    }
}

fn is_skipped(directives: &[Positioned<Directive>], variables: &Variables) -> bool {
    directives.iter().any(|directive| {
        let condition = directive.node.get_argument("if").is_some_and(|condition| match &condition.node {
            ExecutableValue::Variable(name) => variables.get(name) == Some(&Value::Boolean(true)),
            condition => *condition == ExecutableValue::Boolean(true),
        });
        match directive.node.name.node.as_str() {
            "skip" => condition,
            "include" => !condition,
            _ => false,
        }
    })
}

/// Whether a field of the root asks for the schema.
pub fn is_introspection(field: &str) -> bool {
    matches!(field, "__schema" | "__type")
}
