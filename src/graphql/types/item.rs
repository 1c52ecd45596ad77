//! What types are made of: fields, arguments, input fields and enum values.

use crate::access::{Scope, Scopes};

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
