//! Mutations: their fields, inputs and payloads, and what an input asks for.
//!
//! Input is checked before the database is touched. All errors are reported together, each with its path.

use std::{collections::HashSet, fmt};

use super::{
    arguments::{ArgumentPath, Input, Object},
    id::key_of,
    item::{Item, Types, item},
    object::scalar,
};
use crate::{
    graphql::error::{ApiError, BoundedErrors},
    schema::{Column, Entity, Kind, Relation, Scope, capitalized, with_article},
    store::{Change, Create, Relate, Scalar, Values},
};

/// The greatest number of objects that one call may name, nested ones included.
const MAX_OBJECTS: usize = 10_000;

pub fn register(types: &mut Types, entities: &[&'static Entity]) {
    for entity in entities {
        register_payloads(types, entity);
        register_inputs(types, entity);
        for relation in entity.relations {
            register_related(types, entity, relation);
        }
    }
}

/// The fields of the mutation root for an entity.
pub fn mutations(entity: &Entity) -> Vec<Item> {
    let (name, one, many) = (entity.name, entity.noun(), entity.nouns());
    let (a_one, plural) = (with_article(&one), entity.plural());
    let failed = "Null if nothing was written: the errors say why, all errors of the input together \
                  (`BAD_USER_INPUT`), or which objects do not exist (`NOT_FOUND`).";
    let limit = "At most 1,000, which can name 10,000 objects together with what is nested in them.";
    let related = names(entity.relations.iter().map(|relation| relation.to.nouns()));
    let field = |verb: &str, what: &str, about: String, argument: String| {
        let is_list = what != name;
        let input = if is_list { format!("[{verb}{name}Input!]!") } else { format!("{verb}{name}Input!") };
        item(format!("{}{what}", verb.to_ascii_lowercase()), format!("{verb}{what}Payload"), about)
            .with(vec![item("input", input, argument)])
    };
    vec![
        field(
            "Create",
            name,
            format!("Creates {a_one}, with nested instructions for its {related}, in one transaction. {failed}"),
            format!("The {one} to create."),
        ),
        field(
            "Create",
            &plural,
            format!("Creates {many}, with nested instructions for their {related}: all of them or none. {failed}"),
            format!("The {many} to create. {limit}"),
        ),
        field(
            "Update",
            name,
            format!("Changes {a_one} and its links. To change nothing is not an error. {failed}"),
            format!("The {one} to change."),
        ),
        field(
            "Update",
            &plural,
            format!("Changes {many} and their links: all of them or none. {failed}"),
            format!("The {many} to change, each once. {limit}"),
        ),
        field(
            "Delete",
            name,
            format!("Deletes {a_one} and its links. Its {related} stay. {failed}"),
            format!("The {one} to delete."),
        ),
        field(
            "Delete",
            &plural,
            format!("Deletes {many} and their links: all of them or none. Their {related} stay. {failed}"),
            format!("The {many} to delete. At most 1,000; one that is given twice counts once."),
        ),
    ]
}

/// Names as a list in a sentence, each once.
fn names(names: impl Iterator<Item = String>) -> String {
    let mut listed: Vec<String> = Vec::new();
    for name in names {
        if !listed.contains(&name) {
            listed.push(name);
        }
    }
    listed.join(" and ")
}

fn register_payloads(types: &mut Types, entity: &Entity) {
    let (name, one, many) = (entity.name, entity.noun(), entity.nouns());
    let plural = entity.plural();
    let null = "Null if a field of it that cannot be null failed; what was written stays written.";
    for (verb, has_done) in [("Create", "created"), ("Update", "changed"), ("Delete", "deleted")] {
        let state = match verb {
            "Update" => ", as it is now",
            "Delete" => ", as it was, with its related objects as they were",
            _ => "",
        };
        let about = |what: &str| format!("The payload of `{}{what}`.", verb.to_ascii_lowercase());
        let field = item(entity.one, name, format!("The {one} that was {has_done}{state}. {null}"));
        let query = || {
            let about = "The query root, to read what else has changed. It is read after the mutation.";
            item("query", "Query!", about).requires([Scope::Read])
        };
        let mut fields = vec![field];
        if verb == "Create" {
            let connection = format!("{}Connection", entity.many);
            let about = format!(
                "The {one} with its cursor in `Query.{connection}` in the default order. Null if a field that cannot \
                 be null failed; what was written stays written."
            );
            fields.push(item(format!("{}Edge", entity.one), format!("{name}Edge"), about));
        }
        fields.push(query());
        types.object(format!("{verb}{name}Payload"), about(name), fields);
        let state = state.replace("it is", "they are").replace("it was", "they were").replace("its", "their");
        let null = null.replace("a field of it", "a field of one");
        let description = format!("The {many} that were {has_done}{state}, in the order of the input. {null}");
        let field = item(entity.many, format!("[{name}!]"), description);
        types.object(format!("{verb}{plural}Payload"), about(&plural), vec![field, query()]);
    }
}

fn register_inputs(types: &mut Types, entity: &Entity) {
    let (name, one) = (entity.name, entity.noun());
    let a_one = capitalized(&with_article(&one));
    let new = |column: &Column| {
        let nullability = if column.is_nullable { "" } else { "!" };
        item(
            column.field,
            format!("{}{nullability}", scalar(column.kind)),
            format!("{} {}", column.about, rule(column)),
        )
    };
    let fields: Vec<Item> = entity.columns.iter().map(new).collect();
    types.input(format!("New{name}Input"), format!("{a_one} to create, without related objects."), fields);

    let related = |verb: &str| {
        let nothing = if verb == "Create" { "None" } else { "Unchanged" };
        let field = |relation: &Relation| {
            let ty = format!("{name}{}{verb}Input", relation.capitalized());
            item(relation.field, ty, format!("The {}. {nothing} if absent or null.", relation.about))
        };
        entity.relations.iter().map(field).collect::<Vec<_>>()
    };
    let mut fields: Vec<Item> = entity.columns.iter().map(new).collect();
    fields.extend(related("Create"));
    types.input(format!("Create{name}Input"), format!("{a_one} to create, with related objects."), fields);

    let id = || item("id", "ID!", format!("The id of the {one}: global, such as `{name}:1`, or the bare number."));
    let changed = |column: &Column| {
        let null = if column.is_nullable { "null removes the value" } else { "not null" };
        let about = format!("{} {} Unchanged if absent; {null}.", column.about, rule(column));
        item(column.field, scalar(column.kind), about)
    };
    let mut fields = vec![id()];
    fields.extend(entity.columns.iter().map(changed));
    fields.extend(related("Update"));
    types.input(format!("Update{name}Input"), format!("{a_one} to change. Absent fields stay unchanged."), fields);

    types.input(format!("Delete{name}Input"), format!("{a_one} to delete."), vec![id()]);
}

/// What the input for a column must be.
fn rule(column: &Column) -> String {
    match column.kind {
        Kind::Key => "A global id or a bare number.".to_owned(),
        Kind::Text { max_characters } => {
            format!("1 to {max_characters} characters, not blank, without U+0000. Stored unchanged.")
        }
        Kind::Int { min, max } => format!("From {} to {}.", grouped(min), grouped(max)),
    }
}

/// A number with commas between its thousands.
fn grouped(number: i32) -> String {
    let digits = number.unsigned_abs().to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect::<Vec<_>>().join(",");
    if number < 0 { format!("-{groups}") } else { groups }
}

fn register_related(types: &mut Types, entity: &Entity, relation: &Relation) {
    let (name, field) = (entity.name, relation.capitalized());
    let (to, one, many) = (relation.to.name, relation.to.noun(), relation.to.nouns());
    let not_found = "One that does not exist is refused with `NOT_FOUND`.";
    let ids = format!("Ids are global, such as `{to}:1`, or bare numbers. {not_found} At most 1,000.");
    let create = || {
        vec![
            item(
                "create",
                format!("[New{to}Input!]"),
                format!("The {many} to create and link, always. At most 1,000."),
            ),
            item("connect", "[ID!]", format!("The ids of existing {many} to link. {ids}")),
            item(
                "connectOrCreate",
                format!("[New{to}Input!]"),
                format!(
                    "The {many} to link by their exact values: the oldest {one} with these values, or a new one if \
                     there is none. Equal values in one call are one {one}. At most 1,000."
                ),
            )
            .requires(relation.to.requires().iter()),
        ]
    };
    types.input(
        format!("{name}{field}CreateInput"),
        format!("The {many} to link to a new {}. All three lists can be given together.", entity.noun()),
        create(),
    );
    let mut update = create();
    update.push(item(
        "disconnect",
        "[ID!]",
        format!(
            "The ids of {many} to unlink. They are not deleted. One that is in `connect` as well is refused with \
                 `BAD_USER_INPUT`. {ids}"
        ),
    ));
    update.push(item(
        "set",
        "[ID!]",
        format!(
            "The ids of all {many} to be linked; all others are unlinked. An empty list unlinks all. Excludes the \
                 other four lists. Not null. {ids}"
        ),
    ));
    types.input(
        format!("{name}{field}UpdateInput"),
        format!(
            "The changes to the {}. `set` excludes the other four lists, which can be given together.",
            relation.about
        ),
        update,
    );
}

/// Reads the input of a call, and notes what is wrong with it.
#[derive(Debug)]
pub struct InputReader {
    entities: &'static [&'static Entity],
    errors: BoundedErrors,
}

