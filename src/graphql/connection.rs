//! Connections: lists for clients that page (the Relay Cursor Connections specification).
//!
//! A cursor carries the values of the order at its object, so a page begins where the last one ended, whatever was
//! inserted or deleted in between. It costs the same wherever it is when an index has the order: that of any column, but
//! for ages the part where those that are not known come last, and not that of the number of related objects.

use std::{borrow::Cow, fmt::Write as _, sync::Arc};

use async_graphql::{
    Context, Object, OutputType, TypeName,
    futures_util::{
        FutureExt,
        future::{BoxFuture, join, join_all, ready},
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{
    bounds::Bounds,
    error::{ApiError, Code},
    input::Place,
    json::Json,
    list::{DEFAULT_LIMIT, FilterAndOrder, Listed, Source, bounded, entries, filter_and_order, numbers, object, query},
    loaders::{Loaders, Page},
    output::{List, ObjectFields, Output, Together, objects},
};
use crate::store::{Bound, Key, ListQuery, Order, OrderBy, Position, Record, Row, Slice};

/// The arguments of a connection that say which part of the list is wanted.
#[derive(Debug)]
pub struct PageArguments {
    pub first: Option<i32>,
    pub after: Option<String>,
    pub last: Option<i32>,
    pub before: Option<String>,
}

/// A part of a list.
#[derive(Clone, Debug)]
pub struct Connection<T: Listed> {
    /// The field whose list it is. Cursors of other fields are refused.
    field: &'static str,
    source: Source,
    query: Arc<ListQuery>,
    /// Whether `first` was given, and not only its default.
    has_first: bool,
    node: std::marker::PhantomData<T>,
}

/// An object in a connection.
#[derive(Debug)]
pub struct Edge<T: Listed> {
    cursor: Cursor,
    node: T,
}

/// Where in its list a part stands.
#[derive(Debug)]
pub struct PageInfo {
    has_next_page: bool,
    has_previous_page: bool,
    start_cursor: Option<Cursor>,
    end_cursor: Option<Cursor>,
}

/// A connection, after checking its arguments. It reads nothing until its fields are resolved.
///
/// # Errors
///
/// `BAD_USER_INPUT` when an argument is wrong.
pub fn connection<T: Listed>(
    field: &'static str,
    source: Source,
    (filter_by, order_by): FilterAndOrder<T>,
    page: PageArguments,
) -> Result<Output<Connection<T>>, ApiError> {
    let PageArguments { first, after, last, before } = page;
    let has_first = first.is_some();
    let (limit, last) = match (first, last) {
        (Some(_), Some(_)) => {
            return Err(Place::argument("last").bad_input("must not be given together with `first`"));
        }
        (None, Some(last)) => (bounded("last", last)?, true),
        (first, None) => (bounded("first", first.unwrap_or(DEFAULT_LIMIT))?, false),
    };
    let slice = Slice::Keyset { after: None, before: None, limit, last };
    let mut query = query::<T>(filter_by, order_by, slice)?;
    let after = after.map(|after| Cursor::parse(&after, field, &query.order, Place::argument("after"))).transpose()?;
    let before =
        before.map(|before| Cursor::parse(&before, field, &query.order, Place::argument("before"))).transpose()?;
    query.slice = Slice::Keyset { after, before, limit, last };
    Ok(Output(Connection { field, source, query: Arc::new(query), has_first, node: std::marker::PhantomData }))
}

/// The connections of a field for many parents. The arguments are those that `connection` is given by the resolver of the field.
pub async fn connections<T: Listed>(field: &'static str, ctx: &Context<'_>, parents: Vec<i64>) -> Together {
    let arguments = || {
        let filter_and_order = filter_and_order::<T>(ctx)?;
        let (_, first) = ctx.param_value::<Option<i32>>("first", None).ok()?;
        let (_, after) = ctx.param_value::<Option<String>>("after", None).ok()?;
        let (_, last) = ctx.param_value::<Option<i32>>("last", None).ok()?;
        let (_, before) = ctx.param_value::<Option<String>>("before", None).ok()?;
        let page = PageArguments { first, after, last, before };
        connection::<T>(field, Source::Root, filter_and_order, page).ok()
    };
    let Some(Output(connection)) = arguments() else { return Ok(None) };
    let of_parent = |parent| Output(Connection { source: Source::Parent(parent), ..connection.clone() });
    let connections: Vec<_> = parents.into_iter().map(of_parent).collect();
    objects(&connections, &ctx.with_selection_set(&ctx.item.node.selection_set)).await
}

/// A part of a list, for clients that page.
#[Object(name_type)]
impl<T: Listed> Connection<T> {
    /// The objects of this part, each with its cursor, in the order of the list also when they are its last ones.
    async fn edges(&self, ctx: &Context<'_>) -> Result<List<Output<Edge<T>>>, ApiError> {
        let page = self.load(ctx, Arc::clone(&self.query)).await?;
        ctx.data_unchecked::<Bounds>().take_rows(page.rows.len())?;
        Ok(page.rows.iter().map(|row| Output(self.edge(row))).collect())
    }

    /// The objects of this part without their cursors.
    async fn nodes(&self, ctx: &Context<'_>) -> Result<List<Output<T>>, ApiError> {
        let page = self.load(ctx, Arc::clone(&self.query)).await?;
        ctx.data_unchecked::<Bounds>().take_rows(page.rows.len())?;
        Ok(page.rows.iter().map(object).collect())
    }

    /// Where in the list this part stands.
    async fn page_info(&self, ctx: &Context<'_>) -> Result<Output<PageInfo>, ApiError> {
        let page = self.load(ctx, Arc::clone(&self.query)).await?;
        let is_selected = |field| ctx.look_ahead().field(field).exists();
        let Slice::Keyset { after, before, last, .. } = &self.query.slice else {
            return Err(ApiError::new(Code::Internal, "a connection has no bounds"));
        };
        let (after, before) = (after.as_ref(), before.as_ref());
        let before_after =
            after.filter(|_| !last && is_selected("hasPreviousPage")).map(|after| self.up_to(after, true));
        let behind_before = before.filter(|_| (*last || !self.has_first) && is_selected("hasNextPage"));
        let behind_before = behind_before.map(|before| self.up_to(before, false));
        let (before_after, behind_before) = join(self.is_any(ctx, before_after), self.is_any(ctx, behind_before)).await;
        let has_next_page = behind_before? || (!last && page.has_more);
        let has_previous_page = before_after? || (*last && page.has_more);
        Ok(Output(PageInfo {
            has_next_page,
            has_previous_page,
            start_cursor: page.rows.first().map(|row| self.cursor(row)),
            end_cursor: page.rows.last().map(|row| self.cursor(row)),
        }))
    }

    /// How many objects the whole list has, whatever part of it this is. Counted only when it is selected.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<i32, ApiError> {
        let filter = Arc::new(self.query.filter.clone());
        let count = ctx.data_unchecked::<Loaders>().count(T::counts, self.source, filter).await?;
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }
}

impl<T: Listed> Connection<T> {
    async fn load(&self, ctx: &Context<'_>, query: Arc<ListQuery>) -> Result<Page<T::Entity>, ApiError> {
        ctx.data_unchecked::<Loaders>().page(T::pages, self.source, query).await
    }

    /// What finds an object up to a bound, or from it on. A page of no objects tells whether there are any.
    fn up_to(&self, bound: &Bound, is_end: bool) -> ListQuery {
        let bound = Some(Bound { inclusive: true, ..bound.clone() });
        let (after, before) = if is_end { (None, bound) } else { (bound, None) };
        let slice = Slice::Keyset { after, before, limit: 0, last: is_end };
        ListQuery { slice, ..(*self.query).clone() }
    }

    async fn is_any(&self, ctx: &Context<'_>, query: Option<ListQuery>) -> Result<bool, ApiError> {
        match query {
            Some(query) => Ok(self.load(ctx, Arc::new(query)).await?.has_more),
            None => Ok(false),
        }
    }

    fn edge(&self, row: &Row<Record<T::Entity>>) -> Edge<T> {
        Edge { cursor: self.cursor(row), node: T::new(row.model.clone()) }
    }

    fn cursor(&self, row: &Row<Record<T::Entity>>) -> Cursor {
        let order = &self.query.order;
        Cursor {
            field: self.field,
            order: signature(order),
            position: Position::of::<T::Entity>(order, &row.model, row.linked),
        }
    }
}

/// An object in a connection, with the cursor that stands for its place.
#[Object(name_type)]
impl<T: Listed> Edge<T> {
    /// The place of the object in its list, for `after` and `before`. It says nothing to clients.
    async fn cursor(&self) -> String {
        self.cursor.encode()
    }

    /// The object.
    async fn node(&self) -> Output<T> {
        Output(self.node.clone())
    }
}

/// Where in its list a part stands.
#[Object]
impl PageInfo {
    /// Whether there are objects behind this part. With `first` only those before `before` count, otherwise those from `before`
    /// on do, too.
    async fn has_next_page(&self) -> bool {
        self.has_next_page
    }

    /// Whether there are objects before this part. With `last` only those behind `after` count, otherwise those up to `after`
    /// do, too.
    async fn has_previous_page(&self) -> bool {
        self.has_previous_page
    }

    /// The cursor of the first object of this part; null when it is empty.
    async fn start_cursor(&self) -> Option<String> {
        self.start_cursor.as_ref().map(Cursor::encode)
    }

    /// The cursor of the last object of this part; null when it is empty.
    async fn end_cursor(&self) -> Option<String> {
        self.end_cursor.as_ref().map(Cursor::encode)
    }
}

impl<T: Listed> TypeName for Connection<T> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Connection", <T as OutputType>::type_name()).into()
    }
}

