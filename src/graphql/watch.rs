//! What subscriptions wait for, and where they are in the events.

use std::{collections::HashMap, sync::Arc};

use async_graphql::connection::{CursorType as _, OpaqueCursor};
use parking_lot::Mutex;

use super::{
    error::ApiError,
    types::{ArgumentPath, Arguments, Input, filter, key_of, sides, subscription},
};
use crate::{
    db::{Db, StoreError},
    schema::{Entity, Relation, links},
    store::{
        self, Filter, Row,
        event::{Change, Cursor, Event, Position},
    },
};

/// What a subscription is executed for.
#[derive(Debug, Default)]
pub enum Occasion {
    /// Nothing: the operation is no subscription.
    #[default]
    None,
    /// To find out what it waits for, and where it goes on.
    Opening(Opened),
    /// To answer these events.
    Events(Vec<Occurrence>),
}

/// What a subscription waits for, and where it goes on, once that is known.
pub type Opened = Arc<Mutex<Option<(Watch, Option<Cursor>)>>>;

/// An event that a subscription waits for.
#[derive(Clone, Debug)]
pub struct Occurrence {
    pub event: Event,
    /// The object, when it was read to see whether it matches the filter.
    pub row: Option<Row>,
}

/// What a subscription waits for.
#[derive(Clone, Debug)]
pub struct Watch {
    watched: Watched,
    filter: Filter,
    changes: Option<Vec<Change>>,
    /// The objects that the links must be of.
    keys: [Option<i64>; 2],
}

/// The rows whose changes a subscription waits for.
#[derive(Clone, Copy, Debug)]
pub enum Watched {
    Entity(&'static Entity),
    /// A link table, by a relation that goes through it, and the entity that this starts from.
    Link(&'static Entity, &'static Relation),
}

/// The cursor of an event.
#[must_use]
pub fn encode_cursor(event: &Event) -> String {
    let Position { xid, seq } = event.position;
    OpaqueCursor((xid, seq, event.at)).encode_cursor()
}

/// What a cursor stands for.
///
/// # Errors
///
/// `BAD_USER_INPUT` when it is not the cursor of an event.
pub fn decode_cursor(cursor: &str, path: ArgumentPath<'_>) -> Result<Cursor, ApiError> {
    match OpaqueCursor::<(i64, i64, i64)>::decode_cursor(cursor) {
        Ok(OpaqueCursor((xid, seq, at))) if xid >= 0 && seq >= 0 => Ok(Cursor { position: Position { xid, seq }, at }),
        _ => Err(path.bad_input("is not the cursor of an event")),
    }
}

impl Watch {
    /// What the arguments of a subscription ask for, and after which event it goes on.
    ///
    /// # Errors
    ///
    /// `BAD_USER_INPUT` when an argument is wrong.
    pub fn new(
        entities: &'static [&'static Entity],
        watched: Watched,
        arguments: &Arguments,
    ) -> Result<(Self, Option<Cursor>), ApiError> {
        let (mut matching, mut keys) = (Filter::default(), [None, None]);
        match watched {
            Watched::Entity(entity) => matching = filter(entities, entity, arguments.get("where"))?,
            Watched::Link(entity, relation) => {
                for (key, (side, entity)) in keys.iter_mut().zip(sides(entity, relation)) {
                    let id = arguments.get(side).present();
                    *key = id.map(|id| key_of(entities, entity, &id.id()?, id.path())).transpose()?;
                }
            }
        }
        let changes = arguments.get("changes").present().map(|changes| {
            let path = changes.path();
            let change = |(index, change)| {
                let change = Input::new(change, path.entry(index));
                // Validation has refused all other names.
                Change::named(change.symbol()?).ok_or_else(|| change.path().bad_input("is not known"))
            };
            changes.bounded_list()?.iter().enumerate().map(change).collect::<Result<_, _>>()
        });
        let after = arguments.get("after").present();
        let after = after.map(|after| decode_cursor(after.text()?, after.path())).transpose()?;
        Ok((Self { watched, filter: matching, changes: changes.transpose()?, keys }, after))
    }

    fn table(&self) -> String {
        match self.watched {
            Watched::Entity(entity) => entity.table().to_owned(),
            Watched::Link(_, relation) => relation.link.table.to_string(),
        }
    }

    /// Those of the events that it waits for. Objects are read in one statement, if a filter asks for it.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn occurrences(&self, db: &Db, events: &[Event]) -> Result<Vec<Occurrence>, StoreError> {
        let table = self.table();
        let events = events.iter().filter(|event| *event.table == *table && self.waits_for(event));
        let entity = match self.watched {
            Watched::Entity(entity) if !self.filter.is_empty() => entity,
            _ => return Ok(events.map(|event| Occurrence { event: event.clone(), row: None }).collect()),
        };
        let events: Vec<&Event> = events.collect();
        let exists = |event: &&&Event| event.change != Change::Deleted;
        let mut keys: Vec<i64> = events.iter().filter(exists).filter_map(|event| event.keys[0]).collect();
        keys.sort_unstable();
        keys.dedup();
        let rows = if keys.is_empty() { Vec::new() } else { store::matching(db, entity, &keys, &self.filter).await? };
        let rows: HashMap<i64, Row> = rows.into_iter().map(|row| (row.key(), row)).collect();
        let occurrence = |event: &Event| {
            let row = event.keys[0].and_then(|key| rows.get(&key).cloned());
            let matches = row.is_some() || event.change == Change::Deleted;
            matches.then(|| Occurrence { event: event.clone(), row })
        };
        Ok(events.into_iter().filter_map(occurrence).collect())
    }

    fn waits_for(&self, event: &Event) -> bool {
        let is_of = |(wanted, key): (&Option<i64>, &Option<i64>)| match (wanted, key) {
            (Some(wanted), Some(key)) => wanted == key,
            // Of a link that was removed, one side is not known.
            _ => true,
        };
        // A newer version may note other changes of the same table.
        let possible = match self.watched {
            Watched::Entity(_) => Change::OF_OBJECTS,
            Watched::Link(..) => Change::OF_LINKS,
        };
        possible.contains(&event.change)
            && self.changes.as_ref().is_none_or(|changes| changes.contains(&event.change))
            && self.keys.iter().zip(&event.keys).all(is_of)
    }
}

impl Watched {
    /// What the field of the root has this name for.
    #[must_use]
    pub fn named(field: &str, entities: &'static [&'static Entity]) -> Option<Self> {
        let entity = entities.iter().find(|entity| subscription(entity.one) == field);
        let link = || links(entities).find(|(_, relation)| subscription(&relation.link.one()) == field);
        entity
            .map(|entity| Self::Entity(entity))
            .or_else(|| link().map(|(entity, relation)| Self::Link(entity, relation)))
    }
}
