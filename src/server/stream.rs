//! The bytes of one connection.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Handle,
    time::{Sleep, sleep},
};
use tokio_io_timeout::TimeoutStream;

use super::{activity::Activity, listener::Socket};

/// How long a client that is still sending may go on after the last answer.
const LINGER: Duration = Duration::from_secs(2);

/// A socket that gives up on a client that takes nothing of what is written, and tells when something was read.
///
/// It is closed with care: a system that closes a socket with unread bytes tells the other side to forget what it has
/// not read either, which may be the answer. So the end of the answers is sent, and what comes is read until the client
/// closes, for a moment. A WebSocket is closed so also when it is dropped.
#[derive(Debug)]
pub struct Stream {
    /// None once it has been dropped.
    open: Option<Open>,
    activity: Arc<Activity>,
}

#[derive(Debug)]
struct Open {
    socket: Pin<Box<TimeoutStream<Socket>>>,
    client_has_ended: bool,
    lingering: Option<Pin<Box<Sleep>>>,
}

impl Stream {
    /// The stream of a client that takes something of each answer within `write_timeout`.
    #[must_use]
    pub fn new(socket: Socket, write_timeout: Duration, activity: Arc<Activity>) -> Self {
        let mut socket = TimeoutStream::new(socket);
        socket.set_write_timeout(Some(write_timeout));
        let open = Open { socket: Box::pin(socket), client_has_ended: false, lingering: None };
        Self { open: Some(open), activity }
    }

    fn open(&mut self) -> io::Result<&mut Open> {
        self.open.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let is_done = |open: &Open| open.client_has_ended || open.lingering.is_some();
        if let (Some(mut open), true, Ok(runtime)) =
            (self.open.take_if(|open| !is_done(open)), self.activity.is_upgraded(), Handle::try_current())
        {
            runtime.spawn(async move { poll_fn(|cx| open.poll_close(cx)).await });
        }
    }
}

impl Open {
    /// Ends its side, and waits a moment for the other one.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(self.socket.as_mut().poll_shutdown(cx))?;
            self.lingering = Some(Box::pin(sleep(LINGER)));
        }
        // The client is told nothing of how it ends.
        if self.poll_rest(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        match &mut self.lingering {
            Some(lingering) => lingering.as_mut().poll(cx).map(Ok),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Reads until the client closes, and forgets it.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut rest = [0; 4096];
        while !self.client_has_ended {
            let mut buffer = ReadBuf::new(&mut rest);
            ready!(self.socket.as_mut().poll_read(cx, &mut buffer))?;
            self.client_has_ended = buffer.filled().is_empty();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let open = self.open()?;
        ready!(open.socket.as_mut().poll_read(cx, buffer))?;
        if buffer.filled().len() == before {
            open.client_has_ended = true;
        } else {
            self.activity.bytes_read();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.open()?.socket.as_mut().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.open()?.socket.as_mut().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.socket.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.open()?.socket.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.open()?.poll_close(cx)
    }
}
