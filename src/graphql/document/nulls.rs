//! Variables that are null where nothing may be.
//!
//! A variable that may be null may stand where nothing may, when one of the two has a default (All Variable Usages Are
//! Allowed). Null that is sent for it is an error then: of the field whose argument it stands in (Coercing Field
//! Arguments), or of the request, as the condition of a directive, which decides about more than one field.

use std::collections::{HashMap, HashSet};

use apollo_compiler::{
    ExecutableDocument, Node, Schema,
    ast::Type,
    executable::{self, Argument, Selection, SelectionSet},
};
use async_graphql::{Name, Pos, Value, Variables, indexmap::IndexMap};

use crate::graphql::error::{ApiError, Code, shown_path};

/// The errors of variables that are null.
#[derive(Debug, Default)]
pub struct Nulls {
    /// Those of the request, with their places.
    pub conditions: Vec<ApiError>,
    /// Those of fields, the first of each argument, by the offset of its value.
    arguments: HashMap<usize, ApiError>,
}

impl Nulls {
    /// The error of the argument whose value is at an offset.
    #[must_use]
    pub fn of_argument(&self, offset: usize) -> Option<&ApiError> {
        self.arguments.get(&offset)
    }

    /// What is wrong with the variables of a request that are null.
    #[must_use]
    pub fn new(
        schema: &Schema,
        document: &ExecutableDocument,
        operation: &Node<executable::Operation>,
        variables: &Variables,
    ) -> Self {
        let mut nulls = Self::default();
        let is_null = |name: &str| variables.get(name) == Some(&Value::Null);
        let mut conditions: IndexMap<Name, ApiError> = IndexMap::new();
        visit(schema, document, operation, |usage| {
            let Usage { variable, ty, path, offset, argument } = *usage;
            if !is_null(variable) {
                return;
            }
            let position = Pos { line: 0, column: offset };
            let error = |message: String, argument_path: &[Value]| {
                let mut error = ApiError::new(Code::BadUserInput, message);
                error.argument_path = argument_path.to_vec();
                error.variable_path = vec![Value::from(variable)];
                error.positions.push(position);
                error
            };
            if let Some(argument) = argument {
                let message = || format!("`${variable}` must not be null: `{}` is of the type {ty}", shown_path(path));
                nulls.arguments.entry(argument).or_insert_with(|| error(message(), path));
            } else if let Some(error) = conditions.get_mut(variable) {
                error.positions.push(position);
            } else {
                let message = format!("`${variable}` must not be null: it is the condition of a directive");
                conditions.insert(Name::new(variable), error(message, &[]));
            }
        });
        nulls.conditions = conditions.into_values().collect();
        nulls
    }
}

/// The variables of an operation that may be null, and stand where nothing may.
pub fn where_nothing_may_be_null(
    schema: &Schema,
    document: &ExecutableDocument,
    operation: &Node<executable::Operation>,
) -> HashSet<Name> {
    let nullable = operation.variables.iter().filter(|variable| !variable.ty.is_non_null());
    let nullable: HashSet<&str> = nullable.map(|variable| variable.name.as_str()).collect();
    let mut names = HashSet::new();
    if !nullable.is_empty() {
        visit(schema, document, operation, |usage| {
            if nullable.contains(usage.variable) {
                names.insert(Name::new(usage.variable));
            }
        });
    }
    names
}

/// A variable where nothing may be null.
struct Usage<'a> {
    variable: &'a str,
    ty: &'a Type,
    /// From the name of the argument inwards.
    path: &'a [Value],
    offset: usize,
    /// The offset of the value of the argument that it stands in. None for that of a directive.
    argument: Option<usize>,
}

/// Shows each variable of an operation that stands where nothing may be null, with its fragments once each.
fn visit<'a>(
    schema: &'a Schema,
    document: &'a ExecutableDocument,
    operation: &'a executable::Operation,
    visitor: impl FnMut(&Usage<'_>),
) {
    let mut visit = Visit { schema, path: Vec::new(), argument: None, spreads: Vec::new(), visitor };
    visit.selection_set(&operation.selection_set);
    let mut seen = HashSet::new();
    while let Some(name) = visit.spreads.pop() {
        if let (true, Some(fragment)) = (seen.insert(name), document.fragments.get(name)) {
            visit.selection_set(&fragment.selection_set);
        }
    }
}

struct Visit<'a, V> {
    schema: &'a Schema,
    path: Vec<Value>,
    argument: Option<usize>,
    spreads: Vec<&'a apollo_compiler::Name>,
    visitor: V,
}

impl<'a, V: FnMut(&Usage<'_>)> Visit<'a, V> {
    fn selection_set(&mut self, selection_set: &'a SelectionSet) {
        for selection in &selection_set.selections {
            for directive in selection.directives() {
                let definition = self.schema.directive_definitions.get(&directive.name);
                for argument in &directive.arguments {
                    let ty = definition.and_then(|definition| definition.argument_by_name(&argument.name));
                    self.argument = None;
                    self.value_of(argument, ty.map(|ty| &*ty.ty));
                }
            }
            match selection {
                Selection::Field(field) => {
                    for argument in &field.arguments {
                        let ty = field.definition.argument_by_name(&argument.name);
                        self.argument = argument.value.location().map(|location| location.offset());
                        self.value_of(argument, ty.map(|ty| &*ty.ty));
                    }
                    self.selection_set(&field.selection_set);
                }
                Selection::InlineFragment(fragment) => self.selection_set(&fragment.selection_set),
                Selection::FragmentSpread(spread) => self.spreads.push(&spread.fragment_name),
            }
        }
    }

    fn value_of(&mut self, argument: &'a Argument, ty: Option<&'a Type>) {
        if let Some(ty) = ty {
            self.at(argument.name.as_str().into(), |visit| visit.value(&argument.value, ty));
        }
    }

    fn value(&mut self, value: &'a Node<executable::Value>, ty: &'a Type) {
        match &**value {
            executable::Value::Variable(variable) if ty.is_non_null() => {
                let offset = value.location().map_or(0, |location| location.offset());
                let usage = Usage { variable, ty, path: &self.path, offset, argument: self.argument };
                (self.visitor)(&usage);
            }
            executable::Value::List(entries) if ty.is_list() => {
                for (index, entry) in entries.iter().enumerate() {
                    self.at(index.into(), |visit| visit.value(entry, ty.item_type()));
                }
            }
            executable::Value::Object(fields) => {
                let Some(object) = self.schema.get_input_object(ty.inner_named_type()) else { return };
                for (name, value) in fields {
                    if let Some(field) = object.fields.get(name) {
                        self.at(name.as_str().into(), |visit| visit.value(value, &field.ty));
                    }
                }
            }
            _ => {}
        }
    }

    fn at(&mut self, segment: Value, visit: impl FnOnce(&mut Self)) {
        self.path.push(segment);
        visit(self);
        self.path.pop();
    }
}
