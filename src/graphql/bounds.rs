//! What the execution of a request may take, counted while it goes on.
//!
//! The rows of an operation are estimated before it is executed, but an estimate may be wrong, and texts are of any length.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::time::Instant;

use super::error::{ApiError, Code};

/// The bounds of one request.
#[derive(Debug)]
pub struct Bounds {
    /// Bytes that the answer may have, and those that are left of them.
    max_bytes: usize,
    bytes: AtomicUsize,
    deadline: Instant,
}

impl Bounds {
    /// The bounds of a new request.
    #[must_use]
    pub fn new(max_bytes: usize, deadline: Instant) -> Self {
        Self { max_bytes, bytes: AtomicUsize::new(max_bytes), deadline }
    }

    /// Takes bytes for the answer.
    ///
    /// # Errors
    ///
    /// `QUERY_TOO_COMPLEX` when there are not so many left, or `TIMEOUT` when there is no time left.
    pub fn spend(&self, bytes: usize) -> Result<(), ApiError> {
        // The database has an eye on the time as well, but an answer from many rows takes its own.
        if self.deadline < Instant::now() {
            return Err(ApiError::new(Code::Timeout, "the request took too long; ask for less"));
        }
        let left = self.bytes.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes));
        left.map(drop).map_err(|_| {
            let message = format!("the answer would have more than {} bytes; ask for less", self.max_bytes);
            ApiError::new(Code::QueryTooComplex, message)
        })
    }
    /// Whether there are so many bytes left.
    pub fn allow(&self, bytes: usize) -> bool {
        bytes <= self.bytes.load(Relaxed)
    }
}
