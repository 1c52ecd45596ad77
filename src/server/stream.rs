//! The bytes of one connection.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
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
/// closes, for a moment.
#[derive(Debug)]
pub struct Stream {
    socket: Pin<Box<TimeoutStream<Socket>>>,
    activity: Arc<Activity>,
    client_has_ended: bool,
    lingering: Option<Pin<Box<Sleep>>>,
}

impl Stream {
    /// The stream of a client that takes something of each answer within `write_timeout`.
    #[must_use]
    pub fn new(socket: Socket, write_timeout: Duration, activity: Arc<Activity>) -> Self {
        let mut socket = TimeoutStream::new(socket);
        socket.set_write_timeout(Some(write_timeout));
        Self { socket: Box::pin(socket), activity, client_has_ended: false, lingering: None }
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
        ready!(self.socket.as_mut().poll_read(cx, buffer))?;
        if buffer.filled().len() == before {
            self.client_has_ended = true;
        } else {
            self.activity.bytes_read();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.socket.as_mut().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket.as_mut().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
}
