//! The life of the server: it accepts connections until it is stopped, and then lets them end.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{rt::TokioTimer, server::conn::auto::Builder};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    activity::Timeouts,
    connection::{self, Streams},
    lifetime::Lifetime,
    listener::{Listener, Socket},
};
use crate::{config::ServeSettings, telemetry::Telemetry};

/// The greatest size of the headers of a request, in bytes, and their greatest number.
const MAX_HEADER_BYTES: u16 = 16 * 1024;
const MAX_HEADERS: usize = 100;
/// The greatest number of requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 100;
/// Requests that an HTTP/2 client may cancel before they have been looked at, and that may fail by its fault.
const MAX_RESETS: usize = 20;
const MAX_FAULTS: usize = 1_024;
/// When an HTTP/2 client is asked whether it is still there, and how long it has to say so.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait when the system has no room for another connection.
const BACKOFF: Duration = Duration::from_millis(200);

/// Serves until `stop` completes, and then until all requests are answered and all sockets are closed, within the time
/// that the settings have for it.
///
/// # Errors
///
/// When the listener cannot be closed in order.
pub async fn serve_until(
    stop: impl Future<Output = ()>,
    listener: Listener,
    router: Router,
    settings: &ServeSettings,
    lifetime: &Lifetime,
    telemetry: &Telemetry,
) -> io::Result<()> {
    let mut server = Server::new(router, settings, lifetime, telemetry);
    server.accept_until(&listener, stop).await;
    for socket in listener.close().await? {
        server.spawn(socket);
    }
    if timeout(settings.shutdown_timeout, server.finish()).await.is_err() {
        tracing::warn!("requests that were still running have been cut off");
    }
    Ok(())
}

struct Server {
    router: Router,
    protocol: Arc<Builder<Streams>>,
    timeouts: Timeouts,
    max_connections: usize,
    lifetime: Lifetime,
    telemetry: Telemetry,
    /// They end with the server.
    connections: JoinSet<()>,
}

impl Server {
    fn new(router: Router, settings: &ServeSettings, lifetime: &Lifetime, telemetry: &Telemetry) -> Self {
        let timeouts =
            Timeouts { header: settings.header_timeout, idle: settings.idle_timeout, write: settings.write_timeout };
        Self {
            router,
            protocol: Arc::new(protocol(settings)),
            timeouts,
            max_connections: settings.max_connections,
            lifetime: lifetime.clone(),
            telemetry: telemetry.clone(),
            connections: JoinSet::new(),
        }
    }

    async fn accept_until(&mut self, listener: &Listener, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return,
                Some(_) = self.connections.join_next() => {}
                // Those who come beyond the bound wait in the queue of the system.
                socket = accept(listener), if self.connections.len() < self.max_connections => self.spawn(socket),
            }
        }
    }

    fn spawn(&mut self, socket: Socket) {
        let (router, protocol) = (self.router.clone(), Arc::clone(&self.protocol));
        let (timeouts, stop, telemetry) = (self.timeouts, self.lifetime.stopping(), self.telemetry.clone());
        self.connections.spawn(connection::serve(socket, router, protocol, timeouts, stop, telemetry));
    }

    async fn finish(&mut self) {
        self.lifetime.stop();
        while self.connections.join_next().await.is_some() {}
        self.lifetime.sockets_closed().await;
    }
}

async fn accept(listener: &Listener) -> Socket {
    loop {
        match listener.accept().await {
            Ok(socket) => return socket,
            // The client has gone while it waited.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections at the moment");
                sleep(BACKOFF).await;
            }
        }
    }
}

fn protocol(settings: &ServeSettings) -> Builder<Streams> {
    // What a request may take from its head to the end of its answer.
    let time = settings.body_timeout + settings.request_timeout + settings.write_timeout;
    let mut builder = Builder::new(Streams::new(time));
    builder
        .http1()
        // A client may end its side and still want its answer.
        .half_close(true)
        .max_headers(MAX_HEADERS)
        // Headers have to fit in what is read ahead.
        .max_buf_size(MAX_HEADER_BYTES.into())
        // The clock of the connection knows a head from a pause.
        .header_read_timeout(None);
    builder
        .http2()
        .timer(TokioTimer::new())
        // For WebSockets (RFC 8441).
        .enable_connect_protocol()
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES.into())
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_FAULTS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}
