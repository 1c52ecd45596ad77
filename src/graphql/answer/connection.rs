//! Connections: lists for clients that page (Relay Cursor Connections Specification).
//!
//! A cursor holds the sort key of its object (keyset pagination), so pages are stable while rows are inserted and
//! deleted. Every page costs the same where an index covers the order. Two orders have none: a nullable column in
//! ascending order once the nulls begin, and the number of related objects.

use std::{borrow::Cow, fmt::Write as _, sync::Arc};

use async_graphql::{
    Context,
    connection::{CursorType as _, OpaqueCursor},
};
use futures_util::{
    FutureExt,
    future::{BoxFuture, join, ready},
};

use super::{
    Json,
    entity_rows::EntityRows,
    fields::{Answered, Fault, Objects, answer_objects},
    json::JsonColumn,
    list::{answer_pages, check_scan, int, numbers, page_size, query},
};
use crate::{
    db::Indexes,
    graphql::{
        context::RequestContext,
        error::ApiError,
        loaders::Source,
        types::{Arguments, DEFAULT_LIMIT, Input},
    },
    schema::{Entity, Kind},
    store::{Bound, Count, ListQuery, Order, OrderBy, Page, Row, Scalar, Slice, position},
};

/// The connections of one field, for many parents.
#[derive(Debug)]
struct Connections {
    source: Source,
    parents: Arc<[i64]>,
    query: Arc<ListQuery>,
    /// Whether `first` was given.
    first_given: bool,
    cursors: Cursors,
}

/// The connections of a field of a type, for many parents.
pub async fn connections(ctx: &Context<'_>, ty: &str, source: Source, parents: Arc<[i64]>) -> Answered {
    let request = RequestContext::from_context(ctx);
    // Cursors of other fields are refused.
    let field = format!("{ty}.{}", ctx.item.node.name.node);
    let connections = RequestContext::arguments(ctx)
        .and_then(|arguments| Connections::new(request, &arguments, field, source, parents));
    answer_objects(&connections.map_err(|error| Fault::new(error, ctx))?, ctx).await
}

impl Connections {
    fn new(
        request: &RequestContext,
        arguments: &Arguments,
        field: String,
        source: Source,
        parents: Arc<[i64]>,
    ) -> Result<Self, ApiError> {
        let (first, last) = (arguments.get("first").present(), arguments.get("last").present());
        let (limit, is_last) = match (first, last) {
            (Some(_), Some(last)) => return Err(last.path().bad_input("must not be given together with `first`")),
            (None, Some(last)) => (page_size(last, DEFAULT_LIMIT)?, true),
            (_, None) => (page_size(arguments.get("first"), DEFAULT_LIMIT)?, false),
        };
        let slice = Slice::Keyset { after: None, before: None, limit, last: is_last };
        let mut query = query(request, source.entity(), arguments, slice)?;
        let cursors = Cursors { field, signature: signature(&query.order) };
        let bound = |name| {
            let cursor = arguments.get(name).present();
            cursor.map(|cursor| cursors.bound(&query.order, cursor)).transpose()
        };
        let (after, before) = (bound("after")?, bound("before")?);
        query.slice = Slice::Keyset { after, before, limit, last: is_last };
        Ok(Self { source, parents, query: Arc::new(query), first_given: first.is_some(), cursors })
    }

    async fn counts(&self, ctx: &Context<'_>, write: fn(&mut Json, Count)) -> Answered {
        numbers(ctx, self.source, Arc::clone(&self.parents), self.query.filter.clone(), write).await
    }

    async fn pages(&self, ctx: &Context<'_>, query: &Arc<ListQuery>) -> Result<Arc<[Arc<Page>]>, Fault> {
        let request = RequestContext::from_context(ctx);
        let scan = |indexes: &Indexes| query.scan(self.source.entity(), indexes);
        check_scan(request, self.source, scan).await.map_err(|error| Fault::new(error, ctx))?;
        let pages = request.loaders.pages(self.source, Arc::clone(&self.parents), query).await;
        pages.map_err(|error| Fault::new(error, ctx))
    }

    async fn nodes(&self, ctx: &Context<'_>) -> Answered {
        let pages = self.pages(ctx, &self.query).await?;
        answer_pages(ctx, &pages, |pages| self.rows(pages)).await
    }

    async fn edges(&self, ctx: &Context<'_>) -> Answered {
        let pages = self.pages(ctx, &self.query).await?;
        answer_pages(ctx, &pages, |pages| Edges {
            cursors: &self.cursors,
            order: &self.query.order,
            nodes: self.rows(pages),
        })
        .await
    }

