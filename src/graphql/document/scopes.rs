//! The scopes that an operation asks for.
//!
//! The schema says with `@requiresScopes` what asks for a scope beyond that of the operation. What an operation asks
//! for at most is known with the document, so that most requests cost no more than a comparison. Only of a request that
//! may lack a scope each place is looked at, with the values of its variables.

use std::collections::HashSet;

use apollo_compiler::{
    ExecutableDocument, Name, Node,
    ast::{InputValueDefinition, Type},
    executable::{self, Directive, Selection, SelectionSet},
    schema::Component,
};
use async_graphql::{Pos, Value, Variables, indexmap::IndexMap};

use super::root::is_introspection;
use crate::{
    graphql::{
        definition::{Definition, required},
        error::{ApiError, Code, bounded, shown_path},
    },
    schema::{Scope, Scopes},
};

/// The greatest number of places of one error that are reported.
const MAX_PLACES: usize = 20;

/// All scopes that an operation may ask for, whatever its variables are.
#[must_use]
pub fn asked(definition: &Definition, document: &ExecutableDocument, operation: &executable::Operation) -> Scopes {
    let mut asked = Scopes::NONE;
    visit(definition, document, operation, None, |place| asked = asked.with(place.scope));
    asked
}

/// An error for each thing in an operation that asks for a scope which is not granted, with all its places.
#[must_use]
pub fn denied(
    definition: &Definition,
    document: &ExecutableDocument,
    operation: &executable::Operation,
    variables: &Variables,
    granted: Scopes,
    code: Code,
) -> Vec<ApiError> {
    let mut errors: IndexMap<(String, Scope, String, bool), ApiError> = IndexMap::new();
    visit(definition, document, operation, Some(variables), |place| {
        if granted.allow(place.scope) {
            return;
        }
        let coordinate = format!("{}.{}", place.parent, place.name);
        let key = (coordinate, place.scope, shown_path(place.path), place.in_variable);
        let error = errors.entry(key).or_insert_with_key(|(coordinate, ..)| {
            let mut error = ApiError::denied(code, place.scope, coordinate);
            let path = if place.in_variable { &mut error.variable_path } else { &mut error.argument_path };
            *path = place.path.to_vec();
            error
        });
        if let Some(offset) = place.offset {
            let position = Pos { line: 0, column: offset };
            if error.positions.len() < MAX_PLACES && !error.positions.contains(&position) {
                error.positions.push(position);
            }
        }
    });
    bounded(errors.into_values())
}

/// The fields of the root, but for those that conditions leave out with these variables.
pub fn root_fields<'a>(
    document: &'a ExecutableDocument,
    operation: &'a executable::Operation,
    variables: Option<&Variables>,
) -> Vec<&'a Node<executable::Field>> {
    let (mut fields, mut seen) = (Vec::new(), HashSet::new());
    let mut selections: Vec<&Selection> = operation.selection_set.selections.iter().rev().collect();
    while let Some(selection) = selections.pop() {
        if is_left_out(selection, variables) {
            continue;
        }
        let below = match selection {
            Selection::Field(field) => {
                fields.push(field);
                continue;
            }
            Selection::InlineFragment(fragment) => Some(&fragment.selection_set),
            Selection::FragmentSpread(spread) => {
                let fragment = document.fragments.get(&spread.fragment_name);
                fragment.filter(|_| seen.insert(&spread.fragment_name)).map(|fragment| &fragment.selection_set)
            }
        };
        selections.extend(below.into_iter().flat_map(|below| below.selections.iter().rev()));
    }
    fields
}

/// Whether a selection is skipped, or not included, with these variables.
fn is_left_out(selection: &Selection, variables: Option<&Variables>) -> bool {
    let is = |directive: &Node<Directive>, condition: bool| {
        let value = directive.specified_argument_by_name("if").map(|value| &**value);
        match value {
            Some(executable::Value::Boolean(value)) => *value == condition,
            Some(executable::Value::Variable(name)) => {
                variables.is_some_and(|variables| variables.get(name.as_str()) == Some(&Value::Boolean(condition)))
            }
            _ => false,
        }
    };
    let directives = selection.directives();
    directives.get_all("skip").any(|skip| is(skip, true))
        || directives.get_all("include").any(|include| is(include, false))
}

/// A place that asks for a scope.
struct RequiredScope<'p> {
    scope: Scope,
    /// The type and the field, input field or enum value that asks for it.
    parent: &'p str,
    name: &'p str,
    /// From the name of the argument or variable inwards. Empty for a field.
    path: &'p [Value],
    in_variable: bool,
    /// Where it is in the text of the document.
    offset: Option<usize>,
}

/// Shows each place of an operation that asks for a scope. Without variables it shows what they may ask for, and what
/// conditions may leave out.
fn visit<'a>(
    definition: &'a Definition,
    document: &'a ExecutableDocument,
    operation: &'a executable::Operation,
    variables: Option<&'a Variables>,
    visitor: impl FnMut(&RequiredScope<'_>),
) {
    let mut visit = Visit { definition, variables, path: Vec::new(), in_variable: false, spreads: Vec::new(), visitor };
    // A mutation asks for `write`, every other operation for `read`.
    let scope = if operation.is_mutation() { Scope::Write } else { Scope::Read };
    // Introspection has a setting of its own.
    let fields = root_fields(document, operation, variables);
    for field in fields.into_iter().filter(|field| !is_introspection(&field.name)) {
        visit.show(scope, &operation.selection_set.ty, &field.name, offset(field));
    }
    visit.selection_set(&operation.selection_set);
    let mut seen = HashSet::new();
    while let Some(name) = visit.spreads.pop() {
        if let (true, Some(fragment)) = (seen.insert(name), document.fragments.get(name)) {
            visit.selection_set(&fragment.selection_set);
        }
    }
}

