//! What the execution of a request may take, counted while it goes on.
//!
//! The rows of an operation are estimated before it is executed, but an estimate may be wrong, and texts are of any length.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::error::{ApiError, Code};

/// The bounds of one request.
#[derive(Debug)]
pub struct Bounds {
    /// Bytes that the answer may have, and those that are left of them.
    max_bytes: usize,
    bytes: AtomicUsize,
}

impl Bounds {
    /// The bounds of a new request.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, bytes: AtomicUsize::new(max_bytes) }
    }

    /// Takes bytes for the answer.
    ///
    /// # Errors
    ///
    /// `QUERY_TOO_COMPLEX` when there are not so many left.
    pub fn spend(&self, bytes: usize) -> Result<(), ApiError> {
        let left = self.bytes.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes));
        left.map(drop).map_err(|_| {
            let message = format!("the answer would have more than {} bytes; ask for less", self.max_bytes);
            ApiError::new(Code::QueryTooComplex, message)
        })
    }
}