    fn rows<'p>(&self, pages: &'p [Arc<Page>]) -> EntityRows<'p> {
        EntityRows::of_pages(self.source.entity(), pages)
    }

    async fn page_infos(&self, ctx: &Context<'_>) -> Answered {
        let is_selected = |field| ctx.look_ahead().field(field).exists();
        let Slice::Keyset { after, before, last, .. } = &self.query.slice else { return Ok(JsonColumn::default()) };
        let before_after = after.as_ref().filter(|_| !last && is_selected("hasPreviousPage"));
        let after_before = before.as_ref().filter(|_| (*last || !self.first_given) && is_selected("hasNextPage"));
        let pages = self.pages(ctx, &self.query).await?;
        let (before_after, after_before) = join(
            self.have_any(ctx, before_after.map(|bound| self.up_to(bound, true))),
            self.have_any(ctx, after_before.map(|bound| self.up_to(bound, false))),
        )
        .await;
        let (before_after, after_before) = (before_after?, after_before?);
        let infos = pages.iter().enumerate().map(|(parent, page)| PageInfo {
            has_next_page: after_before.get(parent) == Some(&true) || (!last && page.has_more),
            has_previous_page: before_after.get(parent) == Some(&true) || (*last && page.has_more),
            start_cursor: page.rows.first().map(|row| self.cursor(row)),
            end_cursor: page.rows.last().map(|row| self.cursor(row)),
        });
        answer_objects(&PageInfos(infos.collect()), ctx).await
    }

    /// What finds an object up to a bound, or from it on. A page of no objects tells whether there are any.
    fn up_to(&self, bound: &Bound, is_end: bool) -> ListQuery {
        let bound = Some(Bound { inclusive: true, ..bound.clone() });
        let (after, before) = if is_end { (None, bound) } else { (bound, None) };
        let slice = Slice::Keyset { after, before, limit: 0, last: is_end };
        ListQuery { slice, ..(*self.query).clone() }
    }

    /// For each parent, whether a query finds an object; nothing without a query.
    async fn have_any(&self, ctx: &Context<'_>, query: Option<ListQuery>) -> Result<Vec<bool>, Fault> {
        let Some(query) = query else { return Ok(Vec::new()) };
        Ok(self.pages(ctx, &Arc::new(query)).await?.iter().map(|page| page.has_more).collect())
    }

    fn cursor(&self, row: &Row) -> String {
        self.cursors.encode(self.source.entity(), &self.query.order, row)
    }
}

impl Objects for Connections {
    fn type_name(&self) -> Cow<'_, str> {
        format!("{}Connection", self.source.entity().name).into()
    }

    fn len(&self) -> usize {
        self.parents.len()
    }

    fn scalar(&self, _field: &str) -> Option<usize> {
        None
    }

    fn write(&self, _object: usize, _scalar: usize, _json: &mut Json) {}

    fn answer<'a>(&'a self, ctx: &'a Context<'_>) -> BoxFuture<'a, Answered> {
        match ctx.item.node.name.node.as_str() {
            "edges" => self.edges(ctx).boxed(),
            "nodes" => self.nodes(ctx).boxed(),
            "pageInfo" => self.page_infos(ctx).boxed(),
            "totalCount" => self.counts(ctx, |json, count| json.scalar(int(count))).boxed(),
            "totalCountIsExact" => self.counts(ctx, |json, count| json.scalar(count.is_exact)).boxed(),
            // Validation has refused all other names.
            _ => ready(Ok(JsonColumn::default())).boxed(),
        }
    }
}

/// The edges of objects in the connection of all objects of their entity, in its default order.
pub async fn edges(ctx: &Context<'_>, nodes: EntityRows<'_>) -> Answered {
    let order = [Order::by_key(nodes.entity, false)];
    let field = format!("Query.{}Connection", nodes.entity.many);
    let cursors = Cursors { field, signature: signature(&order) };
    answer_objects(&Edges { cursors: &cursors, order: &order, nodes }, ctx).await
}

/// The edges of all connections.
#[derive(Debug)]
struct Edges<'a> {
    cursors: &'a Cursors,
    order: &'a [Order],
    nodes: EntityRows<'a>,
}