struct Visit<'a, V> {
    definition: &'a Definition,
    variables: Option<&'a Variables>,
    path: Vec<Value>,
    in_variable: bool,
    spreads: Vec<&'a Name>,
    visitor: V,
}

impl<'a, V: FnMut(&RequiredScope<'_>)> Visit<'a, V> {
    fn show(&mut self, scope: Scope, parent: &str, name: &str, offset: Option<usize>) {
        let (path, in_variable) = (&*self.path, self.in_variable);
        (self.visitor)(&RequiredScope { scope, parent, name, path, in_variable, offset });
    }

    fn show_all(&mut self, scopes: Scopes, parent: &str, name: &str, offset: Option<usize>) {
        for scope in scopes.iter() {
            self.show(scope, parent, name, offset);
        }
    }

    fn selection_set(&mut self, selection_set: &'a SelectionSet) {
        for selection in &selection_set.selections {
            if is_left_out(selection, self.variables) {
                continue;
            }
            match selection {
                Selection::Field(field) => {
                    let scopes = required(&field.definition.directives);
                    self.show_all(scopes, &selection_set.ty, &field.name, offset(field));
                    self.arguments(field);
                    self.selection_set(&field.selection_set);
                }
                Selection::InlineFragment(fragment) => self.selection_set(&fragment.selection_set),
                Selection::FragmentSpread(spread) => self.spreads.push(&spread.fragment_name),
            }
        }
    }

    fn arguments(&mut self, field: &'a executable::Field) {
        for argument in &field.arguments {
            if let Some(definition) = field.definition.argument_by_name(&argument.name) {
                self.at(argument.name.as_str().into(), |visit| visit.value(&argument.value, &definition.ty));
            }
        }
    }

    /// A value in the text of the document.
    fn value(&mut self, value: &'a Node<executable::Value>, ty: &'a Type) {
        if self.definition.guarded(ty).is_empty() {
            return;
        }
        match &**value {
            executable::Value::Variable(name) => self.variable(name, value, ty),
            executable::Value::List(entries) => {
                for (index, entry) in entries.iter().enumerate() {
                    self.at(index.into(), |visit| visit.value(entry, ty.item_type()));
                }
            }
            executable::Value::Enum(name) => self.symbol(ty, name, offset(value)),
            executable::Value::Object(fields) => {
                for (name, value) in fields {
                    let Some((object, field)) = self.input_field(ty, name) else { continue };
                    self.at(name.as_str().into(), |visit| {
                        if !value.is_null() && !visit.is_absent(value) {
                            visit.show_all(required(&field.directives), object, name, offset(value));
                        }
                        visit.value(value, &field.ty);
                    });
                }
            }
            _ => {}
        }
    }

    fn variable(&mut self, name: &'a Name, value: &Node<executable::Value>, ty: &'a Type) {
        let Some(variables) = self.variables else {
            // It may be anything of its type.
            return self.show_all(self.definition.guarded(ty), ty.inner_named_type(), name, offset(value));
        };
        let Some(value) = variables.get(name.as_str()) else { return };
        let outer = (std::mem::take(&mut self.path), std::mem::replace(&mut self.in_variable, true));
        self.at(name.as_str().into(), |visit| visit.sent(value, ty));
        (self.path, self.in_variable) = outer;
    }

    /// Whether it is a variable that is null or not sent.
    fn is_absent(&self, value: &executable::Value) -> bool {
        let executable::Value::Variable(name) = value else { return false };
        let is_absent = |variables: &Variables| matches!(variables.get(name.as_str()), None | Some(Value::Null));
        self.variables.is_some_and(is_absent)
    }

    /// A value that was sent in a variable, or its default.
    fn sent(&mut self, value: &Value, ty: &'a Type) {
        if self.definition.guarded(ty).is_empty() {
            return;
        }
        match value {
            Value::List(entries) => {
                for (index, entry) in entries.iter().enumerate() {
                    self.at(index.into(), |visit| visit.sent(entry, ty.item_type()));
                }
            }
            Value::Enum(name) => self.symbol(ty, name, None),
            Value::String(name) => self.symbol(ty, name, None),
            Value::Object(fields) => {
                for (name, value) in fields.iter().filter(|(_, value)| **value != Value::Null) {
                    let Some((object, field)) = self.input_field(ty, name) else { continue };
                    self.at(name.as_str().into(), |visit| {
                        visit.show_all(required(&field.directives), object, name, None);
                        visit.sent(value, &field.ty);
                    });
                }
            }
            _ => {}
        }
    }

    fn input_field(&self, ty: &'a Type, name: &str) -> Option<(&'a str, &'a Component<InputValueDefinition>)> {
        let object = ty.inner_named_type();
        Some((object, self.definition.schema.get_input_object(object)?.fields.get(name)?))
    }

    fn symbol(&mut self, ty: &'a Type, name: &str, offset: Option<usize>) {
        let ty = ty.inner_named_type();
        let Some(value) = self.definition.schema.get_enum(ty).and_then(|definition| definition.values.get(name)) else {
            return;
        };
        self.show_all(required(&value.directives), ty, name, offset);
    }

    fn at(&mut self, segment: Value, visit: impl FnOnce(&mut Self)) {
        self.path.push(segment);
        visit(self);
        self.path.pop();
    }
}

fn offset<T>(node: &Node<T>) -> Option<usize> {
    node.location().map(|location| location.offset())
}
