//! The types of all entities, and whether these make a schema.

use super::{
    connection, event, filter, input,
    item::{Types, check_name},
    object, order, root,
};
use crate::schema::{Entity, Link};

/// The types of the schema of some entities.
#[must_use]
pub fn types(entities: &[&'static Entity]) -> Types {
    let mut types = Types::default();
    root::register(&mut types, entities);
    object::register(&mut types, entities);
    connection::register(&mut types, entities);
    filter::register(&mut types, entities);
    order::register(&mut types, entities);
    input::register(&mut types, entities);
    event::register(&mut types, entities);
    types
}

/// Checks that entities make a schema.
///
/// # Errors
///
/// What is wrong with the declarations, and what would be right.
pub fn validate(entities: &[&'static Entity]) -> Result<(), String> {
    for entity in entities {
        check_name(entity.name, "an entity")?;
    }
    types(entities).validate()?;
    let relations = || entities.iter().flat_map(|entity| entity.relations);
    for (one, other) in relations().flat_map(|one| relations().map(move |other| (&**one.link, &**other.link))) {
        if one.table == other.table && one.name != other.name {
            return Err(format!(
                "both directions of the link table {} must have the same name, not {} and {}",
                one.table, one.name, other.name
            ));
        }
    }
    for entity in entities {
        for relation in entity.relations {
            let name = format!("the relation {}.{}", entity.name, relation.field);
            let (Link { from, to, .. }, to_entity) = (&**relation.link, relation.to);
            if !entities.contains(&to_entity) {
                return Err(format!("{name} leads to {}, which is no entity of the API", to_entity.name));
            }
            let expected = [entity.table(), to_entity.table()];
            if [&*from.to_string(), &*to.to_string()] != expected {
                return Err(format!(
                    "{name} must go along a path from the table {} to the table {}; its link goes from {from} to {to}",
                    expected[0], expected[1]
                ));
            }
        }
    }
    Ok(())
}
