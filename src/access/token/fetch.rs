//! Documents of an issuer.

use std::{path::Path, time::Duration};

use anyhow::ensure;
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header::ACCEPT};
use url::Url;

use crate::http_client;

/// The bytes of a file, at most.
const MAX_BYTES: u64 = 1 << 20;

/// The document at a URL, which may take some time as a whole.
///
/// # Errors
///
/// When there is none.
pub async fn fetch(url: &Url, time: Duration) -> anyhow::Result<Bytes> {
    let request = Request::get("/").header(ACCEPT, "application/json").body(Bytes::new())?;
    let answer = http_client::send(url, request, time).await?;
    ensure!(answer.status() == StatusCode::OK, "the answer has the status {}", answer.status().as_u16());
    Ok(answer.into_body())
}

/// The content of a file.
///
/// # Errors
///
/// When it cannot be read, or has more than 1 MiB.
pub fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let metadata = std::fs::metadata(path)?;
    ensure!(metadata.is_file(), "it is not a file");
    ensure!(metadata.len() <= MAX_BYTES, "it has more than 1 MiB");
    Ok(std::fs::read(path)?)
}
