//! How objects are answered.
//!
//! async-graphql resolves each field of an object through a boxed future of its own, gives the fields in the order in
//! which they were ready, and leaves a field out whose resolver failed. [`Output`] and [`Nullable`] resolve the same
//! types as the GraphQL specification asks for: fields in the order of the query (`CollectFields`), and an error in a field
//! that cannot be null makes the next nullable field above it null (Handling Field Errors).
//!
//! A list of objects is answered as a whole where that is possible: what is selected is collected once, columns are written
//! without futures, and a relation is loaded and answered for all of them together. Whatever this way does not know, errors
//! among it, goes the plain way: each object through its resolvers. Both give the same bytes.

use std::borrow::Cow;

use async_graphql::{
    ContainerType, Context, ContextSelectionSet, Name, OutputType, Positioned, ServerError, ServerResult, Value,
    futures_util::{
        FutureExt,
        future::{BoxFuture, join_all, ready},
    },
    indexmap::{IndexMap, map},
    parser::types::{Field, Selection, SelectionSet},
    registry::Registry,
};

use super::{
    bounds::Bounds,
    error::ApiError,
    json::{Json, Values},
};

/// An object type of the schema.
pub trait ObjectFields: ContainerType {
    /// A field that is a plain column, without arguments.
    type Column: Copy + Send + Sync;

    /// Whether it is the payload of a mutation. It is answered whatever the bounds of the request say, because it tells what was
    /// written; the objects in it are not.
    const IS_PAYLOAD: bool = false;

    /// The column of a field; none for every other field.
    fn column(_field: &str) -> Option<Self::Column> {
        None
    }

    /// Writes the value of a column.
    fn write_column(&self, _column: Self::Column, _json: &mut Json) {}

    /// The values of a field that is no column, for all of these objects together.
    fn relation<'a>(_objects: &'a [Output<Self>], _ctx: &'a Context<'_>) -> BoxFuture<'a, Together>
    where
        Self: Sized,
    {
        ready(Ok(None)).boxed()
    }
}

/// The values for many objects together. None when this way does not know them, or an argument is wrong: then the resolver of
/// the field is asked for each object. An error is one of all of them, which no resolver is asked about again.
pub type Together = Result<Option<Values>, ApiError>;

/// A value in a list.
pub trait Entry: OutputType + Sized {
    /// All values of a list together.
    fn resolve_all(_entries: &[Self], _ctx: &ContextSelectionSet<'_>) -> impl Future<Output = Together> + Send {
        ready(Ok(None))
    }
}

/// An object in an answer.
#[derive(Clone, Debug)]
pub struct Output<T>(pub T);

impl<T: ObjectFields> Entry for Output<T> {
    async fn resolve_all(entries: &[Self], ctx: &ContextSelectionSet<'_>) -> Together {
        objects(entries, ctx).await
    }
}

impl<T: OutputType> Entry for Nullable<T> {}

impl<T: ObjectFields> OutputType for Output<T> {
    fn type_name() -> Cow<'static, str> {
        T::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        T::create_type_info(registry)
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        let fields = CollectedFields::<T>::of(ctx)?;
        // All are awaited even when one fails: a field that is dropped may be loading the batch of its siblings.
        let values = join_all(fields.others().map(|field| {
            async move {
                let ctx = ctx.with_field(field);
                self.0.resolve_field(&ctx).await
            }
            .boxed()
        }))
        .await;
        let values = values.into_iter().map(|value| Ok(value?.unwrap_or_default()));
        let values = values.collect::<ServerResult<Vec<Value>>>()?;
        let mut counted = 0;
        let mut json = Json::default();
        fields.write(&self.0, &mut json, |other, json| {
            let start = json.len();
            json.value(&values[other]);
            // Objects and lists have been counted where they were written.
            if matches!(values[other], Value::Binary(_)) {
                counted += json.len() - start;
            }
        });
        if !T::IS_PAYLOAD {
            spend(ctx, field, json.len() - counted)?;
        }
        Ok(json.into_value())
    }
}

/// Objects that are written between two looks at the time.
const OBJECTS_BETWEEN_LOOKS: usize = 1_000;

