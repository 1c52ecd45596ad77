//! The signals that end the program.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// From now on, ends when the program is told to: by SIGTERM, by SIGINT (Ctrl-C), and by SIGHUP if that `ends` it.
///
/// # Errors
///
/// When signals cannot be received.
pub fn stop_requested(hangup_ends: bool) -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = hangup_ends.then(|| signal(SignalKind::hangup())).transpose()?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            Some(_) = async { Some(hangup.as_mut()?.recv().await) } => {}
        }
    })
}
