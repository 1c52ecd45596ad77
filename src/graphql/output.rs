//! How objects are answered.
//!
//! async-graphql resolves each field of an object through a boxed future of its own, gives the fields in the order in
//! which they were ready, and leaves a field out whose resolver failed. [`Output`] and [`Nullable`] resolve the same
//! types as the GraphQL specification asks for: fields in the order of the query (`CollectFields`), and an error in a field
//! that cannot be null makes the next nullable field above it null (Handling Field Errors). Plain columns are resolved
//! without futures, which takes a third of the time.

use std::borrow::Cow;

use async_graphql::{
    ContainerType, ContextSelectionSet, Name, OutputType, Positioned, ServerError, ServerResult, Value,
    futures_util::{FutureExt, future::join_all},
    indexmap::{IndexMap, map},
    parser::types::{Field, Selection, SelectionSet},
    registry::Registry,
};

use super::{bounds::Bounds, error::ApiError};

/// An object type of the schema.
pub trait ObjectFields: ContainerType {
    /// The value of a field that is a plain column, without arguments; none for every other field.
    fn column(&self, _field: &str) -> Option<Value> {
        None
    }
}

/// A value in a list.
pub trait Entry: OutputType {
    /// The value and about how many bytes it is written in, when it needs no future; none when it does.
    fn resolve_now(&self, _ctx: &ContextSelectionSet<'_>) -> Option<ServerResult<(Value, usize)>> {
        None
    }
}

/// An object in an answer.
#[derive(Clone, Debug)]
pub struct Output<T>(pub T);

impl<T: ObjectFields> Entry for Output<T> {
    fn resolve_now(&self, ctx: &ContextSelectionSet<'_>) -> Option<ServerResult<(Value, usize)>> {
        match CollectedFields::of(ctx, &self.0) {
            Ok(fields) => fields.others.is_empty().then(|| Ok((Value::Object(fields.object), fields.bytes))),
            Err(error) => Some(Err(error)),
        }
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
        let CollectedFields { mut object, others, bytes } = CollectedFields::of(ctx, &self.0)?;
        spend(ctx, field, bytes)?;
        // All are awaited even when one fails: a field that is dropped may be loading the batch of its siblings.
        let values = join_all(others.iter().map(|(_, field)| {
            async move {
                let ctx = ctx.with_field(field);
                self.0.resolve_field(&ctx).await
            }
            .boxed()
        }))
        .await;
        for ((index, _), value) in others.iter().zip(values) {
            object[*index] = value?.unwrap_or_default();
        }
        Ok(Value::Object(object))
    }
}

/// Bytes of a field in an answer, about, beside its key and its text.
const PUNCTUATION: usize = 6;

/// Spends bytes of the answer, and time.
fn spend(ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>, bytes: usize) -> ServerResult<()> {
    let bounds = ctx.data_unchecked::<Bounds>();
    bounds.spend(bytes).map_err(|error| ctx.set_error_path(error.at(Some(field.pos))))
}

/// The fields of an object: the columns with their values, and those that are still to be resolved with their places.
struct CollectedFields<'a> {
    object: IndexMap<Name, Value>,
    others: Vec<(usize, Cow<'a, Positioned<Field>>)>,
    /// About how many bytes the columns are written in, with the keys of all fields.
    bytes: usize,
}

impl<'a> CollectedFields<'a> {
    fn of<T: ObjectFields>(ctx: &ContextSelectionSet<'a>, object: &T) -> ServerResult<Self> {
        let object_fields = IndexMap::with_capacity(ctx.item.node.items.len());
        let mut fields = Self { object: object_fields, others: Vec::new(), bytes: 0 };
        fields.collect(ctx, &ctx.item.node, object)?;
        Ok(fields)
    }