/// The JSON of objects of one type.
pub async fn objects<T: ObjectFields>(objects: &[Output<T>], ctx: &ContextSelectionSet<'_>) -> Together {
    let Ok(fields) = CollectedFields::<T>::of(ctx) else { return Ok(None) };
    let relations = join_all(fields.others().map(async |field| {
        let ctx = ctx.with_field(field);
        T::relation(objects, &ctx).await
    }));
    let relations: Result<Option<Vec<Values>>, ApiError> =
        relations.await.into_iter().map(Result::transpose).collect::<Option<_>>().transpose();
    let Some(relations) = relations? else { return Ok(None) };
    let bounds = ctx.data_unchecked::<Bounds>();
    let mut values = Values::default();
    for (index, object) in objects.iter().enumerate() {
        if index % OBJECTS_BETWEEN_LOOKS == 0 {
            bounds.in_time()?;
        }
        let before = values.bytes();
        values.push(|json| fields.write(&object.0, json, |other, json| json.raw(relations[other].get(index))));
        bounds.write(values.bytes() - before)?;
    }
    Ok(Some(values))
}

/// Spends bytes of the answer, and time.
fn spend(ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>, bytes: usize) -> ServerResult<()> {
    let bounds = ctx.data_unchecked::<Bounds>();
    bounds.take_bytes(bytes).map_err(|error| ctx.set_error_path(error.at(Some(field.pos))))
}

/// The fields that are selected of objects of one type, by their response keys.
struct CollectedFields<'a, T: ObjectFields> {
    by_key: IndexMap<Name, Collected<'a, T::Column>>,
    /// How many of them are no columns.
    others: usize,
}

enum Collected<'a, C> {
    TypeName,
    Column(C),
    /// The n-th of those that are no columns.
    Other(usize, Cow<'a, Positioned<Field>>),
}

impl<'a, T: ObjectFields> CollectedFields<'a, T> {
    fn of(ctx: &ContextSelectionSet<'a>) -> ServerResult<Self> {
        let mut fields = Self { by_key: IndexMap::with_capacity(ctx.item.node.items.len()), others: 0 };
        fields.collect(ctx, &ctx.item.node)?;
        Ok(fields)
    }

