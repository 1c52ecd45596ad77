//! Objects, and their fields.
//!
//! async-graphql resolves each field of each object through a boxed future of its own, gives the fields in the order in
//! which they were ready, and leaves out a field whose resolver failed. Here a field is answered for all objects of a
//! level together: what is selected is collected once (`CollectFields`), columns are written without futures, and a
//! relation is loaded once. The fields of the answer have the order of the query, and an error in a field that cannot
//! be null makes the next nullable field above it null (Handling Field Errors). A single object is a list of one.

use std::borrow::Cow;

use async_graphql::{
    Context, ContextBase, ContextSelectionSet, Name, PathSegment, Pos, Positioned, ServerError,
    indexmap::{IndexMap, map},
    parser::types::{Field, Selection, SelectionSet},
};
use futures_util::future::{BoxFuture, join_all};

use super::json::{Json, JsonColumn};
use crate::graphql::{context::RequestContext, error::ApiError, types::NODE};

/// Objects of one type that are answered together.
pub trait Objects: Send + Sync {
    /// The name of their type.
    fn type_name(&self) -> Cow<'_, str>;

    /// The number of objects.
    fn len(&self) -> usize;

    /// Whether their type implements the interface `Node`.
    fn is_node(&self) -> bool {
        false
    }

    /// Whether they count for the bounds of the answer.
    fn is_bounded(&self) -> bool {
        true
    }

    /// The number of a field that can be written at once; none for every other field.
    fn scalar(&self, field: &str) -> Option<usize>;

    /// Writes such a field of an object.
    fn write(&self, object: usize, scalar: usize, json: &mut Json);

    /// The values of any other field, for all of the objects.
    fn answer<'a>(&'a self, ctx: &'a Context<'_>) -> BoxFuture<'a, Answered>;
}

/// The values of a field for all objects of a batch, in their order.
pub type Answered = Result<JsonColumn, Fault>;

/// An error in a field of one of the objects of a batch. On its way up it gets the path from there.
#[derive(Debug)]
pub struct Fault {
    /// The number of the object in its batch.
    pub object: usize,
    details: Box<Details>,
}

#[derive(Debug)]
struct Details {
    error: ApiError,
    position: Pos,
    /// The path below the field that is answered, from the inside out.
    path: Vec<PathSegment>,
}

impl Fault {
    /// An error in the field that is answered, of all objects. The first one has it.
    pub fn new(error: ApiError, ctx: &Context<'_>) -> Self {
        Self { object: 0, details: Box::new(Details { error, position: ctx.item.pos, path: Vec::new() }) }
    }

    /// The same error, one segment further up.
    #[must_use]
    pub fn below(mut self, segment: PathSegment) -> Self {
        self.details.path.push(segment);
        self
    }

    /// The error with the path from the root.
    pub fn into_server_error<T>(self, ctx: &ContextBase<'_, T>) -> ServerError {
        let Details { error, position, path } = *self.details;
        let mut error = ctx.set_error_path(error.at(Some(position)));
        error.path.extend(path.into_iter().rev());
        error
    }
}

/// The bytes of a field with its key, more or less.
const BYTES_OF_FIELD: usize = 32;
/// The number of objects that are written between two looks at the time.
const OBJECTS_BETWEEN_LOOKS: usize = 1_000;