impl<T: Listed> TypeName for Edge<T> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Edge", <T as OutputType>::type_name()).into()
    }
}

impl<T: Listed> ObjectFields for Connection<T> {
    type Column = ();

    /// Connections that are answered together are those of one field, which ask the same of each parent.
    fn relation<'a>(connections: &'a [Output<Self>], ctx: &'a Context<'_>) -> BoxFuture<'a, Together> {
        let Some(Output(first)) = connections.first() else { return ready(Ok(None)).boxed() };
        let parents = || connections.iter().filter_map(|connection| connection.0.source.parent()).collect();
        let pages = || ctx.data_unchecked::<Loaders>().pages(T::pages, parents(), Arc::clone(&first.query));
        match ctx.item.node.name.node.as_str() {
            "nodes" => {
                let pages = pages();
                async move { entries(ctx, &pages.await?, object::<T>).await }.boxed()
            }
            "edges" => {
                let pages = pages();
                async move { entries(ctx, &pages.await?, |row| Output(first.edge(row))).await }.boxed()
            }
            "totalCount" => {
                let parents = parents();
                async move { numbers::<T>(ctx, parents, first.query.filter.clone()).await.map(Some) }.boxed()
            }
            "pageInfo" => async move {
                let infos = join_all(connections.iter().map(|connection| connection.0.page_info(ctx))).await;
                let infos: Vec<_> = infos.into_iter().collect::<Result<_, _>>()?;
                objects(&infos, &ctx.with_selection_set(&ctx.item.node.selection_set)).await
            }
            .boxed(),
            _ => ready(Ok(None)).boxed(),
        }
    }
}