impl InputReader {
    /// The reader of a new call.
    #[must_use]
    pub fn new(entities: &'static [&'static Entity]) -> Self {
        Self { entities, errors: BoundedErrors::default() }
    }

    /// The object to create.
    pub fn create(&mut self, entity: &'static Entity, input: Input<'_>) -> Option<Create> {
        let fields = self.noted(input.object())?;
        let path = input.path();
        let values = self.new_values(entity, fields, path);
        let related = entity.relations.iter().map(|relation| self.related(relation, fields.get(relation.field, &path)));
        Some(Create { values, related: related.collect() })
    }

    /// The object to update. Its key is 0 when its id is wrong.
    pub fn update(&mut self, entity: &'static Entity, input: Input<'_>) -> Option<Change> {
        let fields = self.noted(input.object())?;
        let path = input.path();
        let key = self.key(entity, fields.get("id", &path)).unwrap_or_default();
        let values = entity.columns.iter().map(|column| {
            let input = fields.get(column.field, &path);
            match input.present() {
                None if input.is_null() && !column.is_nullable => {
                    self.note(input.path(), "must not be null: leave it out to keep it as it is");
                    None
                }
                None => input.is_null().then_some(Scalar::Null),
                Some(input) => Some(self.value(column, input)),
            }
        });
        let values = values.collect();
        let related = entity.relations.iter().map(|relation| self.related(relation, fields.get(relation.field, &path)));
        Some(Change { key, values, related: related.collect() })
    }

    /// The key of the object to delete.
    pub fn delete(&mut self, entity: &'static Entity, input: Input<'_>) -> Option<i64> {
        let fields = self.noted(input.object())?;
        let path = input.path();
        self.key(entity, fields.get("id", &path))
    }

    /// Reads each entry of a list. A list that is too long is one error, and its entries are not looked at.
    pub fn list<T>(&mut self, input: Input<'_>, mut read: impl FnMut(&mut Self, Input<'_>) -> Option<T>) -> Vec<T> {
        let (list, path) = (self.noted(input.bounded_list()).unwrap_or_default(), input.path());
        list.iter().enumerate().filter_map(|(index, entry)| read(self, Input::new(entry, path.entry(index)))).collect()
    }

    /// Notes an error.
    pub fn note(&mut self, path: ArgumentPath<'_>, message: impl fmt::Display) {
        self.errors.push(|| path.bad_input(message));
    }

    /// Notes that a call names too many objects.
    pub fn check_objects(&mut self, objects: usize, path: ArgumentPath<'_>) {
        if objects > MAX_OBJECTS {
            let message = format_args!("must name at most {MAX_OBJECTS} objects, nested ones included, not {objects}");
            self.note(path, message);
        }
    }

    /// Goes on only when nothing is wrong.
    ///
    /// # Errors
    ///
    /// All errors. When there are very many, the first ones and how many more there are.
    pub fn finish(self) -> Result<(), Vec<ApiError>> {
        self.errors.finish()
    }

    fn noted<T>(&mut self, read: Result<T, ApiError>) -> Option<T> {
        read.map_err(|error| self.errors.push(|| error)).ok()
    }

    fn key(&mut self, entity: &Entity, input: Input<'_>) -> Option<i64> {
        let key = input.id().and_then(|id| key_of(self.entities, entity, &id, input.path()));
        self.noted(key)
    }

    fn new_values(&mut self, entity: &'static Entity, fields: Object<'_>, path: ArgumentPath<'_>) -> Values {
        let value = |column: &Column| {
            let input = fields.get(column.field, &path);
            if column.is_nullable && input.some().is_none() { Scalar::Null } else { self.value(column, input) }
        };
        entity.columns.iter().map(value).collect()
    }

    /// The value for a column, which must not be null.
    fn value(&mut self, column: &Column, input: Input<'_>) -> Scalar {
        let path = input.path();
        match column.kind {
            Kind::Key => self.noted(input.int()).map_or(Scalar::Null, |number| Scalar::Int(number.into())),
            Kind::Text { max_characters } => {
                let Some(text) = self.noted(input.text()) else { return Scalar::Null };
                if text.trim().is_empty() {
                    self.note(path, "must not be blank");
                }
                let characters = text.chars().count();
                if characters > max_characters {
                    let message = format_args!("must have at most {max_characters} characters, not {characters}");
                    self.note(path, message);
                }
                if text.contains('\0') {
                    self.note(path, "must not contain the character U+0000");
                }
                Scalar::Text(text.to_owned())
            }
            Kind::Int { min, max } => {
                let Some(number) = self.noted(input.int()) else { return Scalar::Null };
                if !(min..=max).contains(&number) {
                    self.note(path, format_args!("must be from {min} to {max}, not {number}"));
                }
                Scalar::Int(number.into())
            }
        }
    }

    /// What a row is to be linked to along a relation.
    fn related(&mut self, relation: &'static Relation, input: Input<'_>) -> Relate {
        let Some(fields) = input.present().and_then(|input| self.noted(input.object())) else {
            return Relate::default();
        };
        let path = &input.path();
        let set = fields.get("set", path);
        if set.is_null() {
            self.note(set.path(), "must not be null: leave it out, or write [] for no links at all");
        }
        let others = ["create", "connect", "connectOrCreate", "disconnect"];
        if set.some().is_some() && others.iter().any(|name| fields.get(name, path).some().is_some()) {
            let message = "must not be given together with other instructions: it replaces all links";
            self.note(set.path(), message);
        }
        let create = self.list(fields.get("create", path), |reader, input| reader.nested(relation, input));
        let connect_or_create =
            self.list(fields.get("connectOrCreate", path), |reader, input| reader.nested(relation, input));
        let connect = self.list(fields.get("connect", path), |reader, input| reader.key(relation.to, input));
        let set = set.present().map(|set| self.list(set, |reader, input| reader.key(relation.to, input)));
        let connected: HashSet<i64> = connect.iter().copied().collect();
        let disconnect = self.list(fields.get("disconnect", path), |reader, input| {
            let key = reader.key(relation.to, input)?;
            if connected.contains(&key) {
                reader.note(input.path(), "must not be in `connect` as well");
            }
            Some(key)
        });
        Relate { create, connect, connect_or_create, disconnect, set }
    }

    fn nested(&mut self, relation: &'static Relation, input: Input<'_>) -> Option<Values> {
        let fields = self.noted(input.object())?;
        Some(self.new_values(relation.to, fields, input.path()))
    }
}
