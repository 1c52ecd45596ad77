//! Documents of an issuer, over HTTP. An issuer that fails in whatever way costs bounded time and memory.

use std::{convert::Infallible, future::pending, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow, bail, ensure};
use axum::body::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Request, StatusCode,
    client::conn::http1,
    header::{ACCEPT, CONNECTION, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustls_native_certs::load_native_certs;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    task::spawn_blocking,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};
use url::{Host, Position, Url};

/// The bytes of a document, at most.
const MAX_BYTES: usize = 1 << 20;
/// How long one of several addresses of a host may take, so that there is time for the others.
const MAX_TIME_OF_ADDRESS: Duration = Duration::from_secs(1);
/// The bytes of the head of an answer, at most.
const MAX_HEAD: usize = 64 << 10;

/// The document at a URL, which may take some time as a whole. Redirects are not followed.
///
/// # Errors
///
/// When there is none.
pub async fn fetch(url: &Url, time: Duration) -> anyhow::Result<Bytes> {
    timeout(time, fetch_in_any_time(url)).await.unwrap_or_else(|_| Err(no_answer(time)))
}

async fn fetch_in_any_time(url: &Url) -> anyhow::Result<Bytes> {
    let stream = connect(url).await.context("it cannot be connected to")?;
    if url.scheme() != "https" {
        return get(url, stream).await;
    }
    let name = match url.host().context("it has no host")? {
        Host::Domain(name) => ServerName::try_from(name.to_owned())?,
        Host::Ipv4(address) => ServerName::from(std::net::IpAddr::from(address)),
        Host::Ipv6(address) => ServerName::from(std::net::IpAddr::from(address)),
    };
    let stream = tls().await?.connect(name, stream).await.context("it cannot be connected to by TLS")?;
    get(url, stream).await
}

async fn connect(url: &Url) -> anyhow::Result<TcpStream> {
    let port = url.port_or_known_default().context("it has no port")?;
    let addresses: Vec<_> = match url.host().context("it has no host")? {
        Host::Domain(name) => lookup_host((name, port)).await?.collect(),
        Host::Ipv4(address) => vec![(address, port).into()],
        Host::Ipv6(address) => vec![(address, port).into()],
    };
    let time = if addresses.len() > 1 { MAX_TIME_OF_ADDRESS } else { Duration::MAX };
    let mut error = anyhow!("its name has no address");
    for address in addresses {
        match timeout(time, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(refused)) => error = refused.into(),
            Err(_) => error = no_answer(time),
        }
    }
    Err(error)
}

/// TLS that trusts the authorities of the system, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`, as they are now.
async fn tls() -> anyhow::Result<TlsConnector> {
    let found = spawn_blocking(load_native_certs).await?;
    let mut roots = RootCertStore::empty();
    let (trusted, _) = roots.add_parsable_certificates(found.certs);
    ensure!(
        trusted > 0,
        "there are no certificates of authorities to verify it with; install those of the system, or set SSL_CERT_FILE"
    );
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// One request, after which the connection is closed.
async fn get<S>(url: &Url, stream: S) -> anyhow::Result<Bytes>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = TokioIo::new(stream);
    let (mut sender, connection) = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(stream).await?;
    let request = Request::get(&url[Position::BeforePath..Position::AfterQuery])
        .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(USER_AGENT, "hero-teams")
        .header(ACCEPT, "application/json")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        ensure!(answer.status() == StatusCode::OK, "the answer has the status {}", answer.status().as_u16());
        match Limited::new(answer.into_body(), MAX_BYTES).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => bail!("it has more than 1 MiB"),
            Err(error) => Err(anyhow!(error)),
        }
    };
    // What goes wrong in the connection is seen by the answer as well.
    let run = async {
        let _ = connection.await;
        pending::<Infallible>().await
    };
    tokio::select! {
        answer = answer => answer,
        never = run => match never {},
    }
}

/// The content of a file.
///
/// # Errors
///
/// When it cannot be read, or has more than 1 MiB.
pub fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let metadata = std::fs::metadata(path)?;
    ensure!(metadata.is_file(), "it is not a file");
    ensure!(metadata.len() <= MAX_BYTES as u64, "it has more than 1 MiB");
    Ok(std::fs::read(path)?)
}

fn no_answer(time: Duration) -> anyhow::Error {
    anyhow!("there is no answer within {} s", time.as_secs_f64())
}
