//! Mutations: the input is checked, written in one transaction, and what was read before is forgotten.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError},
    time::Duration,
};

use async_graphql::{Context, Name, PathSegment, ServerResult, Value};
use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use tokio::time::timeout;

use super::{
    Json,
    connection::edges,
    entity_rows::EntityRows,
    fields::{Answered, Fault, Objects, answer_objects},
    json::JsonColumn,
    node::or_null,
    query::QueryObject,
};
use crate::{
    db::{StoreError, UnitOfWork},
    graphql::{
        context::RequestContext,
        error::{ApiError, Code, bounded},
        types::{ArgumentPath, Input, InputReader, global_id},
    },
    schema::Entity,
    store::{Creation, PendingDelete, Relate, Row, Update},
};

const INPUT: &str = "input";
const QUERY: &str = "query";
const EDGE: &str = "Edge";
/// How long the payload of a deletion may read while the deletion waits for it.
const MAX_READ: Duration = Duration::from_secs(2);

/// A mutation of an entity: of one object or of several.
#[derive(Clone, Copy, Debug)]
struct Mutation {
    entity: &'static Entity,
    is_list: bool,
}

/// The value of a mutation. It is null when nothing was written, and the errors say why.
pub async fn answer(ctx: &Context<'_>, entities: &'static [&'static Entity]) -> ServerResult<Option<Value>> {
    let name = ctx.item.node.name.node.as_str();
    let Some((verb, what)) =
        ["create", "update", "delete"].into_iter().find_map(|verb| Some((verb, name.strip_prefix(verb)?)))
    else {
        return Ok(None);
    };
    let mutation = entities.iter().find_map(|entity| {
        let is_list = what == entity.plural();
        (is_list || what == entity.name).then_some(Mutation { entity, is_list })
    });
    let Some(mutation) = mutation else { return Ok(None) };
    let answered = match verb {
        "create" => mutation.create(ctx).await,
        "update" => mutation.update(ctx).await,
        _ => mutation.delete(ctx).await,
    };
    let values = answered.unwrap_or_else(|errors| {
        for error in errors {
            ctx.add_error(Fault::new(error, ctx).into_server_error(ctx));
        }
        JsonColumn::null()
    });
    Ok(Some(values.into_value()))
}

/// The payload, or what is wrong. Nothing is written then.
type Written = Result<JsonColumn, Vec<ApiError>>;

impl Mutation {
    async fn create(self, ctx: &Context<'_>) -> Written {
        let new: Arc<[_]> =
            self.read(ctx, |reader, input| reader.create(self.entity, input), |new| &new.related)?.into();
        let events = RequestContext::from_context(ctx).db.writes_events();
        let work = Creation { entity: self.entity, new: Arc::clone(&new), events };
        let rows = write(ctx, work).await.map_err(|error| match error {
            StoreError::NotFound { related: missing, .. } => {
                bounded(self.related_not_found(new.iter().map(|new| &new.related[..]), &missing))
            }
            error => vec![error.into()],
        })?;
        self.payload(ctx, "Create", &rows).await
    }

    async fn update(self, ctx: &Context<'_>) -> Written {
        let mut seen = HashSet::new();
        let read = |reader: &mut InputReader, input: Input<'_>| {
            let change = reader.update(self.entity, input)?;
            if !seen.insert(change.key) && change.key != 0 {
                reader.note(input.path().field("id"), "must not be the id of an earlier entry");
            }
            Some(change)
        };
        let changes: Arc<[_]> = self.read(ctx, read, |change| &change.related)?.into();
        let RequestContext { db, scopes, .. } = RequestContext::from_context(ctx);
        let (entity, events, granted) = (self.entity, db.writes_events(), *scopes);
        let work = Update { entity, changes: Arc::clone(&changes), granted, events };
        let rows = write(ctx, work).await.map_err(|error| match error {
            StoreError::NotFound { keys, related: missing } => {
                let mut errors = self.not_found(changes.iter().map(|change| change.key), &keys);
                errors.extend(self.related_not_found(changes.iter().map(|change| &change.related[..]), &missing));
                bounded(errors)
            }
            error => vec![error.into()],
        })?;
        self.payload(ctx, "Update", &rows).await
    }

    /// Deletes objects while they are answered: the payload has them as they were, so what it selects of them is read
    /// between the lock of the transaction and its commit.
    async fn delete(self, ctx: &Context<'_>) -> Written {
        let keys = self.read(ctx, |reader, input| reader.delete(self.entity, input), |_| &[])?;
        let reported = || ctx.query_env.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let bounds = &RequestContext::from_context(ctx).bounds;
        let (reported_before, errors_before) = (reported().len(), bounds.errors());
        let mut attempt = 0;
        loop {
            attempt += 1;
            let result = self.attempt_delete(ctx, &keys, attempt).await;
            if result.is_err() {
                // What the payload had to report is of an attempt that was rolled back.
                reported().truncate(reported_before);
                bounds.forget_errors_after(errors_before);
            }
            return match result {
                Ok(values) => Ok(values),
                Err(StoreError::Conflict(sqlstate))
                    if RequestContext::from_context(ctx).db.may_try_again(attempt, sqlstate).await =>
                {
                    continue;
                }
                Err(StoreError::NotFound { keys: missing, .. }) => {
                    Err(bounded(self.not_found(keys.iter().copied(), &missing)))
                }
                Err(error) => Err(vec![error.into()]),
            };
        }
    }

    async fn attempt_delete(self, ctx: &Context<'_>, keys: &[i64], attempt: u32) -> Result<JsonColumn, StoreError> {
        let RequestContext { db, loaders, .. } = RequestContext::from_context(ctx);
        let mut pending = PendingDelete::begin(db, self.entity, keys, attempt).await?;
        loaders.clear().await;
        let rows = pending.take_rows();
        let mut payload = self.payload_of(ctx, "Delete", &rows);
        // The query root is read after the deletion, and all else before it.
        let reads_after = ctx.look_ahead().field(QUERY).exists();
        if reads_after {
            payload.phase = Phase::Before(Mutex::default());
        }
        // Others wait to write meanwhile, so what the payload selects must not take for ever.
        let answered = timeout(MAX_READ, answer_objects(&payload, ctx)).await.map_err(|_| StoreError::Timeout)?;
        let answered = or_null(ctx, answered);
        let committed = pending.commit().await;
        loaders.clear().await;
        committed?;
        if !reads_after {
            return Ok(answered);
        }
        payload.phase = payload.phase.after();
        Ok(or_null(ctx, answer_objects(&payload, ctx).await))
    }

    /// What the argument asks for: one entry for each object.
    fn read<T>(
        self,
        ctx: &Context<'_>,
        mut read: impl FnMut(&mut InputReader, Input<'_>) -> Option<T>,
        related: impl Fn(&T) -> &[Relate],
    ) -> Result<Vec<T>, Vec<ApiError>> {
        let arguments = RequestContext::arguments(ctx).map_err(|error| vec![error])?;
        let input = arguments.get(INPUT);
        let mut reader = InputReader::new(RequestContext::from_context(ctx).entities);
        let entries =
            if self.is_list { reader.list(input, read) } else { read(&mut reader, input).into_iter().collect() };
        let objects = entries.iter().map(|entry| 1 + related(entry).iter().map(Relate::objects).sum::<usize>()).sum();
        reader.check_objects(objects, input.path());
        reader.finish()?;
        Ok(entries)
    }

    async fn payload(self, ctx: &Context<'_>, verb: &str, rows: &[Row]) -> Written {
        if rows.is_empty() && !self.is_list {
            return Err(vec![ApiError::new(Code::Internal, "the server wrote nothing")]);
        }
        let payload = self.payload_of(ctx, verb, rows);
        // Its fields can be null, or are read after the mutation, so none of them fails it.
        Ok(or_null(ctx, answer_objects(&payload, ctx).await))
    }

    fn payload_of<'r>(self, ctx: &Context<'_>, verb: &str, rows: &'r [Row]) -> Payload<'r> {
        let Self { entity, is_list } = self;
        let what = if is_list { entity.plural() } else { entity.name.to_owned() };
        Payload {
            name: format!("{verb}{what}Payload"),
            is_list,
            rows: EntityRows { entity, rows: rows.iter().collect() },
            query: QueryObject(RequestContext::from_context(ctx).entities),
            phase: Phase::Whole,
        }
    }

    /// The path of the n-th input object, for a function.
    fn at<T>(self, index: usize, read: impl FnOnce(ArgumentPath<'_>) -> T) -> T {
        let input = ArgumentPath::argument(INPUT);
        if self.is_list { read(input.entry(index)) } else { read(input) }
    }

    /// An error for each input object whose row is missing.
    fn not_found(self, keys: impl Iterator<Item = i64>, missing: &[i64]) -> Vec<ApiError> {
        let missing: HashSet<&i64> = missing.iter().collect();
        let named = keys.enumerate().filter(|(_, key)| missing.contains(key));
        named.map(|(index, key)| self.at(index, |path| no_such(self.entity, key, path.field("id")))).collect()
    }

    /// An error for each place that names one of the missing rows of a relation.
    fn related_not_found<'r>(self, related: impl Iterator<Item = &'r [Relate]>, missing: &[Vec<i64>]) -> Vec<ApiError> {
        let missing: Vec<HashSet<&i64>> = missing.iter().map(|keys| keys.iter().collect()).collect();
        let mut errors = Vec::new();
        for (index, related) in related.enumerate() {
            for ((relation, related), missing) in self.entity.relations.iter().zip(related).zip(&missing) {
                let set = related.set.as_deref().unwrap_or_default();
                for (name, keys) in [("connect", &*related.connect), ("disconnect", &*related.disconnect), ("set", set)]
                {
                    for (entry, key) in keys.iter().enumerate().filter(|(_, key)| missing.contains(key)) {
                        errors.push(self.at(index, |path| {
                            no_such(relation.to, *key, path.field(relation.field).field(name).entry(entry))
                        }));
                    }
                }
            }
        }
        errors
    }
}

/// Writes, and forgets what was read before, also when it is not known whether something is written.
async fn write<W: UnitOfWork<Output = Vec<Row>>>(ctx: &Context<'_>, work: W) -> Result<Vec<Row>, StoreError> {
    let RequestContext { db, loaders, .. } = RequestContext::from_context(ctx);
    let written = db.write(work).await;
    loaders.clear().await;
    written
}

fn no_such(entity: &Entity, key: i64, path: ArgumentPath<'_>) -> ApiError {
    path.error(Code::NotFound, format!("there is no {} with the id \"{}\"", entity.name, global_id(entity, key)))
}

/// The payload of a mutation. It is answered whatever the bounds of the request say, because it tells what was written;
/// the objects in it are not.
#[derive(Debug)]
struct Payload<'a> {
    name: String,
    is_list: bool,
    rows: EntityRows<'a>,
    query: QueryObject,
    phase: Phase,
}

