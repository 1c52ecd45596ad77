//! The schema of an API, parsed.

use apollo_compiler::{
    Name, Schema,
    ast::{DirectiveList, FieldDefinition, Type},
    collections::HashMap,
    name,
    schema::{Component, ExtendedType, Implementers},
    validation::Valid,
};

use super::types::REQUIRES_SCOPES;
use crate::schema::{Scope, Scopes};

pub const TYPE: &str = "__Type";

/// The schema of an API: as clients read it, and as documents are validated against it.
#[derive(Debug)]
pub struct Definition {
    /// The schema in the schema definition language.
    pub sdl: String,
    /// The same, parsed.
    pub schema: Valid<Schema>,
    /// The object types that implement each interface.
    pub implementers: HashMap<Name, Implementers>,
    /// What asks for a scope in the values of its input types.
    guarded: HashMap<Name, Scopes>,
}

impl Definition {
    /// The definition in this text.
    ///
    /// # Errors
    ///
    /// What is wrong with the text.
    pub fn new(sdl: String) -> Result<Self, String> {
        let schema =
            Schema::parse_and_validate(&sdl, "schema.graphql").map_err(|invalid| invalid.errors.to_string())?;
        let schema = with_is_one_of(schema);
        Ok(Self { sdl, implementers: schema.implementers_map(), guarded: guarded(&schema), schema })
    }

    /// The scopes that values of an input type can ask for, at any depth.
    #[must_use]
    pub fn guarded(&self, ty: &Type) -> Scopes {
        self.guarded.get(ty.inner_named_type()).copied().unwrap_or_default()
    }
}

fn with_is_one_of(schema: Valid<Schema>) -> Valid<Schema> {
    let mut schema = schema.into_inner();
    if let Some(ExtendedType::Object(ty)) = schema.types.get_mut(TYPE) {
        let field = FieldDefinition {
            description: None,
            name: name!("isOneOf"),
            arguments: Vec::new(),
            ty: Type::Named(name!("Boolean")),
            directives: apollo_compiler::ast::DirectiveList::new(),
        };
        ty.make_mut().fields.insert(name!("isOneOf"), Component::new(field));
    }
    Valid::assume_valid(schema)
}

/// The scopes that values of an input object or enum type can ask for, at any depth. Other types have none.
fn guarded(schema: &Schema) -> HashMap<Name, Scopes> {
    let mut guarded: HashMap<Name, Scopes> = HashMap::default();
    loop {
        let mut has_changed = false;
        for (name, ty) in &schema.types {
            let scopes: Scopes = match ty {
                ExtendedType::InputObject(object) => {
                    let nested = |ty: &Type| guarded.get(ty.inner_named_type()).copied().unwrap_or_default();
                    let fields = object.fields.values();
                    fields.map(|field| required(&field.directives).union(nested(&field.ty))).collect()
                }
                ExtendedType::Enum(ty) => ty.values.values().map(|value| required(&value.directives)).collect(),
                _ => continue,
            };
            has_changed |= !scopes.is_empty() && guarded.insert(name.clone(), scopes) != Some(scopes);
        }
        if !has_changed {
            return guarded;
        }
    }
}

/// The scopes that the directive asks for. The schema gives it one list, of which all are required.
pub fn required(directives: &DirectiveList) -> Scopes {
    let lists = directives.get(REQUIRES_SCOPES).and_then(|directive| directive.specified_argument_by_name("scopes"));
    let lists = lists.and_then(|lists| lists.as_list()).into_iter().flatten();
    let scopes = lists.filter_map(|scopes| scopes.as_list()).flatten();
    scopes.filter_map(|scope| scope.as_str()?.parse::<Scope>().ok()).collect()
}
