//! Plain lists, and how long lists are.

use std::sync::Arc;

use async_graphql::{Context, PathSegment};

use super::{
    Json,
    fields::{Answered, Fault, Objects, answer_objects},
    json::JsonColumn,
};
use crate::{
    db::Indexes,
    graphql::{
        context::RequestContext,
        error::{ApiError, Code},
        loaders::Source,
        types::{Arguments, DEFAULT_LIMIT, Input, MAX_LIMIT, filter, order},
    },
    schema::Entity,
    store::{Count, CountQuery, Filter, FoundQuery, ListQuery, Page, Scan, Slice},
};

/// The pages of the plain lists of a field, for many parents.
pub async fn pages(ctx: &Context<'_>, source: Source, parents: Arc<[i64]>) -> Result<Arc<[Arc<Page>]>, Fault> {
    let request = RequestContext::from_context(ctx);
    let arguments = RequestContext::arguments(ctx);
    let query = arguments.and_then(|arguments| list_query(request, source.entity(), &arguments));
    let query = query.map_err(|error| Fault::new(error, ctx))?;
    let scan = |indexes: &Indexes| query.scan(source.entity(), indexes);
    check_scan(request, source, scan).await.map_err(|error| Fault::new(error, ctx))?;
    let pages = request.loaders.pages(source, parents, &Arc::new(query)).await;
    pages.map_err(|error| Fault::new(error, ctx))
}

fn list_query(request: &RequestContext, entity: &'static Entity, arguments: &Arguments) -> Result<ListQuery, ApiError> {
    let limit = page_size(arguments.get("limit"), DEFAULT_LIMIT)?;
    let offset = arguments.get("offset");
    let number = offset.present().map_or(Ok(0), |offset| offset.int())?;
    let negative = |_| offset.path().bad_input(format_args!("must be 0 or more, not {number}"));
    let (skipped, max) = (u64::try_from(number).map_err(negative)?, request.bounds.max_offset());
    if skipped > max {
        let message = format_args!("must be at most {max}, not {number}; a connection pages without an offset");
        return Err(offset.path().bad_input(message));
    }
    let slice = Slice::Offset { limit, offset: skipped };
    query(request, entity, arguments, slice)
}

/// Refuses what has to read too many rows of a table, with the indexes that it has.
///
/// # Errors
///
/// `QUERY_TOO_COMPLEX`, with the number of rows, or what the database says.
pub async fn check_scan(
    request: &RequestContext,
    source: Source,
    scan: impl Fn(&Indexes) -> Scan,
) -> Result<(), ApiError> {
    let (Source::All(entity), max @ 1..) = (source, request.bounds.max_scan()) else { return Ok(()) };
    // The database is not asked about what is served in any case.
    if scan(&request.db.no_indexes()) == Scan::Wanted {
        return Ok(());
    }
    let all = request.db.table_rows(entity.table(), entity.key.name(), max).await;
    if all <= max {
        return Ok(());
    }
    let found = async |filter| request.loaders.found(entity, FoundQuery { filter, max }).await;
    let nouns = entity.nouns();
    let (rows, reason) = match scan(&*request.db.indexes().await) {
        Scan::Wanted => return Ok(()),
        Scan::Passed(filter, wanted) => {
            let found = found(filter).await?.max(1);
            let left_out = all.saturating_sub(found);
            // As far as is known, they are spread evenly.
            let passed = u128::from(left_out) * u128::from(wanted) / u128::from(found);
            let rows = u64::try_from(passed).map_or(left_out, |passed| passed.min(left_out));
            (rows, format!("about {rows} {nouns} would be read that do not match this filter"))
        }
        scan => {
            let rows = if let Scan::Found(filter) = scan { found(filter).await? } else { all };
            let reason = format!(
                "no index finds fewer than about {rows} {nouns} for this filter or order, and all of them would be read"
            );
            (rows, reason)
        }
    };
    if rows <= max {
        return Ok(());
    }
    let message = format!("{reason}; at most {max} are allowed: add a condition such as `eq`, `in` or `startsWith`");
    Err(ApiError::new(Code::QueryTooComplex, message))
}

