//! Requests to other servers, over HTTP/1.1. A server that fails in whatever way costs bounded time and memory.

use std::{convert::Infallible, future::pending, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow, bail, ensure};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{
    Request, Response,
    client::conn::http1,
    header::{CONNECTION, HOST, HeaderValue, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustls_native_certs::load_native_certs;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream, lookup_host},
    task::spawn_blocking,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};
use url::{Host, Position, Url};

/// The bytes of the body of an answer, at most.
const MAX_BYTES: usize = 1 << 20;
/// How long one of several addresses of a host may take, so that there is time for the others.
const MAX_TIME_OF_ADDRESS: Duration = Duration::from_secs(1);
/// The bytes of the head of an answer, at most.
const MAX_HEAD: usize = 64 << 10;

/// Sends a request to a URL, whose path and host it gets, and gives the answer, which may take some time as a whole.
/// Redirects are not followed.
///
/// # Errors
///
/// When there is no answer in time, or it has more than 1 MiB.
pub async fn send(url: &Url, request: Request<Bytes>, time: Duration) -> anyhow::Result<Response<Bytes>> {
    timeout(time, send_in_any_time(url, request)).await.unwrap_or_else(|_| Err(no_answer(time)))
}

/// The same to a server on a socket file, whatever the host of the URL is.
///
/// # Errors
///
/// When there is no answer in time, or it has more than 1 MiB.
pub async fn send_to_socket(
    path: &Path,
    url: &Url,
    request: Request<Bytes>,
    time: Duration,
) -> anyhow::Result<Response<Bytes>> {
    let sent = async {
        let stream = UnixStream::connect(path).await.context("it cannot be connected to")?;
        send_over(stream, url, request).await
    };
    timeout(time, sent).await.unwrap_or_else(|_| Err(no_answer(time)))
}

async fn send_in_any_time(url: &Url, request: Request<Bytes>) -> anyhow::Result<Response<Bytes>> {
    let stream = connect(url).await.context("it cannot be connected to")?;
    if url.scheme() != "https" {
        return send_over(stream, url, request).await;
    }
    let name = match url.host().context("it has no host")? {
        Host::Domain(name) => ServerName::try_from(name.to_owned())?,
        Host::Ipv4(address) => ServerName::from(std::net::IpAddr::from(address)),
        Host::Ipv6(address) => ServerName::from(std::net::IpAddr::from(address)),
    };
    let stream = tls().await?.connect(name, stream).await.context("it cannot be connected to by TLS")?;
    send_over(stream, url, request).await
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
async fn send_over<S>(stream: S, url: &Url, mut request: Request<Bytes>) -> anyhow::Result<Response<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = TokioIo::new(stream);
    let (mut sender, connection) = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(stream).await?;
    *request.uri_mut() = url[Position::BeforePath..Position::AfterQuery].parse()?;
    let headers = request.headers_mut();
    headers.insert(HOST, url[Position::BeforeHost..Position::AfterPort].parse()?);
    headers.insert(USER_AGENT, HeaderValue::from_static("hero-teams"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let answer = async {
        let (head, body) = sender.send_request(request.map(Full::new)).await?.into_parts();
        match Limited::new(body, MAX_BYTES).collect().await {
            Ok(body) => Ok(Response::from_parts(head, body.to_bytes())),
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

fn no_answer(time: Duration) -> anyhow::Error {
    anyhow!("there is no answer within {} s", time.as_secs_f64())
}
