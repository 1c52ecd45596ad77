//! Events, as subscriptions receive them: what was committed, with the objects as they are when it is delivered. The
//! events of a batch are answered together, as the objects of a list are.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_graphql::{
    Context, Name, Response, Value,
    connection::{CursorType as _, OpaqueCursor},
    indexmap::IndexMap,
};
use futures_util::{
    FutureExt,
    future::{BoxFuture, ready},
};

use super::{
    Json,
    fields::{Answered, EntityRows, Fault, Objects, answer_objects},
    json::JsonColumn,
    node::or_null,
};
use crate::{
    access::Scopes,
    db::{Db, StoreError},
    graphql::{
        context::RequestContext,
        error::ApiError,
        types::{ArgumentPath, Arguments, Input, filter, global_id, id_of_side, key_of, sides, subscription, symbol},
    },
    schema::{Entity, Link, Relation, links},
    store::{
        self, Filter, Row,
        event::{Change, Event, Position},
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

/// A position that a client knows, and the time of its event.
pub type Cursor = (Position, i64);

/// An event that a subscription waits for.
#[derive(Clone, Debug)]
pub struct Occurrence {
    pub event: Event,
    /// The object, when it was read to see whether it matches the filter.
    row: Option<Row>,
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

#[derive(Clone, Copy, Debug)]
enum Watched {
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
        Ok(OpaqueCursor((xid, seq, at))) if xid >= 0 && seq >= 0 => Ok((Position { xid, seq }, at)),
        _ => Err(path.bad_input("is not the cursor of an event")),
    }
}

impl Watch {
    fn from_context(ctx: &Context<'_>, watched: Watched) -> Result<(Self, Option<Cursor>), ApiError> {
        let entities = RequestContext::from_context(ctx).entities;
        let arguments = Arguments::from_context(ctx)?;
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
        self.changes.as_ref().is_none_or(|changes| changes.contains(&event.change))
            && self.keys.iter().zip(&event.keys).all(is_of)
    }
}

/// What the field of a subscription gives: nothing when it opens, and one response for each of the events.
pub async fn respond(ctx: &Context<'_>, entities: &'static [&'static Entity]) -> Option<Vec<Response>> {
    let watched = watched(ctx.item.node.name.node.as_str(), entities)?;
    let request = RequestContext::from_context(ctx);
    let result = match &request.occasion {
        Occasion::None => Ok(Vec::new()),
        Occasion::Opening(opened) => {
            Watch::from_context(ctx, watched).map_err(|error| Fault::new(error, ctx)).map(|watch| {
                *opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(watch);
                Vec::new()
            })
        }
        Occasion::Events(occurrences) => answer(ctx, watched, occurrences).await,
    };
    let mut responses = result.unwrap_or_else(|fault| vec![Response::from_errors(vec![fault.into_server_error(ctx)])]);
    if let Some(first) = responses.first_mut() {
        first.errors.append(&mut ctx.query_env.errors.lock().unwrap_or_else(PoisonError::into_inner));
    }
    Some(responses)
}

fn watched(field: &str, entities: &'static [&'static Entity]) -> Option<Watched> {
    let entity = entities.iter().find(|entity| subscription(entity.one) == field);
    let link = || links(entities).find(|(_, relation)| subscription(&relation.link.one()) == field);
    entity
        .map(|entity| Watched::Entity(entity))
        .or_else(|| link().map(|(entity, relation)| Watched::Link(entity, relation)))
}

async fn answer(ctx: &Context<'_>, watched: Watched, occurrences: &[Occurrence]) -> Result<Vec<Response>, Fault> {
    let bounds = &RequestContext::from_context(ctx).bounds;
    bounds.take_rows(occurrences.len()).map_err(|error| Fault::new(error, ctx))?;
    let scopes = RequestContext::from_context(ctx).scopes;
    let values = match watched {
        Watched::Entity(entity) => answer_objects(&EntityEvents { entity, occurrences, scopes }, ctx).await?,
        Watched::Link(entity, relation) => {
            let (link, sides) = (&**relation.link, sides(entity, relation));
            answer_objects(&LinkEvents { link, sides, occurrences }, ctx).await?
        }
    };
    bounds.take_bytes(values.bytes()).map_err(|error| Fault::new(error, ctx))?;
    let key: &Name = &ctx.item.node.response_key().node;
    let response = |index| {
        let mut json = Json::default();
        json.raw(values.get(index));
        Response::new(Value::Object(IndexMap::from([(key.clone(), json.into_value())])))
    };
    Ok((0..values.len()).map(response).collect())
}

/// The objects of events, each null when it does not exist.
async fn objects(ctx: &Context<'_>, entity: &'static Entity, rows: Vec<Option<Row>>) -> Answered {
    RequestContext::from_context(ctx)
        .bounds
        .take_rows(rows.iter().flatten().count())
        .map_err(|error| Fault::new(error, ctx))?;
    // Several events of an object have it once.
    let mut places = HashMap::new();
    let mut distinct = Vec::new();
    for row in rows.iter().flatten() {
        places.entry(row.key()).or_insert_with(|| {
            distinct.push(row);
            distinct.len() - 1
        });
    }
    let all = answer_objects(&EntityRows { entity, rows: distinct }, ctx).await?;
    let mut values = JsonColumn::default();
    for row in &rows {
        let place = row.as_ref().and_then(|row| places.get(&row.key()));
        values.push(|json| json.raw(place.map_or(b"null", |place| all.get(*place))));
    }
    Ok(values)
}

/// The values of a field that can be null, for a number of events. A fault is that of the only one; among several it is
/// found by answering fewer of them at once.
fn nullable(ctx: &Context<'_>, events: usize, answered: Answered) -> Answered {
    if events == 1 { Ok(or_null(ctx, answered)) } else { answered }
}

async fn load(ctx: &Context<'_>, entity: &'static Entity, keys: &[Option<i64>]) -> Result<Vec<Option<Row>>, Fault> {
    let loaded = RequestContext::from_context(ctx).loaders.rows(entity, keys.iter().flatten().copied()).await;
    let mut loaded = loaded.map_err(|error| Fault::new(error, ctx))?.into_iter();
    Ok(keys.iter().map(|key| key.and_then(|_| loaded.next().flatten())).collect())
}

/// Events of an entity.
#[derive(Debug)]
struct EntityEvents<'a> {
    entity: &'static Entity,
    occurrences: &'a [Occurrence],
    scopes: Scopes,
}

impl EntityEvents<'_> {
    async fn answer_objects(&self, ctx: &Context<'_>) -> Answered {
        let is_known = |occurrence: &Occurrence| occurrence.row.is_some() || occurrence.event.change == Change::Deleted;
        if self.occurrences.iter().all(is_known) {
            return objects(ctx, self.entity, self.occurrences.iter().map(|one| one.row.clone()).collect()).await;
        }
        let key = |one: &Occurrence| one.event.keys[0].filter(|_| one.event.change != Change::Deleted);
        let keys: Vec<_> = self.occurrences.iter().map(key).collect();
        objects(ctx, self.entity, load(ctx, self.entity, &keys).await?).await
    }

    /// The fields that an update has changed, but for those that the client may not read.
    fn changed(&self, event: &Event) -> Option<Vec<String>> {
        let fields = event.fields.as_ref()?;
        let columns = self.entity.columns.iter().filter(|column| {
            let is_readable = column.requires.is_none_or(|scope| self.scopes.allow(scope));
            is_readable && fields.split(',').any(|name| name == column.name())
        });
        Some(columns.map(|column| symbol(column.field)).collect())
    }
}

