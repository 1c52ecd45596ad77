//! What apollo-compiler 1.33 does not see in the values of a document: input fields that are given twice, input fields
//! and arguments without a value, and variables in lists and input objects that may be null where nothing may be.

use std::collections::{HashMap, HashSet};

use apollo_compiler::{
    ExecutableDocument, Name, Node, Schema,
    ast::{InputValueDefinition, Type, VariableDefinition},
    executable::{Argument, Directive, Selection, SelectionSet, Value},
};

use super::validation_errors::ValidationErrors;

/// The faults in the values of a document.
pub fn faults(schema: &Schema, document: &ExecutableDocument, text: &str) -> ValidationErrors {
    let mut faults = ValidationErrors::default();
    let mut fragments = HashMap::new();
    for (name, fragment) in &document.fragments {
        let mut values = Values::new(schema, text, &mut faults);
        values.directives(&fragment.directives);
        values.selection_set(&fragment.selection_set);
        fragments.insert(name, (values.usages, values.spreads));
    }
    for operation in document.operations.iter() {
        let mut values = Values::new(schema, text, &mut faults);
        values.directives(&operation.directives);
        for variable in &operation.variables {
            values.directives(&variable.directives);
            if let Some(default) = &variable.default_value {
                values.value(default, &variable.ty, false);
            }
        }
        values.selection_set(&operation.selection_set);
        let (usages, mut spreads) = (values.usages, values.spreads);
        let mut all = vec![&usages];
        let mut seen = HashSet::new();
        while let Some(name) = spreads.pop() {
            if let (true, Some((of_fragment, further))) = (seen.insert(name), fragments.get(name)) {
                all.push(of_fragment);
                spreads.extend(further);
            }
        }
        let variables = operation.variables.iter().map(|variable| (&variable.name, &**variable)).collect();
        for (usage, offsets) in all.into_iter().flatten() {
            if let Some(message) = usage.fault(&variables) {
                faults.note_at(message, offsets.iter().copied());
            }
        }
    }
    faults
}

/// A variable at a place where a value of a type is expected.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Usage<'a> {
    variable: &'a Name,
    ty: &'a Type,
    has_default: bool,
}

impl Usage<'_> {
    /// What is wrong with it (`IsVariableUsageAllowed`).
    fn fault(&self, variables: &HashMap<&Name, &VariableDefinition>) -> Option<String> {
        let variable = variables.get(self.variable)?;
        let has_default = self.has_default || variable.default_value.as_ref().is_some_and(|value| !value.is_null());
        let is_allowed = if has_default {
            variable.ty.is_assignable_to(&nullable(self.ty))
        } else {
            variable.ty.is_assignable_to(self.ty)
        };
        let Self { variable: name, ty, .. } = *self;
        let message = || format!("the variable `${name}` is a {}, where a {ty} is expected", variable.ty);
        (!is_allowed).then(message)
    }
}

fn nullable(ty: &Type) -> Type {
    match ty.clone() {
        Type::NonNullNamed(name) => Type::Named(name),
        Type::NonNullList(item) => Type::List(item),
        nullable => nullable,
    }
}

/// Walks the values below an operation or a fragment.
struct Values<'a, 'f> {
    schema: &'a Schema,
    text: &'a str,
    /// Equal ones are one, with their offsets.
    usages: HashMap<Usage<'a>, Vec<usize>>,
    spreads: Vec<&'a Name>,
    faults: &'f mut ValidationErrors,
}

impl<'a, 'f> Values<'a, 'f> {
    fn new(schema: &'a Schema, text: &'a str, faults: &'f mut ValidationErrors) -> Self {
        Self { schema, text, usages: HashMap::new(), spreads: Vec::new(), faults }
    }

