//! What the execution of a request may take, counted while it goes on.
//!
//! The rows of an operation are estimated before it is executed, but an estimate may be wrong, and texts are of any
//! length.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::time::Instant;

use crate::{
    config::Limits,
    graphql::error::{ApiError, Code},
};

/// How often the bytes of an answer are written on the way to it, at most: once for each level of objects.
const LEVELS: usize = 6;

/// The greatest number of errors in one answer.
pub const MAX_ERRORS: usize = 1_000;

/// The bounds of one request: what is left of each.
#[derive(Debug)]
pub struct Bounds {
    rows: AtomicUsize,
    bytes: AtomicUsize,
    written: AtomicUsize,
    /// Errors so far.
    errors: AtomicUsize,
    deadline: Instant,
    limits: Limits,
}

impl Bounds {
    /// The bounds of a new request.
    #[must_use]
    pub fn new(limits: &Limits, deadline: Instant) -> Self {
        let (rows, bytes) = (limits.max_rows.into(), limits.max_answer_bytes.into());
        let written = limits.max_answer_bytes.saturating_mul(LEVELS).into();
        Self { rows, bytes, written, errors: AtomicUsize::new(0), deadline, limits: limits.clone() }
    }

    /// The greatest offset of a list.
    pub fn max_offset(&self) -> u64 {
        self.limits.max_offset
    }

    /// The greatest number of rows that a field reads because no index serves it; 0 for any.
    pub fn max_scan(&self) -> u64 {
        self.limits.max_scan
    }

    /// Goes on when there is time left. The database has an eye on the time as well, but an answer from many rows takes
    /// its own.
    ///
    /// # Errors
    ///
    /// `TIMEOUT`.
    pub fn check_deadline(&self) -> Result<(), ApiError> {
        if self.deadline < Instant::now() {
            return Err(ApiError::new(Code::Timeout, "the request took too long; ask for less"));
        }
        Ok(())
    }

    /// The rows and the bytes that were taken.
    pub fn taken(&self) -> (usize, usize) {
        let taken = |limit: usize, left: &AtomicUsize| limit.saturating_sub(left.load(Relaxed));
        (taken(self.limits.max_rows, &self.rows), taken(self.limits.max_answer_bytes, &self.bytes))
    }

    /// Notes an error in a field that can be null. Gives whether it is one of the first, which are reported.
    pub fn take_error(&self) -> bool {
        self.errors.fetch_add(1, Relaxed) < MAX_ERRORS
    }

    /// How many errors there were.
    pub fn errors(&self) -> usize {
        self.errors.load(Relaxed)
    }

    /// Takes back those errors that came after a number of them, with what they are of.
    pub fn forget_errors_after(&self, errors: usize) {
        self.errors.store(errors, Relaxed);
    }

    /// How many errors are not reported.
    pub fn more_errors(&self) -> usize {
        self.errors.load(Relaxed).saturating_sub(MAX_ERRORS)
    }

    /// Takes rows for the answer.
    ///
    /// # Errors
    ///
    /// `QUERY_TOO_COMPLEX` when there are not so many left, or `TIMEOUT`.
    pub fn take_rows(&self, rows: usize) -> Result<(), ApiError> {
        self.check_deadline()?;
        let max_rows = self.limits.max_rows;
        take(&self.rows, rows, || format!("the answer would have more than {max_rows} rows; ask for less"))
    }

    /// Takes bytes for the answer.
    ///
    /// # Errors
    ///
    /// `QUERY_TOO_COMPLEX` when there are not so many left, or `TIMEOUT`.
    pub fn take_bytes(&self, bytes: usize) -> Result<(), ApiError> {
        self.check_deadline()?;
        take(&self.bytes, bytes, || self.too_many_bytes())
    }

    /// Takes bytes that are written on the way to the answer, once for each level of it, so that lists side by side are
    /// bounded before they come together.
    ///
    /// # Errors
    ///
    /// `QUERY_TOO_COMPLEX` when there are not so many left.
    pub fn write(&self, bytes: usize) -> Result<(), ApiError> {
        take(&self.written, bytes, || self.too_many_bytes())
    }

    fn too_many_bytes(&self) -> String {
        format!("the answer would have more than {} bytes; ask for less", self.limits.max_answer_bytes)
    }
}

fn take(left: &AtomicUsize, number: usize, message: impl FnOnce() -> String) -> Result<(), ApiError> {
    let taken = left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(number));
    taken.map(drop).map_err(|_| ApiError::new(Code::QueryTooComplex, message()))
}
