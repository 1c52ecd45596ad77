//! Types of the schema by values: the only file that names async-graphql's registry.
//!
//! `async_graphql::registry` is public and hidden from the documentation of async-graphql 7. Types are inserted by
//! name, in any order. Nobody notices a name without a type, so a test parses the schema.

use async_graphql::{
    Value,
    indexmap::IndexMap,
    registry::{
        __DirectiveLocation as DirectiveLocation, Deprecation, MetaDirective, MetaDirectiveInvocation, MetaEnumValue,
        MetaField, MetaInputValue, MetaType,
    },
};

pub use async_graphql::registry::Registry;

use super::item::{Item, Type, TypeKind, Types, item, wrapped};

/// The directive that says which scopes something asks for.
pub const REQUIRES_SCOPES: &str = "requiresScopes";

impl Item {
    fn directives(&self) -> Vec<MetaDirectiveInvocation> {
        if self.requires.is_empty() {
            return Vec::new();
        }
        // One of these lists must be granted as a whole, and there is one.
        let scopes = Value::List(vec![Value::List(self.requires.iter().map(|scope| scope.as_str().into()).collect())]);
        let args = IndexMap::from([("scopes".to_owned(), scopes)]);
        vec![MetaDirectiveInvocation { name: REQUIRES_SCOPES.to_owned(), args }]
    }

    fn into_field(self) -> MetaField {
        MetaField {
            directive_invocations: self.directives(),
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
            requires_scopes: Vec::new(),
        }
    }

    fn into_input(self) -> MetaInputValue {
        MetaInputValue {
            directive_invocations: self.directives(),
            name: self.name,
            description: Some(wrapped(self.description)),
            ty: self.ty,
            deprecation: Deprecation::NoDeprecated,
            default_value: self.default.map(str::to_owned),
            visible: None,
            inaccessible: false,
            tags: Vec::new(),
            is_secret: false,
        }
    }

    fn into_value(self) -> MetaEnumValue {
        MetaEnumValue {
            directive_invocations: self.directives(),
            name: self.name,
            description: Some(wrapped(self.description)),
            deprecation: Deprecation::NoDeprecated,
            visible: None,
            inaccessible: false,
            tags: Vec::new(),
        }
    }
}

/// Adds the directive of [`Item::requires`].
fn requires_scopes(registry: &mut Registry) {
    let scopes = item(
        "scopes",
        "[[String!]!]!",
        "The scopes, of which all in one of the lists are required: `read:secrets`, for example.",
    );
    registry.add_directive(MetaDirective {
        name: REQUIRES_SCOPES.to_owned(),
        description: Some(wrapped(
            "The scopes that a request needs to select this field, to set this input field, or to use this enum \
             value. A request without them is refused as a whole: with `FORBIDDEN`, or with `UNAUTHENTICATED` if it \
             has no credential. Besides, mutations need the scope `write`, and all other operations `read`."
                .to_owned(),
        )),
        locations: vec![
            DirectiveLocation::FIELD_DEFINITION,
            DirectiveLocation::INPUT_FIELD_DEFINITION,
            DirectiveLocation::ENUM_VALUE,
        ],
        args: IndexMap::from([(scopes.name.clone(), scopes.into_input())]),
        is_repeatable: false,
        visible: None,
        composable: None,
    });
}

/// Items by their names, in their order.
fn by_name<T>(items: Vec<Item>, convert: fn(Item) -> T) -> IndexMap<String, T> {
    items.into_iter().map(|item| (item.name.clone(), convert(item))).collect()
}

/// Registers types. The last one of a name counts.
pub fn register(registry: &mut Registry, types: Types) {
    requires_scopes(registry);
    for ty in types {
        let name = ty.name.clone();
        if let TypeKind::Interface(objects) = &ty.kind {
            for object in objects {
                registry.add_implements(object, &name);
            }
        }
        registry.types.insert(name, meta(ty));
    }
}

fn meta(Type { kind, name, description, items }: Type) -> MetaType {
    let description = Some(wrapped(description));
    match kind {
        TypeKind::Object => MetaType::Object {
            name,
            description,
            fields: by_name(items, Item::into_field),
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
        },
        TypeKind::Interface(objects) => MetaType::Interface {
            name,
            description,
            fields: by_name(items, Item::into_field),
            possible_types: objects.into_iter().map(str::to_owned).collect(),
            extends: false,
            keys: None,
            visible: None,
            inaccessible: false,
            tags: Vec::new(),
            rust_typename: None,
            directive_invocations: Vec::new(),
            requires_scopes: Vec::new(),
        },
        TypeKind::Input => MetaType::InputObject {
            name,
            description,
            input_fields: by_name(items, Item::into_input),
            visible: None,
            inaccessible: false,
            tags: Vec::new(),
            rust_typename: None,
            oneof: false,
            directive_invocations: Vec::new(),
        },
        TypeKind::Enum => MetaType::Enum {
            name,
            description,
            enum_values: by_name(items, Item::into_value),
            visible: None,
            inaccessible: false,
            tags: Vec::new(),
            rust_typename: None,
            directive_invocations: Vec::new(),
            requires_scopes: Vec::new(),
        },
    }
}
