//! A valid document as async-graphql executes it.
//!
//! async-graphql's own parser refuses some valid strings and overflows the stack on others that are nested, so a
//! document is parsed once, by the library that validates it, and only translated here. A position is the offset in the
//! text for as long as nobody asks: [`super::Document::locate`] makes a line and a column of it.

use std::collections::{HashMap, hash_map::Entry};

use apollo_compiler::{
    ExecutableDocument, Node,
    executable::{self, Value},
};
use async_graphql::{
    Name, Pos, Positioned,
    parser::types::{
        Directive, DocumentOperations, ExecutableDocument as Executable, Field, FragmentDefinition, FragmentSpread,
        InlineFragment, OperationDefinition, OperationType, Selection, SelectionSet, Type, TypeCondition,
        VariableDefinition,
    },
};
use async_graphql_value::{ConstValue, Number, Value as ExecutableValue};

/// One operation of a document with the fragments that it uses.
pub fn executable(document: &ExecutableDocument, operation: &Node<executable::Operation>) -> Executable {
    let mut fragments = HashMap::new();
    add_fragments(document, &operation.selection_set, &mut fragments);
    let definition = OperationDefinition {
        ty: operation_type(operation),
        variable_definitions: operation.variables.iter().filter_map(variable).collect(),
        directives: Vec::new(),
        selection_set: positioned(operation, selection_set(&operation.selection_set)),
    };
    Executable { operations: DocumentOperations::Single(positioned(operation, definition)), fragments }
}

/// Whether it is a query, a mutation or a subscription.
pub fn operation_type(operation: &executable::Operation) -> OperationType {
    match operation.operation_type {
        executable::OperationType::Query => OperationType::Query,
        executable::OperationType::Mutation => OperationType::Mutation,
        executable::OperationType::Subscription => OperationType::Subscription,
    }
}

/// A value without variables.
pub fn constant(value: &Value) -> ConstValue {
    self::value(value).into_const().unwrap_or_default()
}

fn add_fragments(
    document: &ExecutableDocument,
    selections: &executable::SelectionSet,
    fragments: &mut HashMap<Name, Positioned<FragmentDefinition>>,
) {
    for selection in &selections.selections {
        match selection {
            executable::Selection::Field(field) => add_fragments(document, &field.selection_set, fragments),
            executable::Selection::InlineFragment(fragment) => {
                add_fragments(document, &fragment.selection_set, fragments);
            }
            executable::Selection::FragmentSpread(spread) => {
                let Some(fragment) = document.fragments.get(&spread.fragment_name) else { continue };
                if let Entry::Vacant(entry) = fragments.entry(Name::new(&fragment.name)) {
                    let definition = FragmentDefinition {
                        type_condition: type_condition(fragment, fragment.type_condition()),
                        directives: Vec::new(),
                        selection_set: positioned(fragment, selection_set(&fragment.selection_set)),
                    };
                    entry.insert(positioned(fragment, definition));
                    add_fragments(document, &fragment.selection_set, fragments);
                }
            }
        }
    }
}

/// Variables are coerced before async-graphql sees them, so their defaults have nothing left to do.
fn variable(variable: &Node<executable::VariableDefinition>) -> Option<Positioned<VariableDefinition>> {
    let definition = VariableDefinition {
        name: positioned(variable, Name::new(&variable.name)),
        var_type: positioned(variable, Type::new(&variable.ty.to_string())?),
        directives: Vec::new(),
        default_value: None,
    };
    Some(positioned(variable, definition))
}

fn selection_set(selections: &executable::SelectionSet) -> SelectionSet {
    SelectionSet { items: selections.selections.iter().map(selection).collect() }
}

fn selection(selection: &executable::Selection) -> Positioned<Selection> {
    match selection {
        executable::Selection::Field(field) => {
            positioned(field, Selection::Field(positioned(field, self::field(field))))
        }
        executable::Selection::FragmentSpread(spread) => {
            let translated = FragmentSpread {
                fragment_name: positioned(spread, Name::new(&spread.fragment_name)),
                directives: directives(&spread.directives),
            };
            positioned(spread, Selection::FragmentSpread(positioned(spread, translated)))
        }
        executable::Selection::InlineFragment(fragment) => {
            let translated = InlineFragment {
                type_condition: fragment.type_condition.as_ref().map(|name| type_condition(fragment, name)),
                directives: directives(&fragment.directives),
                selection_set: positioned(fragment, selection_set(&fragment.selection_set)),
            };
            positioned(fragment, Selection::InlineFragment(positioned(fragment, translated)))
        }
    }
}

fn field(field: &Node<executable::Field>) -> Field {
    Field {
        alias: field.alias.as_ref().map(|alias| positioned(field, Name::new(alias))),
        name: positioned(field, Name::new(&field.name)),
        arguments: arguments(&field.arguments),
        directives: directives(&field.directives),
        selection_set: positioned(field, selection_set(&field.selection_set)),
    }
}

fn arguments(arguments: &[Node<executable::Argument>]) -> Vec<(Positioned<Name>, Positioned<ExecutableValue>)> {
    let argument = |argument: &Node<executable::Argument>| {
        let name = positioned(argument, Name::new(&argument.name));
        (name, positioned(&argument.value, value(&argument.value)))
    };
    arguments.iter().map(argument).collect()
}

fn directives(directives: &[Node<executable::Directive>]) -> Vec<Positioned<Directive>> {
    let directive = |directive: &Node<executable::Directive>| {
        let name = positioned(directive, Name::new(&directive.name));
        positioned(directive, Directive { name, arguments: arguments(&directive.arguments) })
    };
    directives.iter().map(directive).collect()
}

fn value(value: &Value) -> ExecutableValue {
    match value {
        Value::Null => ExecutableValue::Null,
        Value::Enum(name) => ExecutableValue::Enum(Name::new(name)),
        Value::Variable(name) => ExecutableValue::Variable(Name::new(name)),
        Value::String(text) => ExecutableValue::String(text.clone()),
        Value::Boolean(boolean) => ExecutableValue::Boolean(*boolean),
        Value::Int(number) => self::number(number.as_str()),
        Value::Float(number) => self::number(number.as_str()),
        Value::List(entries) => ExecutableValue::List(entries.iter().map(|entry| self::value(entry)).collect()),
        Value::Object(fields) => {
            ExecutableValue::Object(fields.iter().map(|(name, value)| (Name::new(name), self::value(value))).collect())
        }
    }
}

/// A number that no integer holds is valid as an ID alone, which is a text.
fn number(digits: &str) -> ExecutableValue {
    let number = digits.parse::<i64>().map(Number::from).ok();
    number.map_or_else(|| ExecutableValue::String(digits.to_owned()), ExecutableValue::Number)
}

fn type_condition<T>(node: &Node<T>, name: &apollo_compiler::Name) -> Positioned<TypeCondition> {
    positioned(node, TypeCondition { on: positioned(node, Name::new(name)) })
}

fn positioned<T, U>(node: &Node<T>, translated: U) -> Positioned<U> {
    let column = node.location().map_or(0, |location| location.offset());
    Positioned::new(translated, Pos { line: 0, column })
}