impl Objects for EntityEvents<'_> {
    fn type_name(&self) -> Cow<'_, str> {
        format!("{}Event", self.entity.name).into()
    }

    fn len(&self) -> usize {
        self.occurrences.len()
    }

    fn scalar(&self, field: &str) -> Option<usize> {
        ["cursor", "change", "id", "fields"].iter().position(|name| *name == field)
    }

    fn write(&self, object: usize, scalar: usize, json: &mut Json) {
        let event = &self.occurrences[object].event;
        match scalar {
            0 => json.scalar(encode_cursor(event)),
            1 => json.scalar(event.change.as_str()),
            2 => json.scalar(event.keys[0].map(|key| global_id(self.entity, key))),
            _ => json.scalar(self.changed(event)),
        }
    }

    fn answer<'a>(&'a self, ctx: &'a Context<'_>) -> BoxFuture<'a, Answered> {
        async { nullable(ctx, self.len(), self.answer_objects(ctx).await) }.boxed()
    }
}

/// Events of a link table.
#[derive(Debug)]
struct LinkEvents<'a> {
    link: &'static Link,
    sides: [(&'static str, &'static Entity); 2],
    occurrences: &'a [Occurrence],
}

impl LinkEvents<'_> {
    async fn answer_side(&self, ctx: &Context<'_>, side: usize) -> Answered {
        let (_, entity) = self.sides[side];
        let keys: Vec<_> = self.occurrences.iter().map(|one| one.event.keys[side]).collect();
        objects(ctx, entity, load(ctx, entity, &keys).await?).await
    }
}

impl Objects for LinkEvents<'_> {
    fn type_name(&self) -> Cow<'_, str> {
        format!("{}Event", self.link.name).into()
    }

    fn len(&self) -> usize {
        self.occurrences.len()
    }

    fn scalar(&self, field: &str) -> Option<usize> {
        match field {
            "cursor" => Some(0),
            "change" => Some(1),
            field => self.sides.iter().position(|(side, _)| id_of_side(side) == field).map(|side| side + 2),
        }
    }

    fn write(&self, object: usize, scalar: usize, json: &mut Json) {
        let event = &self.occurrences[object].event;
        match scalar {
            0 => json.scalar(encode_cursor(event)),
            1 => json.scalar(event.change.as_str()),
            side => {
                let (_, entity) = self.sides[side - 2];
                json.scalar(event.keys[side - 2].map(|key| global_id(entity, key)));
            }
        }
    }

    fn answer<'a>(&'a self, ctx: &'a Context<'_>) -> BoxFuture<'a, Answered> {
        let field = ctx.item.node.name.node.as_str();
        match self.sides.iter().position(|(side, _)| *side == field) {
            Some(side) => async move { nullable(ctx, self.len(), self.answer_side(ctx, side).await) }.boxed(),
            // Validation has refused all other names.
            None => ready(Ok(JsonColumn::default())).boxed(),
        }
    }
}
