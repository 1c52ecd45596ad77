//! Types of the schema by values: the only file that names async-graphql's registry.
//!
//! `async_graphql::registry` is public and hidden from the documentation of async-graphql 7. Types are inserted by
//! name, in any order. Nobody notices a name without a type, so a test parses the schema.

use async_graphql::{
    indexmap::IndexMap,
    registry::{Deprecation, MetaEnumValue, MetaField, MetaInputValue, MetaType},
};

pub use async_graphql::registry::Registry;

/// A field, an argument, an input field or an enum value.
#[derive(Debug)]
pub struct Item {
    name: String,
    ty: String,
    description: String,
    default: Option<&'static str>,
    arguments: Vec<Item>,
}

/// A field, an argument or an input field of a type, such as `[Hero!]!`.
pub fn item(name: impl Into<String>, ty: impl Into<String>, description: impl Into<String>) -> Item {
    Item { name: name.into(), ty: ty.into(), description: description.into(), default: None, arguments: Vec::new() }
}

/// An enum value.
pub fn value(name: impl Into<String>, description: impl Into<String>) -> Item {
    item(name, "", description)
}

/// A description in lines of at most 116 characters, which the SDL indents.
fn wrapped(description: String) -> String {
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

    fn into_field(self) -> MetaField {
        MetaField {
            name: self.name,
            description: Some(wrapped(self.description)),
            args: self.arguments.into_iter().map(|argument| (argument.name.clone(), argument.into_input())).collect(),
            ty: self.ty,
            deprecation: Deprecation::NoDeprecated,
            cache_control: async_graphql::CacheControl::default(),
            external: false,
            requires: None,
            provides: None,
            visible: None,
            shareable: false,
            inaccessible: false,
            tags: Vec::new(),
            override_from: None,
            compute_complexity: None,
            directive_invocations: Vec::new(),
            requires_scopes: Vec::new(),
        }
    }

    fn into_input(self) -> MetaInputValue {
        MetaInputValue {
            name: self.name,
            description: Some(wrapped(self.description)),
            ty: self.ty,
            deprecation: Deprecation::NoDeprecated,
            default_value: self.default.map(str::to_owned),
            visible: None,
            inaccessible: false,
            tags: Vec::new(),
            is_secret: false,
            directive_invocations: Vec::new(),
        }
    }

    fn into_value(self) -> MetaEnumValue {
        MetaEnumValue {
            name: self.name,
            description: Some(wrapped(self.description)),
            deprecation: Deprecation::NoDeprecated,
            visible: None,
            inaccessible: false,
            tags: Vec::new(),
            directive_invocations: Vec::new(),
        }
    }
}

/// Items by their names, in their order.
fn by_name<T>(items: Vec<Item>, convert: fn(Item) -> T) -> IndexMap<String, T> {
    items.into_iter().map(|item| (item.name.clone(), convert(item))).collect()
}

/// Adds an object type.
pub fn object(registry: &mut Registry, name: &str, description: impl Into<String>, fields: Vec<Item>) {
    let object = MetaType::Object {
        name: name.to_owned(),
        description: Some(wrapped(description.into())),
        fields: by_name(fields, Item::into_field),
        cache_control: async_graphql::CacheControl::default(),
        extends: false,
        shareable: false,
        resolvable: true,
        keys: None,
        visible: None,
        inaccessible: false,
        interface_object: false,
        tags: Vec::new(),
        is_subscription: false,
        rust_typename: None,
        directive_invocations: Vec::new(),
        requires_scopes: Vec::new(),
    };
    registry.types.insert(name.to_owned(), object);
}

/// Adds an interface, and says of the object types with these names that they implement it.
pub fn interface<'a>(
    registry: &mut Registry,
    name: &str,
    description: impl Into<String>,
    fields: Vec<Item>,
    objects: impl Iterator<Item = &'a str> + Clone,
) {
    let interface = MetaType::Interface {
        name: name.to_owned(),
        description: Some(wrapped(description.into())),
        fields: by_name(fields, Item::into_field),
        possible_types: objects.clone().map(str::to_owned).collect(),
        extends: false,
        keys: None,
        visible: None,
        inaccessible: false,
        tags: Vec::new(),
        rust_typename: None,
        directive_invocations: Vec::new(),
        requires_scopes: Vec::new(),
    };
    registry.types.insert(name.to_owned(), interface);
    for object in objects {
        registry.add_implements(object, name);
    }
}

/// Adds an input object type.
pub fn input(registry: &mut Registry, name: &str, description: impl Into<String>, fields: Vec<Item>) {
    let input = MetaType::InputObject {
        name: name.to_owned(),
        description: Some(wrapped(description.into())),
        input_fields: by_name(fields, Item::into_input),
        visible: None,
        inaccessible: false,
        tags: Vec::new(),
        rust_typename: None,
        oneof: false,
        directive_invocations: Vec::new(),
    };
    registry.types.insert(name.to_owned(), input);
}

/// Adds an enum type.
pub fn enumeration(registry: &mut Registry, name: &str, description: impl Into<String>, values: Vec<Item>) {
    let enumeration = MetaType::Enum {
        name: name.to_owned(),
        description: Some(wrapped(description.into())),
        enum_values: by_name(values, Item::into_value),
        visible: None,
        inaccessible: false,
        tags: Vec::new(),
        rust_typename: None,
        directive_invocations: Vec::new(),
        requires_scopes: Vec::new(),
    };
    registry.types.insert(name.to_owned(), enumeration);
}