/// What of a payload is answered.
#[derive(Debug)]
enum Phase {
    Whole,
    /// All but the query root. It is kept, by the response keys.
    Before(Mutex<HashMap<Name, JsonColumn>>),
    /// The query root, beside what was kept.
    After(HashMap<Name, JsonColumn>),
}

impl Phase {
    fn after(self) -> Self {
        match self {
            Self::Before(kept) => Self::After(kept.into_inner()),
            other => other,
        }
    }
}

impl Payload<'_> {
    async fn answer_field(&self, ctx: &Context<'_>) -> Answered {
        let (field, key) = (ctx.item.node.name.node.as_str(), &ctx.item.node.response_key().node);
        match &self.phase {
            Phase::Before(_) if field == QUERY => return Ok(JsonColumn::null()),
            Phase::After(kept) if field != QUERY => return Ok(kept.get(key).cloned().unwrap_or_default()),
            _ => {}
        }
        if field == QUERY {
            return answer_objects(&self.query, ctx).await;
        }
        let answered = if field.strip_suffix(EDGE) == Some(self.rows.entity.one) {
            let rows = EntityRows { entity: self.rows.entity, rows: self.rows.rows.clone() };
            self.in_bounds(ctx, edges(ctx, rows).await)
        } else {
            self.answer_rows(ctx).await
        };
        let answered = or_null(ctx, answered);
        if let Phase::Before(kept) = &self.phase {
            kept.lock().insert(key.clone(), answered.clone());
        }
        Ok(answered)
    }

    /// The values for the objects, when there is room for them in the answer.
    fn in_bounds(&self, ctx: &Context<'_>, answered: Answered) -> Answered {
        let all = answered.map_err(|mut fault| {
            let index = std::mem::take(&mut fault.object);
            if self.is_list { fault.below(PathSegment::Index(index)) } else { fault }
        })?;
        RequestContext::from_context(ctx).bounds.take_bytes(all.bytes()).map_err(|error| Fault::new(error, ctx))?;
        Ok(all)
    }

    /// The object, or the list of them.
    async fn answer_rows(&self, ctx: &Context<'_>) -> Answered {
        let all = self.in_bounds(ctx, answer_objects(&self.rows, ctx).await)?;
        if !self.is_list {
            return Ok(all);
        }
        let mut list = JsonColumn::default();
        list.push(|json| json.list(0..all.len(), |json, index| json.raw(all.get(index))));
        Ok(list)
    }
}

impl Objects for Payload<'_> {
    fn type_name(&self) -> Cow<'_, str> {
        (&*self.name).into()
    }

    fn len(&self) -> usize {
        1
    }

    fn is_bounded(&self) -> bool {
        false
    }

    fn scalar(&self, _field: &str) -> Option<usize> {
        None
    }

    fn write(&self, _object: usize, _scalar: usize, _json: &mut Json) {}

    fn answer<'a>(&'a self, ctx: &'a Context<'_>) -> BoxFuture<'a, Answered> {
        self.answer_field(ctx).boxed()
    }
}
