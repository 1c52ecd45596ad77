//! What has changed from one schema to another, and what that means for clients.
//!
//! The verdicts are those of GraphQL Inspector: a change is breaking if a document that was valid may be invalid or
//! answered with something else, and dangerous if a client may not expect it. GraphQL Inspector says nothing of
//! `@requiresScopes`; here a change of it is breaking if some credential is not enough any more.

use std::{collections::BTreeSet, fmt};

use apollo_compiler::{
    Name, Node, Schema,
    ast::{Directive, DirectiveDefinition, DirectiveList, Document, InputValueDefinition, Type},
    collections::IndexMap,
    schema::{Component, ExtendedType, FieldDefinition},
    validation::Valid,
};

use super::types::REQUIRES_SCOPES;

/// What a change means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Breaking,
    Dangerous,
    Safe,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SchemaChange {
    pub verdict: Verdict,
    /// Where it is, as a schema coordinate: `Hero.teams(where:)` is `Hero.teams.where`.
    pub coordinate: String,
    pub message: String,
}

impl fmt::Display for SchemaChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Breaking => "breaking",
            Verdict::Dangerous => "dangerous",
            Verdict::Safe => "safe",
        };
        write!(formatter, "{verdict}: {}: {}", self.coordinate, self.message)
    }
}

/// The changes from one schema to another, both in the schema definition language: those that break first.
///
/// # Errors
///
/// What is wrong with one of the texts.
pub fn schema_changes(old: &str, new: &str) -> Result<Vec<SchemaChange>, String> {
    let parse = |text: &str, name: &str| {
        let document = Document::parse(text, name).map_err(|invalid| invalid.errors);
        let schema = document.and_then(|document| document.to_schema_validate().map_err(|invalid| invalid.errors));
        schema.map_err(|errors| {
            let Some(first) = errors.iter().next() else { return format!("{name} is not valid") };
            let place = first
                .line_column_range()
                .map_or(String::new(), |range| format!(" at line {}, column {}", range.start.line, range.start.column));
            format!("{name} is not valid{place}: {}", first.error)
        })
    };
    let (old, new) = (parse(old, "the old schema")?, parse(new, "the new schema")?);
    let mut changes = Changes::default();
    changes.of_schemas(&old, &new);
    let mut changes = changes.0;
    changes.sort();
    Ok(changes)
}

#[derive(Default)]
struct Changes(Vec<SchemaChange>);

impl Changes {
    fn note(&mut self, verdict: Verdict, coordinate: impl Into<String>, message: impl Into<String>) {
        self.0.push(SchemaChange { verdict, coordinate: coordinate.into(), message: message.into() });
    }

    fn of_schemas(&mut self, old: &Valid<Schema>, new: &Valid<Schema>) {
        for (name, ty) in own_types(old) {
            match new.types.get(name) {
                None => self.note(Verdict::Breaking, name.as_str(), "the type was removed"),
                Some(other) => self.of_types(name, ty, other),
            }
        }
        for (name, _) in own_types(new).filter(|(name, _)| !old.types.contains_key(*name)) {
            self.note(Verdict::Safe, name.as_str(), "the type was added");
        }
        for (name, directive) in own_directives(old) {
            match new.directive_definitions.get(name) {
                None => self.note(Verdict::Breaking, format!("@{name}"), "the directive was removed"),
                Some(other) => self.of_directives(directive, other),
            }
        }
        for (name, _) in own_directives(new).filter(|(name, _)| !old.directive_definitions.contains_key(*name)) {
            self.note(Verdict::Safe, format!("@{name}"), "the directive was added");
        }
    }

