//! What may have been meant by a name that is not known.

use std::collections::HashMap;

use apollo_compiler::{
    Name, Schema,
    ast::{Definition, Document, FieldDefinition, Selection},
    parser::SourceSpan,
    schema::{ExtendedType, FieldLookupError},
};

/// Longer names are not compared with others, which takes time for each pair of characters.
const MAX_COMPARED: usize = 100;
/// Names that differ in more than a third of their characters are not mistaken for each other.
const MIN_SIMILARITY: f64 = 0.66;

/// The names in a document that its schema does not know, by the offsets at which they are reported.
pub struct UnknownNames<'a> {
    schema: &'a Schema,
    names: HashMap<usize, (&'a Name, Scope<'a>)>,
}

/// What a name is looked for in.
enum Scope<'a> {
    Types,
    /// The fields of a type.
    Fields(&'a Name),
    /// The arguments of a field.
    Arguments(&'a FieldDefinition),
}

impl<'a> UnknownNames<'a> {
    /// Looks for the names of types, fields and arguments of fields.
    #[must_use]
    pub fn new(document: &'a Document, schema: &'a Schema) -> Self {
        let mut unknown = Self { schema, names: HashMap::new() };
        for definition in &document.definitions {
            match definition {
                Definition::OperationDefinition(operation) => {
                    for variable in &operation.variables {
                        unknown.look_for_type(variable.ty.inner_named_type(), variable.location());
                    }
                    if let Some(root) = schema.root_operation(operation.operation_type) {
                        unknown.look_for_fields(&operation.selection_set, root);
                    }
                }
                Definition::FragmentDefinition(fragment) => {
                    let condition = &fragment.type_condition;
                    unknown.look_for_type(condition, condition.location());
                    unknown.look_for_fields(&fragment.selection_set, condition);
                }
                // The validation refuses all others.
                _ => {}
            }
        }
        unknown
    }

    /// The known name that is most like the unknown one at an offset, if any is like it.
    #[must_use]
    pub fn suggestion(&self, offset: usize) -> Option<&'a str> {
        let (unknown, scope) = self.names.get(&offset)?;
        if unknown.len() > MAX_COMPARED {
            return None;
        }
        let names = |names: &mut dyn Iterator<Item = &'a Name>| {
            let names = names.map(|name| (strsim::jaro_winkler(unknown, name), name.as_str()));
            names.max_by(|(one, _), (other, _)| one.total_cmp(other))
        };
        let (similarity, best) = match scope {
            Scope::Types => names(&mut self.schema.types.keys()),
            Scope::Fields(ty) => match self.schema.types.get(*ty)? {
                ExtendedType::Object(object) => names(&mut object.fields.keys()),
                ExtendedType::Interface(interface) => names(&mut interface.fields.keys()),
                _ => None,
            },
            Scope::Arguments(field) => names(&mut field.arguments.iter().map(|argument| &argument.name)),
        }?;
        (similarity >= MIN_SIMILARITY).then_some(best)
    }

    fn look_for_fields(&mut self, selections: &'a [Selection], ty: &'a Name) {
        for selection in selections {
            match selection {
                Selection::Field(field) => match self.schema.type_field(ty, &field.name) {
                    Ok(definition) => {
                        for argument in &field.arguments {
                            if definition.argument_by_name(&argument.name).is_none() {
                                self.note(&argument.name, argument.location(), Scope::Arguments(definition));
                            }
                        }
                        self.look_for_fields(&field.selection_set, definition.ty.inner_named_type());
                    }
                    Err(FieldLookupError::NoSuchField(..)) => {
                        self.note(&field.name, field.name.location(), Scope::Fields(ty));
                    }
                    // The type is reported itself.
                    Err(FieldLookupError::NoSuchType) => {}
                },
                Selection::InlineFragment(fragment) => {
                    if let Some(condition) = &fragment.type_condition {
                        self.look_for_type(condition, condition.location());
                    }
                    self.look_for_fields(&fragment.selection_set, fragment.type_condition.as_ref().unwrap_or(ty));
                }
                // All fragments are looked at, once.
                Selection::FragmentSpread(_) => {}
            }
        }
    }

    fn look_for_type(&mut self, name: &'a Name, location: Option<SourceSpan>) {
        if !self.schema.types.contains_key(name) {
            self.note(name, location, Scope::Types);
        }
    }

    fn note(&mut self, name: &'a Name, location: Option<SourceSpan>, scope: Scope<'a>) {
        if let Some(location) = location {
            self.names.insert(location.offset(), (name, scope));
        }
    }
}