    fn collect(&mut self, ctx: &ContextSelectionSet<'a>, selection_set: &'a SelectionSet) -> ServerResult<()> {
        for selection in &selection_set.items {
            let (condition, fragment) = match &selection.node {
                Selection::Field(field) => {
                    self.add(field);
                    continue;
                }
                Selection::InlineFragment(fragment) => {
                    (fragment.node.type_condition.as_ref(), &fragment.node.selection_set)
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    let fragment = ctx.query_env.fragments.get(name);
                    let fragment = fragment
                        .ok_or_else(|| ServerError::new(format!("Unknown fragment \"{name}\"."), Some(spread.pos)))?;
                    (Some(&fragment.node.type_condition), &fragment.node.selection_set)
                }
            };
            if condition.is_none_or(|condition| applies::<T>(ctx, &condition.node.on.node)) {
                self.collect(ctx, &fragment.node)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, field: &'a Positioned<Field>) {
        match self.by_key.entry(field.node.response_key().node.clone()) {
            map::Entry::Vacant(entry) => {
                let name = field.node.name.node.as_str();
                entry.insert(match T::column(name) {
                    Some(column) => Collected::Column(column),
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

    /// Those that are no columns.
    fn others(&self) -> impl Iterator<Item = &Positioned<Field>> {
        self.by_key.values().filter_map(|field| match field {
            Collected::Other(_, field) => Some(&**field),
            _ => None,
        })
    }

    /// Writes an object, and has the others written by a function.
    fn write(&self, object: &T, json: &mut Json, mut write_other: impl FnMut(usize, &mut Json)) {
        json.object(self.by_key.iter(), |json, field| match field {
            Collected::TypeName => json.scalar(T::type_name()),
            Collected::Column(column) => object.write_column(*column, json),
            Collected::Other(other, _) => write_other(*other, json),
        });
    }
}

/// Whether a fragment on `condition` is for objects of this type (`DoesFragmentTypeApply`).
fn applies<T: OutputType>(ctx: &ContextSelectionSet<'_>, condition: &str) -> bool {
    let name = T::type_name();
    let interfaces = ctx.schema_env.registry.implements.get(&*name);
    name == condition || interfaces.is_some_and(|interfaces| interfaces.contains(condition))
}

/// A list in an answer.
///
/// async-graphql drops the other entries of a list when one fails, and one of them may be loading the batch that fields
/// elsewhere wait for. It also gives the error the path of the entry instead of that of the field in it.
#[derive(Clone, Debug)]
pub struct List<T>(pub Vec<T>);

impl<T> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl<T: Entry> OutputType for List<T> {
    fn type_name() -> Cow<'static, str> {
        Vec::<T>::type_name()
    }

    fn qualified_type_name() -> String {
        Vec::<T>::qualified_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        Vec::<T>::create_type_info(registry);
        Self::qualified_type_name()
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        let mut json = Json::default();
        let together = T::resolve_all(&self.0, ctx).await;
        if let Some(values) = together.map_err(|error| ctx.set_error_path(error.at(Some(field.pos))))? {
            spend(ctx, field, values.bytes())?;
            json.list(0..values.len(), |json, index| json.raw(values.get(index)));
            return Ok(json.into_value());
        }
        let entries = self.0.iter().enumerate().map(|(index, entry)| async move {
            let ctx = ctx.with_index(index);
            let value = entry.resolve(&ctx, field).await;
            value.map_err(|error| if error.path.is_empty() { ctx.set_error_path(error) } else { error })
        });
        let values = join_all(entries).await.into_iter().collect::<ServerResult<Vec<_>>>()?;
        json.list(values.iter(), Json::value);
        Ok(json.into_value())
    }
}

/// A field that is null when it fails, with all the errors that made it so.
#[derive(Debug)]
pub struct Nullable<T>(Result<Option<T>, Vec<ApiError>>);

impl<T> From<Result<Option<T>, ApiError>> for Nullable<T> {
    fn from(result: Result<Option<T>, ApiError>) -> Self {
        Self(result.map_err(|error| vec![error]))
    }
}

impl<T> From<Result<T, Vec<ApiError>>> for Nullable<T> {
    fn from(result: Result<T, Vec<ApiError>>) -> Self {
        Self(result.map(Some))
    }
}

impl<T: OutputType> OutputType for Nullable<T> {
    fn type_name() -> Cow<'static, str> {
        T::type_name()
    }

    fn qualified_type_name() -> String {
        T::type_name().into_owned()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        T::create_type_info(registry);
        Self::qualified_type_name()
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        match &self.0 {
            Ok(value) => value.as_ref().resolve(ctx, field).await,
            Err(errors) => Ok(null(ctx, field, errors)),
        }
    }
}

/// The value of a field that is null for these errors, which are reported.
pub fn null(ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>, errors: &[ApiError]) -> Value {
    for error in errors {
        let error = async_graphql::Error::from(error.clone()).into_server_error(field.pos);
        ctx.add_error(ctx.set_error_path(error));
    }
    Value::Null
}

#[cfg(test)]
mod tests {
    use async_graphql::{EmptyMutation, EmptySubscription, Object, Schema};
    use entity::{hero, team};

    use super::*;
    use crate::{
        graphql::{hero::Hero, team::Team},
        store::Record,
    };

    struct Probe;

    #[Object]
    impl Probe {
        async fn hero(&self) -> Hero {
            let (name, secret_name) = ("Rusty-Man".to_owned(), "Tommy \"Sharp\"".to_owned());
            Hero(Record::of(hero::Model { id: 7, name, secret_name, age: Some(48) }))
        }

        async fn hero_output(&self, ctx: &async_graphql::Context<'_>) -> Output<Hero> {
            Output(self.hero(ctx).await.expect("the hero is there"))
        }

        async fn team(&self) -> Team {
            let (name, headquarters) = ("Preventers".to_owned(), "Sharp Tower".to_owned());
            Team(Record::of(team::Model { id: 3, name, headquarters }))
        }

        async fn team_output(&self, ctx: &async_graphql::Context<'_>) -> Output<Team> {
            Output(self.team(ctx).await.expect("the team is there"))
        }
    }

    #[tokio::test]
    async fn columns_are_what_the_resolvers_give() {
        let schema = Schema::build(Probe, EmptyMutation, EmptySubscription)
            .data(Bounds::new(
                &crate::config::Limits::DEFAULT,
                tokio::time::Instant::now() + std::time::Duration::from_mins(1),
            ))
            .finish();
        let fields = "id name __typename";
        let query = format!(
            "{{ hero {{ {fields} secretName age }} heroOutput {{ {fields} secretName age }}
                team {{ {fields} headquarters }} teamOutput {{ {fields} headquarters }} }}"
        );
        let mut json = Json::default();
        json.value(&schema.execute(query).await.data);
        let data: serde_json::Value = serde_json::from_slice(&json.into_bytes()).expect("it is JSON");
        assert_eq!(data["hero"], data["heroOutput"]);
        assert_eq!(data["team"], data["teamOutput"]);
        assert_eq!(
            data["team"],
            serde_json::json!({"id": "Team:3", "name": "Preventers", "__typename": "Team", "headquarters": "Sharp Tower"})
        );
    }
}
