//! Events, as subscriptions receive them: what was committed, with the objects as they are when it is delivered. The
//! events of a batch are answered together, as the objects of a list are.

use std::{borrow::Cow, collections::HashMap, sync::PoisonError};

use async_graphql::{Context, Name, Response, Value, indexmap::IndexMap};
use futures_util::{
    FutureExt,
    future::{BoxFuture, ready},
};

use super::{
    Json,
    entity_rows::EntityRows,
    fields::{Answered, Fault, Objects, answer_objects},
    json::JsonColumn,
    node::or_null,
};
use crate::{
    graphql::{
        context::RequestContext,
        types::{global_id, id_of_side, sides, symbol},
        watch::{Occasion, Occurrence, Watch, Watched, encode_cursor},
    },
    schema::{Entity, Link, Scopes},
    store::{
        Row,
        event::{Change, Event},
    },
};

/// What the field of a subscription gives: nothing when it opens, and one response for each of the events.
pub async fn respond(ctx: &Context<'_>, entities: &'static [&'static Entity]) -> Option<Vec<Response>> {
    let watched = Watched::named(ctx.item.node.name.node.as_str(), entities)?;
    let request = RequestContext::from_context(ctx);
    let result = match &request.occasion {
        Occasion::None => Ok(Vec::new()),
        Occasion::Opening(opened) => {
            let watch =
                RequestContext::arguments(ctx).and_then(|arguments| Watch::new(request.entities, watched, &arguments));
            watch.map_err(|error| Fault::new(error, ctx)).map(|watch| {
                *opened.lock() = Some(watch);
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
