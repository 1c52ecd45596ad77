//! How long the server lives: what outlives its requests learns from this that it is to end, and is waited for.

use std::sync::Arc;

use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use super::activity::{Activity, Running};

/// The life of a server.
#[derive(Clone, Debug, Default)]
pub struct Lifetime {
    stop: CancellationToken,
    sockets: TaskTracker,
}

/// A socket that the end of the server waits for.
#[derive(Debug)]
pub struct OpenSocket {
    _token: TaskTrackerToken,
    _running: Option<Running>,
}

/// The connection that a request came on.
#[derive(Clone, Debug)]
pub struct Connection(pub(super) Arc<Activity>);

impl Lifetime {
    /// Tells when the server is to stop.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Counts a socket for as long as what this gives. An HTTP/2 connection goes on while it has sockets.
    #[must_use]
    pub fn socket(&self, connection: Option<&Connection>) -> OpenSocket {
        let running = connection.map(|Connection(activity)| {
            if !activity.is_http2() {
                activity.upgrade();
            }
            activity.request(activity.is_http2())
        });
        OpenSocket { _token: self.sockets.token(), _running: running }
    }

    /// Has the server stop.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until no socket is open. No new one is expected.
    pub(super) async fn sockets_closed(&self) {
        self.sockets.close();
        self.sockets.wait().await;
    }
}