    fn collect<T: ObjectFields>(
        &mut self,
        ctx: &ContextSelectionSet<'a>,
        selection_set: &'a SelectionSet,
        object: &T,
    ) -> ServerResult<()> {
        for selection in &selection_set.items {
            let (condition, fragment) = match &selection.node {
                Selection::Field(field) => {
                    self.add(field, object);
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
                self.collect(ctx, &fragment.node, object)?;
            }
        }
        Ok(())
    }

    fn add<T: ObjectFields>(&mut self, field: &'a Positioned<Field>, object: &T) {
        match self.object.entry(field.node.response_key().node.clone()) {
            map::Entry::Vacant(entry) => {
                let name = field.node.name.node.as_str();
                let column = if name == "__typename" { Some(Value::from(T::type_name())) } else { object.column(name) };
                if column.is_none() {
                    self.others.push((entry.index(), Cow::Borrowed(field)));
                }
                let text = if let Some(Value::String(text)) = &column { text.len() } else { 0 };
                self.bytes += PUNCTUATION + entry.key().len() + text;
                entry.insert(column.unwrap_or_default());
            }
            // The same field again: what both select is selected once (`MergeSelectionSets`).
            map::Entry::Occupied(entry) => {
                if let Ok(other) = self.others.binary_search_by_key(&entry.index(), |(index, _)| *index) {
                    let selection_set = &mut self.others[other].1.to_mut().node.selection_set;
                    selection_set.node.items.extend_from_slice(&field.node.selection_set.node.items);
                }
            }
        }
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
        // All entries have the same selection, so when the first one needs no future, none does.
        let now: Option<Vec<_>> = self.0.iter().map(|entry| entry.resolve_now(ctx)).collect();
        if let Some(values) = now {
            let mut bytes = 0;
            let values = values.into_iter().map(|value| value.map(|(value, of_value)| (bytes += of_value, value).1));
            let values = values.collect::<ServerResult<_>>()?;
            spend(ctx, field, bytes)?;
            return Ok(Value::List(values));
        }
        let entries = self.0.iter().enumerate().map(|(index, entry)| async move {
            let ctx = ctx.with_index(index);
            let value = entry.resolve(&ctx, field).await;
            value.map_err(|error| if error.path.is_empty() { ctx.set_error_path(error) } else { error })
        });
        let values = join_all(entries).await;
        Ok(Value::List(values.into_iter().collect::<ServerResult<_>>()?))
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
    use std::sync::Arc;

    use async_graphql::{EmptyMutation, EmptySubscription, Object, Schema, value};
    use entity::{hero, team};

    use super::*;
    use crate::graphql::{hero::Hero, team::Team};

    struct Probe;

    #[Object]
    impl Probe {
        async fn hero(&self) -> Hero {
            let (name, secret_name) = ("Rusty-Man".to_owned(), "Tommy \"Sharp\"".to_owned());
            Hero(Arc::new(hero::Model { id: 7, name, secret_name, age: Some(48) }))
        }

        async fn hero_output(&self, ctx: &async_graphql::Context<'_>) -> Output<Hero> {
            Output(self.hero(ctx).await.expect("the hero is there"))
        }

        async fn team(&self) -> Team {
            let (name, headquarters) = ("Preventers".to_owned(), "Sharp Tower".to_owned());
            Team(Arc::new(team::Model { id: 3, name, headquarters }))
        }

        async fn team_output(&self, ctx: &async_graphql::Context<'_>) -> Output<Team> {
            Output(self.team(ctx).await.expect("the team is there"))
        }
    }

    #[tokio::test]
    async fn columns_are_what_the_resolvers_give() {
        let schema = Schema::build(Probe, EmptyMutation, EmptySubscription)
            .data(Bounds::new(usize::MAX, tokio::time::Instant::now() + std::time::Duration::from_mins(1)))
            .finish();
        let fields = "id name __typename";
        let query = format!(
            "{{ hero {{ {fields} secretName age }} heroOutput {{ {fields} secretName age }}
                team {{ {fields} headquarters }} teamOutput {{ {fields} headquarters }} }}"
        );
        let Value::Object(data) = schema.execute(query).await.data else { panic!("an object is expected") };
        assert_eq!(data["hero"], data["heroOutput"]);
        assert_eq!(data["team"], data["teamOutput"]);
        assert_eq!(
            data["team"],
            value!({"id": "Team:3", "name": "Preventers", "__typename": "Team", "headquarters": "Sharp Tower"})
        );
    }
}
