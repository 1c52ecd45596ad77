//! What files have records of.

use crate::schema::{Entity, Link, Relation, links};

/// What a file has records of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Table {
    /// The objects of an entity.
    Objects(&'static Entity),
    /// The links of a relation, with the entity that it starts from.
    Links(&'static Entity, &'static Relation),
}

impl Table {
    /// All of them, those first to which others refer.
    #[must_use]
    pub fn all(entities: &'static [&'static Entity]) -> Vec<Self> {
        let links: Vec<_> = links(entities).collect();
        let mut ordered: Vec<&'static Entity> = Vec::new();
        while let Some(next) = entities.iter().filter(|entity| !ordered.contains(entity)).min_by_key(|entity| {
            // How many others it refers to that have no place yet.
            let refers = |(from, relation): &&(&'static Entity, &'static Relation)| {
                from == *entity && relation.to != **entity && !ordered.contains(&relation.to)
            };
            links.iter().filter(refers).count()
        }) {
            ordered.push(next);
        }
        let objects = ordered.into_iter().map(Self::Objects);
        objects.chain(links.into_iter().map(|(entity, relation)| Self::Links(entity, relation))).collect()
    }

    /// The name that the tables have in settings and files: `heroes`, `memberships`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Objects(entity) => entity.many.to_owned(),
            Self::Links(_, relation) => format!("{}s", relation.link.one()),
        }
    }

    /// The noun for a record: `hero`, `membership`.
    #[must_use]
    pub fn one(&self) -> String {
        match self {
            Self::Objects(entity) => entity.one.to_owned(),
            Self::Links(_, relation) => relation.link.one(),
        }
    }

    /// The relations along which the records of an entity have their links: the first one of all entities to each link
    /// table.
    pub(super) fn carried(entities: &'static [&'static Entity], entity: &Entity) -> Vec<&'static Relation> {
        links(entities).filter(|(from, _)| *from == entity).map(|(_, relation)| relation).collect()
    }
}

/// The entities of the two ends of a link, in the order of [`Link::columns`], with the names of their columns and the
/// nouns for them.
pub(super) fn ends(from: &'static Entity, relation: &'static Relation) -> [(&'static Entity, String, String); 2] {
    let link: &Link = relation.link;
    let columns = link.columns().map(ToString::to_string);
    let [first, second] = columns;
    let entity = |column: &str| if *column == link.near.to_string() { from } else { relation.to };
    let sides = &link.sides;
    [(entity(&first), first, sides[0].clone()), (entity(&second), second, sides[1].clone())]
}