    fn selection_set(&mut self, selection_set: &'a SelectionSet) {
        for selection in &selection_set.selections {
            self.directives(selection.directives());
            match selection {
                Selection::Field(field) => {
                    if let Ok(definition) = self.schema.type_field(&selection_set.ty, &field.name) {
                        self.arguments(&field.name, &field.arguments, &definition.arguments);
                    }
                    self.selection_set(&field.selection_set);
                }
                Selection::InlineFragment(fragment) => self.selection_set(&fragment.selection_set),
                Selection::FragmentSpread(spread) => self.spreads.push(&spread.fragment_name),
            }
        }
    }

    fn directives(&mut self, directives: &'a [Node<Directive>]) {
        for directive in directives {
            if let Some(definition) = self.schema.directive_definitions.get(&directive.name) {
                self.arguments(&directive.name, &directive.arguments, &definition.arguments);
            }
        }
    }

    /// The arguments after a name. One without a value is passed over by the parser, so what is between them is looked
    /// at in the text.
    fn arguments(
        &mut self,
        name: &Name,
        arguments: &'a [Node<Argument>],
        definitions: &'a [Node<InputValueDefinition>],
    ) {
        let after_name = name.location().map_or(self.text.len(), |name| name.end_offset());
        let opening = self.next(after_name);
        if self.text[opening..].starts_with('(') {
            let mut end = opening + 1;
            for location in arguments.iter().filter_map(Node::location) {
                self.between(end, location.offset());
                end = location.end_offset();
            }
            let closing = self.next(end);
            if !self.text[closing..].starts_with(')') {
                self.no_value(closing);
            }
        }
        for argument in arguments {
            if let Some(definition) = definitions.iter().find(|definition| definition.name == argument.name) {
                self.value(&argument.value, &definition.ty, definition.default_value.is_some());
            }
        }
    }

    fn value(&mut self, value: &'a Node<Value>, ty: &'a Type, has_default: bool) {
        match &**value {
            Value::Variable(variable) => {
                let offset = value.location().map(|location| location.offset());
                self.usages.entry(Usage { variable, ty, has_default }).or_default().extend(offset);
            }
            Value::List(entries) if ty.is_list() => {
                for entry in entries {
                    self.value(entry, ty.item_type(), false);
                }
            }
            Value::Object(fields) => {
                self.object(value, fields);
                let Some(object) = self.schema.get_input_object(ty.inner_named_type()) else { return };
                for (name, value) in fields {
                    if let Some(field) = object.fields.get(name) {
                        self.value(value, &field.ty, field.default_value.is_some());
                    }
                }
            }
            _ => {}
        }
    }

    /// Each field may be given once. A name without a value is passed over by the parser, so what is between two fields
    /// is looked at in the text.
    fn object(&mut self, value: &Node<Value>, fields: &'a [(Name, Node<Value>)]) {
        let mut seen = HashSet::new();
        let Some(span) = value.location() else { return };
        let mut end = span.offset() + 1;
        for (name, value) in fields {
            if !seen.insert(name) {
                self.faults.note(format!("the input field `{name}` is given twice"), name.location());
            }
            let (Some(name), Some(value)) = (name.location(), value.location()) else { return };
            self.between(end, name.offset());
            end = value.end_offset();
        }
        self.between(end, span.end_offset() - 1);
    }

    /// Between two values there must be nothing.
    fn between(&mut self, start: usize, end: usize) {
        let next = self.next(start);
        if next < end {
            self.no_value(next);
        }
    }

    fn no_value(&mut self, offset: usize) {
        self.faults.note_at("syntax error: a name needs a colon and a value here", [offset]);
    }

    /// Where the next token begins: after blanks, commas and comments.
    fn next(&self, offset: usize) -> usize {
        let mut rest = self.text.get(offset..).unwrap_or_default();
        loop {
            let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r', ',', '\u{feff}']);
            let Some(comment) = trimmed.strip_prefix('#') else { return self.text.len() - trimmed.len() };
            rest = comment.find(['\n', '\r']).map_or("", |end| &comment[end..]);
        }
    }
}