/// The cursor is the one field that is no object.
impl<T: Listed> ObjectFields for Edge<T> {
    type Column = ();

    fn column(field: &str) -> Option<()> {
        (field == "cursor").then_some(())
    }

    fn write_column(&self, (): (), json: &mut Json) {
        json.scalar(self.cursor.encode());
    }

    fn relation<'a>(edges: &'a [Output<Self>], ctx: &'a Context<'_>) -> BoxFuture<'a, Together> {
        let nodes: Vec<_> = edges.iter().map(|edge| Output(edge.0.node.clone())).collect();
        let is_node = ctx.item.node.name.node == "node";
        let nodes = async move { objects(&nodes, &ctx.with_selection_set(&ctx.item.node.selection_set)).await };
        if is_node { nodes.boxed() } else { ready(Ok(None)).boxed() }
    }
}

/// The fields of [`PageInfo`].
#[derive(Clone, Copy, Debug)]
pub enum PageInfoField {
    HasNextPage,
    HasPreviousPage,
    StartCursor,
    EndCursor,
}

impl ObjectFields for PageInfo {
    type Column = PageInfoField;

    fn column(field: &str) -> Option<PageInfoField> {
        match field {
            "hasNextPage" => Some(PageInfoField::HasNextPage),
            "hasPreviousPage" => Some(PageInfoField::HasPreviousPage),
            "startCursor" => Some(PageInfoField::StartCursor),
            "endCursor" => Some(PageInfoField::EndCursor),
            _ => None,
        }
    }

