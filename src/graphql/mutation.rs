//! What all mutations share: check the input, write in one transaction, forget what was read before.

use std::{
    borrow::Cow,
    collections::HashSet,
    sync::{Arc, PoisonError},
    time::Duration,
};

use async_graphql::{
    Context, ContextSelectionSet, ID, OutputType, Positioned, ServerResult, Value, parser::types::Field,
    registry::Registry,
};
use tokio::time::timeout;

use super::{
    error::{ApiError, Code},
    id::NodeType,
    input::{Faults, Place, bounded},
    list::Listed,
    loaders::Loaders,
    output::{List, Output, null},
};
use crate::store::{
    Change, Changes, Create, Creation, Db, Deletion, NewRow, Record, Relate, StoreError, Table, UnitOfWork, Update,
};

/// An input object that creates a row with rows of the other side nested in it.
pub trait CreateInput {
    type Row: NewRow<Entity = <<Self::Related as NewRow>::Entity as Table>::Other>;
    type Related: NewRow;

    /// The field with the nested rows, and what is nested in it.
    const RELATED: (&'static str, NodeType);

    /// What is to be created, after noting what is wrong with it.
    fn check(self, place: Place<'_>, faults: &mut Faults) -> Create<Self::Row, Self::Related>;
}

/// An input object that changes a row and its links.
pub trait UpdateInput {
    type Changes: Changes<Row: NewRow<Entity = <<Self::Related as NewRow>::Entity as Table>::Other>>;
    type Related: NewRow;

    /// What is changed.
    const NODE: NodeType;
    /// The field with the instructions for the other side, and what is there.
    const RELATED: (&'static str, NodeType);

    /// What is to change, after noting what is wrong with it.
    fn check(self, place: Place<'_>, faults: &mut Faults) -> Change<Self::Changes, Self::Related>;
}

type Created<N> = Record<<N as NewRow>::Entity>;
type Changed<I> = Created<<<I as UpdateInput>::Changes as Changes>::Row>;

const INPUT: &str = "input";
/// How long the payload of a deletion may read while the deletion waits for it.
const MAX_READ: Duration = Duration::from_secs(2);

/// Creates one row from the argument `input`.
pub async fn create_one<I: CreateInput>(ctx: &Context<'_>, input: I) -> Result<Created<I::Row>, Vec<ApiError>> {
    let place = Place::argument(INPUT);
    let mut faults = Faults::default();
    let new = [input.check(place, &mut faults)];
    one(create::<I>(ctx, Arc::new(new), faults, |_| place).await?)
}

/// Creates rows from the list in the argument `input`.
pub async fn create_many<I: CreateInput>(
    ctx: &Context<'_>,
    input: Vec<I>,
) -> Result<Vec<Created<I::Row>>, Vec<ApiError>> {
    let place = Place::argument(INPUT);
    let mut faults = Faults::default();
    let new = faults.list(input, place, |input, place, faults| Some(input.check(place, faults)));
    create::<I>(ctx, new.into(), faults, |index| place.entry(index)).await
}

async fn create<'p, I: CreateInput>(
    ctx: &Context<'_>,
    new: Arc<[Create<I::Row, I::Related>]>,
    mut faults: Faults,
    place: impl Fn(usize) -> Place<'p>,
) -> Result<Vec<Created<I::Row>>, Vec<ApiError>> {
    faults.check_objects(new.iter().map(|new| 1 + new.related.objects()).sum(), Place::argument(INPUT));
    faults.check()?;
    write(ctx, Creation { new: Arc::clone(&new) }).await.map_err(|error| match error {
        StoreError::NotFound { linked, .. } => {
            let related = new.iter().enumerate().map(|(index, new)| (place(index), &new.related));
            bounded(links_not_found(related, &linked, I::RELATED))
        }
        error => vec![error.into()],
    })
}

/// Changes one row from the argument `input`.
pub async fn update_one<I: UpdateInput>(ctx: &Context<'_>, input: I) -> Result<Changed<I>, Vec<ApiError>> {
    let place = Place::argument(INPUT);
    let mut faults = Faults::default();
    let changes = [input.check(place, &mut faults)];
    one(update::<I>(ctx, Arc::new(changes), faults, |_| place).await?)
}

/// Changes rows from the list in the argument `input`.
pub async fn update_many<I: UpdateInput>(ctx: &Context<'_>, input: Vec<I>) -> Result<Vec<Changed<I>>, Vec<ApiError>> {
    let place = Place::argument(INPUT);
    let mut faults = Faults::default();
    let mut seen = HashSet::new();
    let changes = faults.list(input, place, |input, place, faults| {
        let change = input.check(place, faults);
        if !seen.insert(change.key) && change.key != 0 {
            faults.note(place.field("id"), "must not be the id of an earlier entry, too");
        }
        Some(change)
    });
    update::<I>(ctx, changes.into(), faults, |index| place.entry(index)).await
}

async fn update<'p, I: UpdateInput>(
    ctx: &Context<'_>,
    changes: Arc<[Change<I::Changes, I::Related>]>,
    mut faults: Faults,
    place: impl Fn(usize) -> Place<'p>,
) -> Result<Vec<Changed<I>>, Vec<ApiError>> {
    faults.check_objects(changes.iter().map(|change| 1 + change.related.objects()).sum(), Place::argument(INPUT));
    faults.check()?;
    write(ctx, Update { changes: Arc::clone(&changes) }).await.map_err(|error| match error {
        StoreError::NotFound { keys, linked } => {
            let places = changes.iter().enumerate().map(|(index, change)| (place(index), change.key));
            let mut errors = not_found(places, &keys, I::NODE);
            let related = changes.iter().enumerate().map(|(index, change)| (place(index), &change.related));
            errors.extend(links_not_found(related, &linked, I::RELATED));
            bounded(errors)
        }
        error => vec![error.into()],
    })
}

/// Writes, and forgets what was read before.
async fn write<E: Table, W>(ctx: &Context<'_>, work: W) -> Result<Vec<Record<E>>, StoreError>
where
    W: UnitOfWork<Output = Vec<E::Model>>,
{
    let rows = ctx.data_unchecked::<Db>().write(work).await?;
    ctx.data_unchecked::<Loaders>().clear().await;
    Ok(rows.into_iter().map(Record::of).collect())
}

fn one<M>(mut rows: Vec<M>) -> Result<M, Vec<ApiError>> {
    rows.pop().ok_or_else(|| vec![ApiError::new(Code::Internal, "the server wrote nothing")])
}

/// An error for each input object whose row is missing.
fn not_found<'p>(objects: impl Iterator<Item = (Place<'p>, i64)>, missing: &[i64], node: NodeType) -> Vec<ApiError> {
    let missing: HashSet<&i64> = missing.iter().collect();
    objects.filter(|(_, key)| missing.contains(key)).map(|(place, key)| no_such(node, key, place.field("id"))).collect()
}

/// An error for each place that names one of the missing rows on the other side.
fn links_not_found<'p, R: 'p>(
    objects: impl Iterator<Item = (Place<'p>, &'p Relate<R>)>,
    missing: &[i64],
    (field, node): (&'static str, NodeType),
) -> Vec<ApiError> {
    let missing: HashSet<&i64> = missing.iter().collect();
    let mut errors = Vec::new();
    for (place, related) in objects {
        let place = place.field(field);
        let set = related.set.as_deref().unwrap_or_default();
        for (name, keys) in [("connect", &*related.connect), ("disconnect", &*related.disconnect), ("set", set)] {
            let place = place.field(name);
            let missing = keys.iter().enumerate().filter(|(_, key)| missing.contains(key));
            errors.extend(missing.map(|(index, key)| no_such(node, *key, place.entry(index))));
        }
    }
    errors
}

fn no_such(node: NodeType, key: i64, place: Place<'_>) -> ApiError {
    place.fault(Code::NotFound, format!("there is no {} with the id \"{}\"", node.name(), *node.id(key)))
}

/// Objects that are deleted while they are answered: a payload has them as they were, and what it selects of them is read
/// between the lock of the transaction and its commit. It is null when nothing was deleted.
#[derive(Debug)]
pub struct Deleting<T: Listed, P> {
    node: NodeType,
    ids: Vec<ID>,
    payload: Payload<T, P>,
}

/// How the payload is made of the objects.
#[derive(Debug)]
enum Payload<T, P> {
    One(fn(Output<T>) -> P),
    Many(fn(List<Output<T>>) -> P),
}

impl<T: Listed, P> Deleting<T, P> {
    /// Deletes the object with the id in the argument `input`.
    pub fn one(node: NodeType, id: ID, payload: fn(Output<T>) -> P) -> Self {
        Self { node, ids: vec![id], payload: Payload::One(payload) }
    }

    /// Deletes the objects with the ids in the list in the argument `input`.
    pub fn many(node: NodeType, ids: Vec<ID>, payload: fn(List<Output<T>>) -> P) -> Self {
        Self { node, ids, payload: Payload::Many(payload) }
    }

    fn place<'a>(&self, input: &'a Place<'a>, index: usize) -> Place<'a> {
        if matches!(self.payload, Payload::One(_)) { *input } else { input.entry(index) }
    }

    fn payload(&self, rows: Vec<T>) -> Result<P, Vec<ApiError>> {
        let objects: Vec<_> = rows.into_iter().map(Output).collect();
        match self.payload {
            Payload::One(payload) => one(objects).map(payload),
            Payload::Many(payload) => Ok(payload(List(objects))),
        }
    }

    fn check(&self) -> Result<Vec<i64>, Vec<ApiError>> {
        let input = Place::argument(INPUT);
        let mut faults = Faults::default();
        let keys = if let Payload::One(_) = self.payload {
            self.ids.iter().filter_map(|id| faults.key(self.node, id, input.field("id"))).collect()
        } else {
            faults.list(self.ids.iter().collect(), input, |id, place, faults| {
                faults.key(self.node, id, place.field("id"))
            })
        };
        faults.check()?;
        Ok(keys)
    }
}

impl<T: Listed, P: OutputType> Deleting<T, P> {
    async fn delete(
        &self,
        ctx: &ContextSelectionSet<'_>,
        field: &Positioned<Field>,
        keys: &[i64],
        attempt: u32,
    ) -> Result<Value, StoreError> {
        let loaders = ctx.data_unchecked::<Loaders>();
        let mut deletion = Deletion::<T::Entity>::begin(ctx.data_unchecked::<Db>(), keys, attempt).await?;
        loaders.clear().await;
        let rows = deletion.take_rows().into_iter().map(|row| T::new(Record::of(row))).collect();
        let value = match self.payload(rows) {
            // Others wait to write meanwhile, so what the payload selects must not take for ever.
            Ok(payload) => match timeout(MAX_READ, Some(payload).resolve(ctx, field)).await {
                Ok(value) => value.unwrap_or_default(),
                Err(_) => return Err(StoreError::Timeout),
            },
            Err(errors) => null(ctx, field, &errors),
        };
        deletion.commit().await?;
        loaders.clear().await;
        Ok(value)
    }
}

impl<T: Listed, P: OutputType> OutputType for Deleting<T, P> {
    fn type_name() -> Cow<'static, str> {
        P::type_name()
    }

    fn qualified_type_name() -> String {
        P::type_name().into_owned()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        P::create_type_info(registry);
        Self::qualified_type_name()
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        let keys = match self.check() {
            Ok(keys) => keys,
            Err(errors) => return Ok(null(ctx, field, &errors)),
        };
        let reported = || ctx.query_env.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let reported_before = reported().len();
        let db = ctx.data_unchecked::<Db>();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let result = self.delete(ctx, field, &keys, attempt).await;
            if result.is_err() {
                // What the payload had to report is of an attempt that never was.
                reported().truncate(reported_before);
            }
            return match result {
                Ok(value) => Ok(value),
                Err(StoreError::Conflict) if db.may_try_again(attempt).await => continue,
                Err(StoreError::NotFound { keys: missing, .. }) => {
                    let input = Place::argument(INPUT);
                    let places = keys.iter().enumerate().map(|(index, key)| (self.place(&input, index), *key));
                    Ok(null(ctx, field, &bounded(not_found(places, &missing, self.node))))
                }
                Err(error) => Ok(null(ctx, field, &[error.into()])),
            };
        }
    }
}
