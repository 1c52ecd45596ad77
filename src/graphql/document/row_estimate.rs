//! How many rows an operation may answer with, estimated from the numbers that it asks for.

use std::collections::HashMap;

use apollo_compiler::{
    ExecutableDocument, Name,
    executable::{Field, Operation, Selection, SelectionSet, Value},
};
use async_graphql::Variables;

use crate::graphql::types::{DEFAULT_LIMIT, MAX_LIMIT};

/// The arguments that say how many objects a field has at most.
const PAGE_ARGUMENTS: [&str; 3] = ["limit", "first", "last"];
/// How many objects the list of a relation is taken to have when the query does not say. Most have few: the default
/// limit in its place would refuse every query of four levels.
const RELATED: u64 = 10;

/// Whether the estimate of an operation depends on its variables: one stands for a number of objects, or for a list.
pub fn depends_on_variables(document: &ExecutableDocument, operation: &Operation) -> bool {
    operation.all_fields(document).any(|field| {
        let mut variables = field.arguments.iter().filter(|argument| argument.value.as_variable().is_some());
        variables.any(|argument| {
            let definition = field.definition.argument_by_name(&argument.name);
            is_page(&argument.name) || definition.is_some_and(|definition| definition.ty.is_list())
        })
    })
}

/// Estimates the number of rows: that of each list multiplied by those of the lists around it, and all of them added
/// up.
pub fn estimate(document: &ExecutableDocument, operation: &Operation, variables: &Variables) -> u64 {
    Estimate { document, variables, fragments: HashMap::new() }.selection_set(&operation.selection_set, true)
}

struct Estimate<'a> {
    document: &'a ExecutableDocument,
    variables: &'a Variables,
    /// Each fragment is estimated once.
    fragments: HashMap<&'a Name, u64>,
}

impl<'a> Estimate<'a> {
    /// The rows below one object.
    fn selection_set(&mut self, selection_set: &'a SelectionSet, is_root: bool) -> u64 {
        let rows = selection_set.selections.iter().map(|selection| match selection {
            Selection::Field(field) => self.field(field, is_root),
            Selection::InlineFragment(fragment) => self.selection_set(&fragment.selection_set, is_root),
            Selection::FragmentSpread(spread) => self.fragment(&spread.fragment_name, is_root),
        });
        rows.fold(0, u64::saturating_add)
    }

    fn fragment(&mut self, name: &'a Name, is_root: bool) -> u64 {
        if let Some(rows) = self.fragments.get(name) {
            return *rows;
        }
        let Some(fragment) = self.document.fragments.get(name) else { return 0 };
        let rows = self.selection_set(&fragment.selection_set, is_root);
        self.fragments.insert(name, rows);
        rows
    }

    /// What a connection wraps around its rows counts as well as they do.
    fn field(&mut self, field: &'a Field, is_root: bool) -> u64 {
        if field.selection_set.selections.is_empty() {
            return 0;
        }
        // The payload of a mutation leads to the root again.
        let below = self.selection_set(&field.selection_set, field.selection_set.ty == "Query");
        self.objects(field, is_root).saturating_mul(below.saturating_add(1))
    }

    /// The objects that a field gives.
    fn objects(&self, field: &Field, is_root: bool) -> u64 {
        if !field.definition.arguments.iter().any(|argument| is_page(&argument.name)) {
            let lists = field.arguments.iter().filter_map(|argument| self.length(&argument.value));
            return lists.max().unwrap_or(1).max(1);
        }
        let page = field.arguments.iter().filter(|argument| is_page(&argument.name));
        let asked = page.filter_map(|argument| self.number(&argument.value)).max();
        let asked = asked.unwrap_or(if is_root { DEFAULT_LIMIT.unsigned_abs().into() } else { RELATED });
        // More is for the field to refuse.
        asked.min(MAX_LIMIT.unsigned_abs().into())
    }

    fn number(&self, value: &Value) -> Option<u64> {
        match value {
            Value::Int(number) => number.as_str().parse().ok(),
            Value::Variable(name) => match self.variables.get(name.as_str())? {
                async_graphql::Value::Number(number) => number.as_u64(),
                _ => None,
            },
            _ => None,
        }
    }

    fn length(&self, value: &Value) -> Option<u64> {
        match value {
            Value::List(list) => Some(list.len() as u64),
            Value::Variable(name) => match self.variables.get(name.as_str())? {
                async_graphql::Value::List(list) => Some(list.len() as u64),
                _ => None,
            },
            _ => None,
        }
    }
}

fn is_page(argument: &str) -> bool {
    PAGE_ARGUMENTS.contains(&argument)
}