impl Objects for Edges<'_> {
    fn type_name(&self) -> Cow<'_, str> {
        format!("{}Edge", self.nodes.entity.name).into()
    }

    fn len(&self) -> usize {
        self.nodes.len()
    }

    fn scalar(&self, field: &str) -> Option<usize> {
        (field == "cursor").then_some(0)
    }

    fn write(&self, object: usize, _scalar: usize, json: &mut Json) {
        json.scalar(self.cursors.encode(self.nodes.entity, self.order, self.nodes.rows[object]));
    }

    fn answer<'a>(&'a self, ctx: &'a Context<'_>) -> BoxFuture<'a, Answered> {
        answer_objects(&self.nodes, ctx).boxed()
    }
}

/// The position of a page in its list.
#[derive(Debug)]
struct PageInfo {
    has_next_page: bool,
    has_previous_page: bool,
    start_cursor: Option<String>,
    end_cursor: Option<String>,
}

#[derive(Debug)]
struct PageInfos(Vec<PageInfo>);

impl Objects for PageInfos {
    fn type_name(&self) -> Cow<'_, str> {
        "PageInfo".into()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn scalar(&self, field: &str) -> Option<usize> {
        ["hasNextPage", "hasPreviousPage", "startCursor", "endCursor"].iter().position(|name| *name == field)
    }

    fn write(&self, object: usize, scalar: usize, json: &mut Json) {
        let info = &self.0[object];
        match scalar {
            0 => json.scalar(info.has_next_page),
            1 => json.scalar(info.has_previous_page),
            2 => json.scalar(&info.start_cursor),
            _ => json.scalar(&info.end_cursor),
        }
    }

    fn answer<'a>(&'a self, _ctx: &'a Context<'_>) -> BoxFuture<'a, Answered> {
        // Every field can be written at once.
        ready(Ok(JsonColumn::default())).boxed()
    }
}

/// The cursors of a field under an order.
#[derive(Debug)]
struct Cursors {
    field: String,
    /// What tells one order from another.
    signature: String,
}

/// What a cursor holds: its field, its order, and its position in it.
type Sent<'a> = (Cow<'a, str>, Cow<'a, str>, Vec<serde_json::Value>);

impl Cursors {
    fn encode(&self, entity: &'static Entity, order: &[Order], row: &Row) -> String {
        let position = position(entity, order, row).into_iter().map(|value| match value {
            Scalar::Null => serde_json::Value::Null,
            Scalar::Int(number) => number.into(),
            Scalar::Text(text) => text.into(),
        });
        let sent: Sent<'_> = ((&*self.field).into(), (&*self.signature).into(), position.collect());
        OpaqueCursor(sent).encode_cursor()
    }

    /// The bound that a cursor stands for.
    fn bound(&self, order: &[Order], cursor: Input<'_>) -> Result<Bound, ApiError> {
        let Self { field, signature } = self;
        let path = cursor.path();
        let sent = OpaqueCursor::<Sent<'static>>::decode_cursor(cursor.text()?);
        let Ok(OpaqueCursor((of_field, of_order, position))) = sent else {
            return Err(path.bad_input("is not a cursor"));
        };
        if of_field != *field {
            return Err(path.bad_input(format_args!("is a cursor of another list than `{field}`")));
        }
        if of_order != *signature {
            return Err(path.bad_input("is a cursor of another order; give the `orderBy` that it was made under"));
        }
        let position: Option<Vec<_>> =
            position.into_iter().zip(order).map(|(value, step)| parsed(value, step.by)).collect();
        match position {
            Some(position) if position.len() == order.len() => Ok(Bound { position, inclusive: false }),
            _ => Err(path.bad_input("is not a cursor")),
        }
    }
}

fn parsed(value: serde_json::Value, by: OrderBy) -> Option<Scalar> {
    let (is_text, is_nullable) = match by {
        OrderBy::Column(column) => (matches!(column.kind, Kind::Text { .. }), column.is_nullable),
        OrderBy::RelatedCount(_) => (false, false),
    };
    match value {
        serde_json::Value::Null if is_nullable => Some(Scalar::Null),
        serde_json::Value::String(text) if is_text && !text.contains('\0') => Some(Scalar::Text(text)),
        serde_json::Value::Number(number) if !is_text => number.as_i64().map(Scalar::Int),
        _ => None,
    }
}

fn signature(order: &[Order]) -> String {
    order.iter().fold(String::new(), |mut signature, step| {
        let (prefix, by) = match step.by {
            OrderBy::Column(column) => ("", column.name()),
            OrderBy::RelatedCount(relation) => ("#", relation.field),
        };
        let direction = if step.descending { '-' } else { '+' };
        let nulls = if step.nulls_first { "0" } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(signature, "{prefix}{by}{direction}{nulls}");
        signature
    })
}