    fn of_types(&mut self, name: &Name, old: &ExtendedType, new: &ExtendedType) {
        match (old, new) {
            (ExtendedType::Object(old), ExtendedType::Object(new)) => {
                self.of_interfaces(name, &old.implements_interfaces, &new.implements_interfaces);
                self.of_fields(name, &old.fields, &new.fields);
            }
            (ExtendedType::Interface(old), ExtendedType::Interface(new)) => {
                self.of_interfaces(name, &old.implements_interfaces, &new.implements_interfaces);
                self.of_fields(name, &old.fields, &new.fields);
            }
            (ExtendedType::Union(old), ExtendedType::Union(new)) => {
                let names = |members: &apollo_compiler::collections::IndexSet<_>| -> BTreeSet<String> {
                    members.iter().map(|member: &apollo_compiler::schema::ComponentName| member.to_string()).collect()
                };
                let (old, new) = (names(&old.members), names(&new.members));
                for member in old.difference(&new) {
                    self.note(Verdict::Breaking, name.as_str(), format!("the member {member} was removed"));
                }
                for member in new.difference(&old) {
                    self.note(Verdict::Dangerous, name.as_str(), format!("the member {member} was added"));
                }
            }
            (ExtendedType::Enum(old), ExtendedType::Enum(new)) => {
                for (value, definition) in &old.values {
                    match new.values.get(value) {
                        None => self.note(Verdict::Breaking, format!("{name}.{value}"), "the value was removed"),
                        Some(other) => {
                            self.of_uses(&format!("{name}.{value}"), &definition.directives, &other.directives);
                        }
                    }
                }
                for value in new.values.keys().filter(|value| !old.values.contains_key(*value)) {
                    self.note(Verdict::Dangerous, format!("{name}.{value}"), "the value was added");
                }
            }
            (ExtendedType::InputObject(old), ExtendedType::InputObject(new)) => {
                let values = |fields: &IndexMap<Name, Component<InputValueDefinition>>| {
                    fields.values().map(|field| Node::clone(&field.node)).collect::<Vec<_>>()
                };
                self.of_inputs(name, &values(&old.fields), &values(&new.fields), "field");
            }
            (ExtendedType::Scalar(_), ExtendedType::Scalar(_)) => {}
            _ => self.note(Verdict::Breaking, name.as_str(), "the type is of another kind"),
        }
    }

    fn of_interfaces(
        &mut self,
        name: &Name,
        old: &apollo_compiler::collections::IndexSet<apollo_compiler::schema::ComponentName>,
        new: &apollo_compiler::collections::IndexSet<apollo_compiler::schema::ComponentName>,
    ) {
        for interface in old.iter().filter(|interface| !new.contains(*interface)) {
            self.note(Verdict::Breaking, name.as_str(), format!("it does not implement {interface} any more"));
        }
        for interface in new.iter().filter(|interface| !old.contains(*interface)) {
            self.note(Verdict::Dangerous, name.as_str(), format!("it implements {interface}"));
        }
    }

    fn of_fields(
        &mut self,
        name: &Name,
        old: &IndexMap<Name, Component<FieldDefinition>>,
        new: &IndexMap<Name, Component<FieldDefinition>>,
    ) {
        for (field, definition) in old {
            let coordinate = format!("{name}.{field}");
            let Some(other) = new.get(field) else {
                self.note(Verdict::Breaking, coordinate, "the field was removed");
                continue;
            };
            if definition.ty != other.ty {
                let is_safe = is_safe_output(&definition.ty, &other.ty);
                let verdict = if is_safe { Verdict::Safe } else { Verdict::Breaking };
                let message = format!("the type was {}, and is {}", definition.ty, other.ty);
                self.note(verdict, coordinate.clone(), message);
            }
            self.of_uses(&coordinate, &definition.directives, &other.directives);
            self.of_inputs(&coordinate, &definition.arguments, &other.arguments, "argument");
        }
        for field in new.keys().filter(|field| !old.contains_key(*field)) {
            self.note(Verdict::Safe, format!("{name}.{field}"), "the field was added");
        }
    }

    /// The directives of a field, an enum value or an input.
    fn of_uses(&mut self, coordinate: &str, old: &DirectiveList, new: &DirectiveList) {
        let (was, is) = (old.has("deprecated"), new.has("deprecated"));
        if was != is {
            self.note(Verdict::Safe, coordinate, if is { "it is deprecated" } else { "it is not deprecated any more" });
        }
        let (was, is) = (old.get(REQUIRES_SCOPES), new.get(REQUIRES_SCOPES));
        match is {
            _ if was.map(ToString::to_string) == is.map(ToString::to_string) => {}
            None => self.note(Verdict::Safe, coordinate, "it requires no scopes any more"),
            Some(is) => {
                // Who could reach it by one of the sets of scopes still can, if a new set asks for no more.
                let (old, new) = (sets_of_scopes(was), sets_of_scopes(Some(is)));
                let is_safe = old.iter().all(|old| new.iter().any(|new| new.is_subset(old)));
                let verdict = if is_safe { Verdict::Safe } else { Verdict::Breaking };
                self.note(verdict, coordinate, format!("it has {is}"));
            }
        }
    }

