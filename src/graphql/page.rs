//! The arguments of a list: checked once, bounded always.

use super::{error::ApiError, input::Place};
use crate::store::Page;

/// Objects in a list when the query does not say how many.
pub const DEFAULT_LIMIT: i32 = 100;
/// Objects in a list, at most.
pub const MAX_LIMIT: i32 = 1_000;

/// The page that `limit` and `offset` ask for.
///
/// # Errors
///
/// `BAD_USER_INPUT` when one is out of its range.
pub fn page(limit: Option<i32>, offset: Option<i32>) -> Result<Page, ApiError> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    let offset = offset.unwrap_or(0);
    if !(0..=MAX_LIMIT).contains(&limit) {
        let place = Place::argument("limit");
        return Err(place.bad_input(format_args!("must be from 0 to {MAX_LIMIT}, not {limit}")));
    }
    match (u64::try_from(limit), u64::try_from(offset)) {
        (Ok(limit), Ok(offset)) => Ok(Page { limit, offset }),
        _ => Err(Place::argument("offset").bad_input(format_args!("must be 0 or more, not {offset}"))),
    }
}