/// The JSON of objects: what the field selects of them.
pub async fn answer_objects(batch: &dyn Objects, ctx: &Context<'_>) -> Answered {
    if batch.len() == 0 {
        return Ok(JsonColumn::default());
    }
    let selection = ctx.with_selection_set(&ctx.item.node.selection_set);
    let mut fields = CollectedFields { by_key: IndexMap::with_capacity(selection.item.node.items.len()), others: 0 };
    fields.collect(batch, &selection, &selection.item.node);
    let mut others = Vec::with_capacity(fields.others);
    if fields.others > 0 {
        // All are awaited even when one fails: a field that is dropped may be loading the batch of its siblings.
        let answers = join_all(fields.others().map(async |(key, field)| {
            let answered = batch.answer(&selection.with_field(field)).await;
            answered.map_err(|fault| fault.below(PathSegment::Field(key.to_string())))
        }));
        for answered in answers.await {
            others.push(answered?);
        }
    }
    let bounds = Some(&RequestContext::from_context(ctx).bounds).filter(|_| batch.is_bounded());
    let bytes =
        BYTES_OF_FIELD * fields.by_key.len() * batch.len() + others.iter().map(JsonColumn::bytes).sum::<usize>();
    let mut values = JsonColumn::with_capacity(batch.len(), bytes);
    for object in 0..batch.len() {
        let fault = |error| Fault { object, ..Fault::new(error, ctx) };
        if let Some(bounds) = bounds.filter(|_| object % OBJECTS_BETWEEN_LOOKS == 0) {
            bounds.check_deadline().map_err(fault)?;
        }
        let before = values.bytes();
        values.push(|json| fields.write(batch, object, json, &others));
        if let Some(bounds) = bounds {
            bounds.write(values.bytes() - before).map_err(fault)?;
        }
    }
    Ok(values)
}

/// The fields that are selected of objects of one type, by their response keys.
struct CollectedFields<'a> {
    by_key: IndexMap<Name, Collected<'a>>,
    /// The number of fields that cannot be written at once.
    others: usize,
}

enum Collected<'a> {
    TypeName,
    Scalar(usize),
    /// The n-th of the fields that cannot be written at once.
    Other(usize, Cow<'a, Positioned<Field>>),
}

impl<'a> CollectedFields<'a> {
    fn collect(&mut self, batch: &dyn Objects, ctx: &ContextSelectionSet<'a>, selection_set: &'a SelectionSet) {
        for selection in &selection_set.items {
            let (condition, fragment) = match &selection.node {
                Selection::Field(field) => {
                    self.add(batch, field);
                    continue;
                }
                Selection::InlineFragment(fragment) => {
                    (fragment.node.type_condition.as_ref(), &fragment.node.selection_set)
                }
                Selection::FragmentSpread(spread) => {
                    // Validation has refused unknown fragments.
                    let Some(fragment) = ctx.query_env.fragments.get(&spread.node.fragment_name.node) else { continue };
                    (Some(&fragment.node.type_condition), &fragment.node.selection_set)
                }
            };
            if condition.is_none_or(|condition| applies(batch, &condition.node.on.node)) {
                self.collect(batch, ctx, &fragment.node);
            }
        }
    }

    fn add(&mut self, batch: &dyn Objects, field: &'a Positioned<Field>) {
        match self.by_key.entry(field.node.response_key().node.clone()) {
            map::Entry::Vacant(entry) => {
                let name = field.node.name.node.as_str();
                entry.insert(match batch.scalar(name) {
                    Some(scalar) => Collected::Scalar(scalar),
                    None if name == "__typename" => Collected::TypeName,
                    None => {
                        self.others += 1;
                        Collected::Other(self.others - 1, Cow::Borrowed(field))
                    }
                });
            }
            // The same field again: what both select is selected once (`MergeSelectionSets`).
            map::Entry::Occupied(mut entry) => {
                if let Collected::Other(_, other) = entry.get_mut() {
                    let selection_set = &mut other.to_mut().node.selection_set;
                    selection_set.node.items.extend_from_slice(&field.node.selection_set.node.items);
                }
            }
        }
    }

    /// The fields that cannot be written at once, in their order.
    fn others(&self) -> impl Iterator<Item = (&Name, &Positioned<Field>)> {
        self.by_key.iter().filter_map(|(key, field)| match field {
            Collected::Other(_, field) => Some((key, &**field)),
            _ => None,
        })
    }

    /// Writes an object.
    fn write(&self, batch: &dyn Objects, object: usize, json: &mut Json, others: &[JsonColumn]) {
        json.object(self.by_key.iter(), |json, field| match field {
            Collected::TypeName => json.scalar(batch.type_name()),
            Collected::Scalar(scalar) => batch.write(object, *scalar, json),
            Collected::Other(other, _) => json.raw(others[*other].get(object)),
        });
    }
}

/// Whether a fragment on `condition` is for objects of a batch (`DoesFragmentTypeApply`).
fn applies(batch: &dyn Objects, condition: &str) -> bool {
    batch.type_name() == condition || (batch.is_node() && condition == NODE)
}