    /// Arguments, or fields of an input type.
    fn of_inputs(
        &mut self,
        parent: &(impl fmt::Display + ?Sized),
        old: &[Node<InputValueDefinition>],
        new: &[Node<InputValueDefinition>],
        noun: &str,
    ) {
        for input in old {
            let coordinate = format!("{parent}.{}", input.name);
            let Some(other) = new.iter().find(|other| other.name == input.name) else {
                self.note(Verdict::Breaking, coordinate, format!("the {noun} was removed"));
                continue;
            };
            if input.ty != other.ty {
                let verdict = if is_safe_input(&input.ty, &other.ty) { Verdict::Safe } else { Verdict::Breaking };
                self.note(verdict, coordinate.clone(), format!("the type was {}, and is {}", input.ty, other.ty));
            }
            if input.default_value != other.default_value {
                self.note(Verdict::Dangerous, coordinate.clone(), "the default is another one");
            }
            self.of_uses(&coordinate, &input.directives, &other.directives);
        }
        for input in new.iter().filter(|input| !old.iter().any(|other| other.name == input.name)) {
            let verdict = if input.is_required() { Verdict::Breaking } else { Verdict::Dangerous };
            let required = if input.is_required() { "required " } else { "" };
            self.note(verdict, format!("{parent}.{}", input.name), format!("the {required}{noun} was added"));
        }
    }

    fn of_directives(&mut self, old: &DirectiveDefinition, new: &DirectiveDefinition) {
        let name = format!("@{}", old.name);
        for location in old.locations.iter().filter(|location| !new.locations.contains(location)) {
            self.note(Verdict::Breaking, name.clone(), format!("the location {location} was removed"));
        }
        for location in new.locations.iter().filter(|location| !old.locations.contains(location)) {
            self.note(Verdict::Safe, name.clone(), format!("the location {location} was added"));
        }
        self.of_inputs(&name, &old.arguments, &new.arguments, "argument");
    }
}

/// The sets of scopes one of which `@requiresScopes` asks for. Without it that is the empty one.
fn sets_of_scopes(directive: Option<&Node<Directive>>) -> Vec<BTreeSet<&str>> {
    let Some(directive) = directive else { return vec![BTreeSet::new()] };
    let sets = directive.specified_argument_by_name("scopes").and_then(|scopes| scopes.as_list()).unwrap_or_default();
    sets.iter()
        .map(|set| set.as_list().unwrap_or_default().iter().filter_map(|scope| scope.as_str()).collect())
        .collect()
}

fn own_types(schema: &Schema) -> impl Iterator<Item = (&Name, &ExtendedType)> {
    schema.types.iter().filter(|(_, ty)| !ty.is_built_in())
}

fn own_directives(schema: &Schema) -> impl Iterator<Item = (&Name, &Node<DirectiveDefinition>)> {
    schema.directive_definitions.iter().filter(|(_, directive)| !directive.is_built_in())
}

/// Whether what a field gives is still what a client expects: the same, or never null where it might be.
fn is_safe_output(old: &Type, new: &Type) -> bool {
    match (old, new) {
        (Type::Named(old), Type::Named(new))
        | (Type::Named(old) | Type::NonNullNamed(old), Type::NonNullNamed(new)) => old == new,
        (Type::List(old), Type::List(new)) | (Type::List(old) | Type::NonNullList(old), Type::NonNullList(new)) => {
            is_safe_output(old, new)
        }
        _ => false,
    }
}

/// Whether what a client sends is still taken: the same, or with null as well.
fn is_safe_input(old: &Type, new: &Type) -> bool {
    match (old, new) {
        (Type::Named(old) | Type::NonNullNamed(old), Type::Named(new))
        | (Type::NonNullNamed(old), Type::NonNullNamed(new)) => old == new,
        (Type::List(old) | Type::NonNullList(old), Type::List(new))
        | (Type::NonNullList(old), Type::NonNullList(new)) => is_safe_input(old, new),
        _ => false,
    }
}