/// The query of a list with these arguments `where` and `orderBy`.
pub fn query(
    request: &RequestContext,
    entity: &'static Entity,
    arguments: &Arguments,
    slice: Slice,
) -> Result<ListQuery, ApiError> {
    let order = order(entity, arguments.get("orderBy"))?;
    Ok(ListQuery { filter: filter(request.entities, entity, arguments.get("where"))?, order, slice })
}

/// A number of objects that is in its range.
pub fn page_size(argument: Input<'_>, default: i32) -> Result<u64, ApiError> {
    let number = argument.present().map_or(Ok(default), |argument| argument.int())?;
    match u64::try_from(number) {
        Ok(limit) if number <= MAX_LIMIT => Ok(limit),
        _ => Err(argument.path().bad_input(format_args!("must be from 0 to {MAX_LIMIT}, not {number}"))),
    }
}

/// The lists of what is made of the rows of pages. The objects of all lists are answered together, so that their
/// relations are loaded together.
pub async fn answer_pages<'p, B: Objects>(
    ctx: &Context<'_>,
    pages: &'p [Arc<Page>],
    batch: impl FnOnce(&'p [Arc<Page>]) -> B,
) -> Answered {
    let rows = pages.iter().map(|page| page.rows.len()).sum();
    RequestContext::from_context(ctx).bounds.take_rows(rows).map_err(|error| Fault::new(error, ctx))?;
    let all = answer_objects(&batch(pages), ctx).await.map_err(|fault| in_list(fault, pages))?;
    let mut lists = JsonColumn::with_capacity(pages.len(), all.bytes() + all.len() + 2 * pages.len());
    let mut start = 0;
    for page in pages {
        let end = start + page.rows.len();
        lists.push(|json| json.list(start..end, |json, index| json.raw(all.get(index))));
        start = end;
    }
    Ok(lists)
}

/// An error in one of the objects of all lists, as one in an entry of a list.
fn in_list(mut fault: Fault, pages: &[Arc<Page>]) -> Fault {
    let mut index = fault.object;
    for (list, page) in pages.iter().enumerate() {
        if index < page.rows.len() {
            fault.object = list;
            return fault.below(PathSegment::Index(index));
        }
        index -= page.rows.len();
    }
    fault
}

/// The numbers of objects in the lists of a field, for many parents.
pub async fn counts(ctx: &Context<'_>, source: Source, parents: Arc<[i64]>) -> Answered {
    let arguments = RequestContext::arguments(ctx);
    let filter = arguments.and_then(|arguments| {
        filter(RequestContext::from_context(ctx).entities, source.entity(), arguments.get("where"))
    });
    let filter = filter.map_err(|error| Fault::new(error, ctx))?;
    numbers(ctx, source, parents, filter, |json, count| json.scalar(int(count))).await
}

/// What is written of the numbers of objects that match a filter in the lists of many parents.
pub async fn numbers(
    ctx: &Context<'_>,
    source: Source,
    parents: Arc<[i64]>,
    filter: Filter,
    write: impl Fn(&mut Json, Count),
) -> Answered {
    let request = RequestContext::from_context(ctx);
    let max = request.bounds.max_scan();
    let scan = |indexes: &Indexes| filter.scan(source.entity(), indexes, max);
    check_scan(request, source, scan).await.map_err(|error| Fault::new(error, ctx))?;
    let query = Arc::new(CountQuery { filter, max });
    let counts = request.loaders.counts(source, parents, &query).await.map_err(|error| Fault::new(error, ctx))?;
    let mut values = JsonColumn::default();
    for count in &*counts {
        values.push(|json| write(json, *count));
    }
    Ok(values)
}

/// A number of objects as GraphQL has it.
pub fn int(count: Count) -> i32 {
    i32::try_from(count.number).unwrap_or(i32::MAX)
}