    fn write_column(&self, field: PageInfoField, json: &mut Json) {
        match field {
            PageInfoField::HasNextPage => json.scalar(self.has_next_page),
            PageInfoField::HasPreviousPage => json.scalar(self.has_previous_page),
            PageInfoField::StartCursor => json.scalar(self.start_cursor.as_ref().map(Cursor::encode)),
            PageInfoField::EndCursor => json.scalar(self.end_cursor.as_ref().map(Cursor::encode)),
        }
    }
}

/// A place in the list of a field under an order.
#[derive(Debug)]
struct Cursor {
    field: &'static str,
    order: String,
    position: Position,
}

/// What a cursor is on its way.
#[derive(Serialize, Deserialize)]
struct Sent<'a>(#[serde(borrow)] Cow<'a, str>, #[serde(borrow)] Cow<'a, str>, Vec<serde_json::Value>);

impl Cursor {
    fn encode(&self) -> String {
        let keys = self.position.0.iter().map(|key| match key {
            Key::Null => serde_json::Value::Null,
            Key::Int(number) => (*number).into(),
            Key::Text(text) => text.as_str().into(),
        });
        let sent = Sent(self.field.into(), self.order.as_str().into(), keys.collect());
        // Strings and numbers always serialize.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&sent).unwrap_or_default())
    }

    /// The place that a cursor stands for.
    fn parse(cursor: &str, field: &str, order: &[Order], place: Place<'_>) -> Result<Bound, ApiError> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).unwrap_or_default();
        let Ok(Sent(of_field, of_order, keys)) = serde_json::from_slice(&bytes) else {
            return Err(place.bad_input("is not a cursor"));
        };
        if of_field != field {
            return Err(place.bad_input(format_args!("is a cursor of another list than `{field}`")));
        }
        if of_order != signature(order) {
            return Err(place.bad_input("is a cursor of another order; give the `orderBy` that it was made under"));
        }
        let keys: Option<Vec<_>> = keys.into_iter().zip(order).map(|(key, step)| parse_key(key, *step)).collect();
        match keys {
            Some(keys) if keys.len() == order.len() => Ok(Bound { position: Position(keys), inclusive: false }),
            _ => Err(place.bad_input("is not a cursor")),
        }
    }
}

fn parse_key(key: serde_json::Value, step: Order) -> Option<Key> {
    match (key, step.by) {
        (serde_json::Value::Null, OrderBy::Column(column)) if column.is_nullable => Some(Key::Null),
        (serde_json::Value::String(text), OrderBy::Column(column)) if column.is_text && !text.contains('\0') => {
            Some(Key::Text(text))
        }
        (serde_json::Value::Number(number), OrderBy::Column(column)) if !column.is_text => {
            number.as_i64().map(Key::Int)
        }
        (serde_json::Value::Number(number), OrderBy::Linked) => number.as_i64().map(Key::Int),
        _ => None,
    }
}

/// What tells one order from another.
fn signature(order: &[Order]) -> String {
    order.iter().fold(String::new(), |mut signature, step| {
        let by = match step.by {
            OrderBy::Column(column) => column.name,
            OrderBy::Linked => "#",
        };
        let direction = if step.descending { '-' } else { '+' };
        let nulls = if step.nulls_first { "0" } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(signature, "{by}{direction}{nulls}");
        signature
    })
}
