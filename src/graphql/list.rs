//! Lists: plain ones for people, and connections for clients that page. Both run on the same code.

use std::sync::Arc;

use async_graphql::{Context, InputType, OutputType};

use super::{
    bounds::Bounds,
    error::ApiError,
    filter::{FilterInput, filter},
    input::Place,
    json::Values,
    loaders::{CountLoader, Loaders, Page, PageLoader},
    order::order,
    output::{List, ObjectFields, Output, Together, objects},
};
use crate::store::{Filter, ListQuery, Order, Record, Row, Slice, Table};

/// Objects in a list when the query does not say how many.
pub const DEFAULT_LIMIT: i32 = 100;
/// Objects in a list, at most.
pub const MAX_LIMIT: i32 = 1_000;

/// An object type that comes in lists.
pub trait Listed: ObjectFields + OutputType + Clone + 'static {
    type Entity: Table;
    type Filter: FilterInput;
    type Order: InputType + Into<Order>;

    /// The object for a row.
    fn new(row: Record<Self::Entity>) -> Self;

    /// The loader of parts of lists of such objects.
    fn pages(loaders: &Loaders) -> &PageLoader<Self::Entity>;
    /// The loader of numbers of such objects.
    fn counts(loaders: &Loaders) -> &CountLoader<Self::Entity>;
}

/// The arguments `where` and `orderBy` of a field with a list.
pub type FilterAndOrder<T> = (Option<<T as Listed>::Filter>, Option<Vec<<T as Listed>::Order>>);

/// The list of a field: of all objects of a type, or of those that are linked to a parent.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// The field of the root.
    Root,
    /// The field of the object with this key.
    Parent(i64),
}

/// A plain list.
///
/// # Errors
///
/// `BAD_USER_INPUT` when an argument is wrong, or what the database says.
pub async fn list<T: Listed>(
    ctx: &Context<'_>,
    source: Source,
    filter_and_order: FilterAndOrder<T>,
    limit_and_offset: (Option<i32>, Option<i32>),
) -> Result<List<Output<T>>, ApiError> {
    ctx.data_unchecked::<Bounds>().in_time()?;
    let query = list_query::<T>(filter_and_order, limit_and_offset)?;
    let rows = ctx.data_unchecked::<Loaders>().page(T::pages, source, Arc::new(query)).await?;
    ctx.data_unchecked::<Bounds>().take_rows(rows.rows.len())?;
    Ok(rows.rows.iter().map(object).collect())
}

fn list_query<T: Listed>(
    (filter_by, order_by): FilterAndOrder<T>,
    (limit, offset): (Option<i32>, Option<i32>),
) -> Result<ListQuery, ApiError> {
    let limit = bounded("limit", limit.unwrap_or(DEFAULT_LIMIT))?;
    let offset = offset.unwrap_or(0);
    let offset = u64::try_from(offset)
        .map_err(|_| Place::argument("offset").bad_input(format_args!("must be 0 or more, not {offset}")))?;
    query::<T>(filter_by, order_by, Slice::Offset { limit, offset })
}

/// The object for a row of a list.
pub fn object<T: Listed>(row: &Row<Record<T::Entity>>) -> Output<T> {
    Output(T::new(row.model.clone()))
}

/// The arguments `where` and `orderBy` of a field; none when one of them is wrong.
pub fn filter_and_order<T: Listed>(ctx: &Context<'_>) -> Option<FilterAndOrder<T>> {
    let (_, filter_by) = ctx.param_value("where", None).ok()?;
    let (_, order_by) = ctx.param_value("orderBy", None).ok()?;
    Some((filter_by, order_by))
}

