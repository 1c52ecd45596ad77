//! The body of a request, within its bounds.

use std::time::Duration;

use axum::{
    body::{Body, Bytes, HttpBody},
    http::StatusCode,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::config::ServeSettings;

/// How large a body may be, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    pub bytes: usize,
    pub time: Duration,
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    TooLarge {
        max_bytes: usize,
    },
    TooSlow,
    /// The client has sent less than it said, or has gone.
    Incomplete,
    /// It is said to be gzip, and is not, or not to its end, or is made of very many pieces.
    NotGzip,
}

impl BodyLimits {
    /// The limits that are set.
    #[must_use]
    pub fn new(settings: &ServeSettings) -> Self {
        Self { bytes: settings.max_body_bytes, time: settings.body_timeout }
    }
}

impl BodyError {
    /// The status of the answer.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Incomplete | Self::NotGzip => StatusCode::BAD_REQUEST,
        }
    }

    /// The limit that it was refused at, if it was.
    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::TooLarge { .. } => Some("body_size"),
            Self::TooSlow => Some("timeout_body"),
            Self::Incomplete | Self::NotGzip => None,
        }
    }

    /// What the client is told.
    #[must_use]
    pub fn message(self) -> String {
        match self {
            Self::TooLarge { max_bytes } => format!("the body of a request has at most {max_bytes} bytes"),
            Self::TooSlow => "the body of the request took too long to arrive".to_owned(),
            Self::Incomplete => "the body of the request did not arrive as a whole".to_owned(),
            Self::NotGzip => "the body of the request cannot be decompressed as gzip".to_owned(),
        }
    }
}

/// Reads a body to its end.
///
/// One that says in its head that it is too large is refused before any of it is read.
///
/// # Errors
///
/// When the body is larger or slower than it may be, or breaks off.
pub async fn read_body(body: Body, limits: BodyLimits) -> Result<Bytes, BodyError> {
    let too_large = BodyError::TooLarge { max_bytes: limits.bytes };
    if body.size_hint().lower() > limits.bytes as u64 {
        return Err(too_large);
    }
    match tokio::time::timeout(limits.time, Limited::new(body, limits.bytes).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large),
        Ok(Err(_)) => Err(BodyError::Incomplete),
        Err(_) => Err(BodyError::TooSlow),
    }
}
