//! The signals that end the program.

use std::{fs, io};

use tokio::signal::unix::{SignalKind, signal};

/// From now on, ends when the program is told to: by SIGTERM, by SIGINT (Ctrl-C), and by SIGHUP if that ends it, unless
/// whoever has started the program has SIGHUP ignored, as `nohup` does.
///
/// # Errors
///
/// When signals cannot be received.
pub fn stop_requested(hangup_ends: bool) -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let hangup_ends = hangup_ends && !is_hangup_ignored();
    let mut hangup = hangup_ends.then(|| signal(SignalKind::hangup())).transpose()?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            Some(_) = async { Some(hangup.as_mut()?.recv().await) } => {}
        }
    })
}

/// Whether SIGHUP, which is the first signal, is ignored. Where there is no `/proc` it is taken not to be.
fn is_hangup_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|ignored| u64::from_str_radix(ignored.trim(), 16).ok()).is_some_and(|ignored| ignored & 1 == 1)
}