/// The plain lists of a field for many parents. The arguments are those that `list` is given by the resolver of the field.
pub async fn lists<T: Listed>(ctx: &Context<'_>, parents: Vec<i64>) -> Together {
    let arguments = || {
        let filter_and_order = filter_and_order::<T>(ctx)?;
        let (_, limit) = ctx.param_value::<Option<i32>>("limit", Some(|| Some(DEFAULT_LIMIT))).ok()?;
        let (_, offset) = ctx.param_value::<Option<i32>>("offset", Some(|| Some(0))).ok()?;
        list_query::<T>(filter_and_order, (limit, offset)).ok()
    };
    let Some(query) = arguments() else { return Ok(None) };
    let pages = ctx.data_unchecked::<Loaders>().pages(T::pages, parents, Arc::new(query)).await?;
    entries(ctx, &pages, object::<T>).await
}

/// The lists of what is made of the rows of pages. The objects of all lists are answered together, so that their relations are
/// loaded together, too.
pub async fn entries<T: ObjectFields, E: Table>(
    ctx: &Context<'_>,
    pages: &[Page<E>],
    entry: impl Fn(&Row<Record<E>>) -> Output<T>,
) -> Together {
    ctx.data_unchecked::<Bounds>().take_rows(pages.iter().map(|page| page.rows.len()).sum())?;
    let all: Vec<_> = pages.iter().flat_map(|page| &page.rows).map(entry).collect();
    let Some(all) = objects(&all, &ctx.with_selection_set(&ctx.item.node.selection_set)).await? else {
        return Ok(None);
    };
    let mut lists = Values::default();
    let mut start = 0;
    for page in pages {
        let end = start + page.rows.len();
        lists.push(|json| json.list(start..end, |json, index| json.raw(all.get(index))));
        start = end;
    }
    Ok(Some(lists))
}

/// The numbers of objects in the lists of many parents.
pub async fn counts<T: Listed>(ctx: &Context<'_>, parents: Vec<i64>) -> Together {
    let arguments = || filter(ctx.param_value::<Option<T::Filter>>("where", None).ok()?.1).ok();
    let Some(filter) = arguments() else { return Ok(None) };
    numbers::<T>(ctx, parents, filter).await.map(Some)
}

/// The numbers of objects that a filter leaves in the lists of many parents.
pub async fn numbers<T: Listed>(ctx: &Context<'_>, parents: Vec<i64>, filter: Filter) -> Result<Values, ApiError> {
    let counts = ctx.data_unchecked::<Loaders>().counts(T::counts, parents, Arc::new(filter)).await?;
    let mut values = Values::default();
    for count in counts {
        values.push(|json| json.scalar(i32::try_from(count).unwrap_or(i32::MAX)));
    }
    Ok(values)
}

/// The number of objects in a list.
///
/// # Errors
///
/// `BAD_USER_INPUT` when an argument is wrong, or what the database says.
pub async fn count<T: Listed>(
    ctx: &Context<'_>,
    source: Source,
    filter_by: Option<T::Filter>,
) -> Result<i32, ApiError> {
    ctx.data_unchecked::<Bounds>().in_time()?;
    let filter = Arc::new(filter(filter_by)?);
    let count = ctx.data_unchecked::<Loaders>().count(T::counts, source, filter).await?;
    Ok(i32::try_from(count).unwrap_or(i32::MAX))
}

/// The query of a list.
pub fn query<T: Listed>(
    filter_by: Option<T::Filter>,
    order_by: Option<Vec<T::Order>>,
    slice: Slice,
) -> Result<ListQuery, ApiError> {
    let order_by = order_by.unwrap_or_default();
    super::input::check_length(order_by.len(), Place::argument("orderBy"))?;
    Ok(ListQuery { filter: filter(filter_by)?, order: order::<T::Entity>(order_by.into_iter().map(Into::into)), slice })
}

/// A number of objects that is in its range.
pub fn bounded(argument: &'static str, number: i32) -> Result<u64, ApiError> {
    match u64::try_from(number) {
        Ok(limit) if number <= MAX_LIMIT => Ok(limit),
        _ => Err(Place::argument(argument).bad_input(format_args!("must be from 0 to {MAX_LIMIT}, not {number}"))),
    }
}
