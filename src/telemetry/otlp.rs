//! How spans are sent: by the HTTP client of the server, in its runtime, whatever thread asks for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::ensure;
use hyper::body::Bytes;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use sea_orm::prelude::async_trait::async_trait;
use tokio::runtime::Handle;
use url::Url;

use crate::http_client;

#[derive(Clone, Debug)]
pub struct OtlpClient {
    runtime: Handle,
    time: Duration,
    /// Whether the last try has failed. It is told once.
    has_failed: Arc<AtomicBool>,
}

impl OtlpClient {
    /// A client whose requests may take some time each.
    pub fn new(runtime: Handle, time: Duration) -> Self {
        Self { runtime, time, has_failed: Arc::default() }
    }
}

#[async_trait]
impl HttpClient for OtlpClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let time = self.time;
        let sent = self.runtime.spawn(async move {
            let url: Url = request.uri().to_string().parse()?;
            let answer = http_client::send(&url, request, time).await?;
            ensure!(answer.status().is_success(), "the answer has the status {}", answer.status().as_u16());
            Ok(answer)
        });
        let sent = sent.await.map_err(anyhow::Error::from).flatten();
        let had_failed = self.has_failed.swap(sent.is_err(), Relaxed);
        match &sent {
            Err(error) if !had_failed => tracing::warn!(error = format!("{error:#}"), "spans cannot be sent"),
            Ok(_) if had_failed => tracing::info!("spans are sent again"),
            _ => {}
        }
        Ok(sent?)
    }
}
