//! The types of the schema, as values: what they are made of, and whether that makes a schema.

use std::collections::HashSet;

use crate::schema::{Scope, Scopes};

/// A field, an argument, an input field or an enum value.
#[derive(Debug)]
pub struct Item {
    pub name: String,
    pub ty: String,
    pub description: String,
    pub default: Option<&'static str>,
    pub arguments: Vec<Item>,
    pub requires: Scopes,
}

/// A field, an argument or an input field of a type, such as `[Hero!]!`.
pub fn item(name: impl Into<String>, ty: impl Into<String>, description: impl Into<String>) -> Item {
    Item {
        name: name.into(),
        ty: ty.into(),
        description: description.into(),
        default: None,
        arguments: Vec::new(),
        requires: Scopes::NONE,
    }
}

/// An enum value.
pub fn value(name: impl Into<String>, description: impl Into<String>) -> Item {
    item(name, "", description)
}

impl Item {
    /// The same argument or input field, with this literal as its default. Whoever reads the value applies it.
    #[must_use]
    pub fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    /// The same field, with these arguments.
    #[must_use]
    pub fn with(self, arguments: Vec<Self>) -> Self {
        Self { arguments, ..self }
    }

    /// The same field, input field or enum value, which asks for these scopes.
    #[must_use]
    pub fn requires(self, scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self { requires: scopes.into_iter().collect(), ..self }
    }
}

/// A type.
#[derive(Debug)]
pub struct Type {
    pub kind: TypeKind,
    pub name: String,
    pub description: String,
    /// Its fields, input fields or enum values.
    pub items: Vec<Item>,
}

/// What a type is.
#[derive(Debug)]
pub enum TypeKind {
    Object,
    /// With the names of the object types that implement it.
    Interface(Vec<&'static str>),
    Input,
    Enum,
}

/// The types of a schema.
#[derive(Debug, Default)]
pub struct Types(Vec<Type>);

impl Types {
    /// Adds an object type.
    pub fn object(&mut self, name: impl Into<String>, description: impl Into<String>, fields: Vec<Item>) {
        self.add(TypeKind::Object, name, description, fields);
    }

    /// Adds an interface, which the object types with these names implement.
    pub fn interface(
        &mut self,
        name: impl Into<String>,
        description: impl Into<String>,
        fields: Vec<Item>,
        objects: Vec<&'static str>,
    ) {
        self.add(TypeKind::Interface(objects), name, description, fields);
    }

    /// Adds an input object type.
    pub fn input(&mut self, name: impl Into<String>, description: impl Into<String>, fields: Vec<Item>) {
        self.add(TypeKind::Input, name, description, fields);
    }

    /// Adds an enum type.
    pub fn enumeration(&mut self, name: impl Into<String>, description: impl Into<String>, values: Vec<Item>) {
        self.add(TypeKind::Enum, name, description, values);
    }

    fn add(&mut self, kind: TypeKind, name: impl Into<String>, description: impl Into<String>, items: Vec<Item>) {
        self.0.push(Type { kind, name: name.into(), description: description.into(), items });
    }

    /// Checks that each name is one of GraphQL, and is given once.
    ///
    /// # Errors
    ///
    /// What is wrong with a name, and what it is the name of.
    pub fn validate(&self) -> Result<(), String> {
        let mut types = HashSet::new();
        for ty in &self.0 {
            check_name(&ty.name, "a type")?;
            if !types.insert(&*ty.name) {
                return Err(format!(
                    "two types are named {}: entities and relations must differ in their names",
                    ty.name
                ));
            }
            let mut items = HashSet::new();
            for item in &ty.items {
                check_name(&item.name, &ty.name)?;
                if !items.insert(&*item.name) {
                    return Err(format!(
                        "{} has two fields named {}: columns, relations and their counts must differ in their names, \
                         and so must entities in both of theirs",
                        ty.name, item.name
                    ));
                }
            }
        }
        Ok(())
    }
}

impl IntoIterator for Types {
    type Item = Type;
    type IntoIter = std::vec::IntoIter<Type>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Checks a name (Names, Reserved Names).
///
/// # Errors
///
/// When it is none.
pub fn check_name(name: &str, of: &str) -> Result<(), String> {
    let is_first = |first: char| first.is_ascii_alphabetic() || first == '_';
    let is_name = name.starts_with(is_first) && name.chars().all(|next| next.is_ascii_alphanumeric() || next == '_');
    if is_name && !name.starts_with("__") {
        return Ok(());
    }
    Err(format!(
        "{name:?} of {of} is no name of GraphQL: letters, digits and underscores, the first no digit, and not two \
         underscores first"
    ))
}

/// A description in lines of at most 116 characters, which the SDL indents.
pub fn wrapped(description: String) -> String {
    const MAX_CHARACTERS: usize = 116;
    let mut length = 0;
    let words = description.split_inclusive([' ', '\n']).map(|word| {
        let characters = word.trim_end().chars().count();
        let breaks = length > 0 && length + characters > MAX_CHARACTERS;
        length = if word.ends_with('\n') { 0 } else { characters + 1 + if breaks { 0 } else { length } };
        if breaks { format!("\n{word}") } else { word.to_owned() }
    });
    words.collect::<String>().replace(" \n", "\n")
}
