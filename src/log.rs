//! The log: what the server tells those who run it, on the standard error output.
//!
//! Lines are handed to a thread that writes them, so that no request waits for whoever reads them. A line is lost when
//! it cannot be written (a full disk, a pipe without a reader), or when `MAX_WAITING` bytes wait for a reader that
//! does not read. The number of lost lines is a line of its own, written when lines can be written again.

use std::{
    io::{self, ErrorKind, IsTerminal, Write, stderr},
    mem,
    sync::Arc,
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tracing::field::Field;
use tracing_subscriber::{
    EnvFilter,
    field::MakeExt as _,
    fmt,
    fmt::format::{Writer, debug_fn},
};

use crate::config::{LogFormat, LogLevel, LogSettings};

/// The greatest number of bytes that wait to be written.
const MAX_WAITING: usize = 2 * 1024 * 1024;
/// Bytes of memory that are kept for the next lines.
const KEPT: usize = 64 * 1024;
/// How long the end of the program waits for the last lines to be written.
const MAX_FLUSH: Duration = Duration::from_secs(2);
/// The pause after lines have been written, in which further ones gather: to wake the thread for each line took a tenth
/// of the time of a query for one object.
const GATHER: Duration = Duration::from_millis(2);
/// The pause before another try to write to an output that is set not to wait.
const PAUSE: Duration = Duration::from_millis(10);

/// The log of the program. When it is dropped the last lines are written, if somebody takes them.
#[derive(Debug)]
pub struct Log(Arc<Lines>);

/// Lines on their way to the standard error output. Writing to them never waits and never fails.
#[derive(Debug, Default)]
struct Lines {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    text: Vec<u8>,
    /// Lines that found no room.
    lost: u64,
    /// Whether the thread has written all lines that were here before.
    is_idle: bool,
}

/// Starts the log, which also tells of panics: within the span of their request, if there is one.
pub fn init(Log(lines): &Log, settings: &LogSettings, log_sql: bool) {
    let level = match settings.log_level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    // Statements are logged when they are asked for, whatever the level of the rest.
    let statements = if log_sql { "debug" } else { "off" };
    let mut filter = format!("{level},hero_teams::sql={statements}");
    if settings.log_level == LogLevel::Trace {
        // Below this level they write what clients send and get, and how the database is reached, with all secrets.
        filter.push_str(",sea_orm=debug,sqlx=debug,tokio_tungstenite=debug,tungstenite=debug");
    }
    let filter = EnvFilter::new(filter);
    let is_terminal = stderr().is_terminal();
    let log = fmt().with_env_filter(filter).with_ansi(is_terminal).with_writer(Arc::clone(lines));
    // What the library cannot log it would print, and a print that fails is a panic.
    let log = log.log_internal_errors(false);
    match settings.log_format {
        LogFormat::Text if is_terminal => log.init(),
        LogFormat::Text => log.fmt_fields(debug_fn(write_field).delimited(" ")).init(),
        // The list of spans would be that of the request once more.
        LogFormat::Json => log.json().with_span_list(false).init(),
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, cause = panic.payload_as_str(), "a panic");
    }));
}

/// Writes a field as the library does, but without its styles. Also where they show nothing, they took 5 % of the
/// instructions of a query for one object.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn std::fmt::Debug) -> std::fmt::Result {
    if field.name() != "message" {
        return write!(writer, "{}={value:?}", field.name());
    }
    let message = format!("{value:?}");
    if message.contains(char::is_control) {
        // A message must not move the cursor of a terminal on which the log is read.
        return write!(writer, "{}", message.escape_debug());
    }
    std::fmt::Write::write_str(writer, &message)
}

impl Log {
    /// Starts the thread that writes.
    ///
    /// # Errors
    ///
    /// When the system has no thread for it.
    pub fn start() -> io::Result<Self> {
        let lines = Arc::new(Lines::default());
        let written = Arc::clone(&lines);
        thread::Builder::new().name("log".to_owned()).spawn(move || written.write_to(&mut Output::new(stderr())))?;
        Ok(Self(lines))
    }

    /// A line that is none of the log, such as the reason why the program ends.
    pub fn line(&self, text: &str) {
        self.0.push(format!("{text}\n").as_bytes());
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let Self(lines) = self;
        let is_waiting = |waiting: &mut Waiting| !(waiting.is_idle && waiting.text.is_empty());
        lines.changed.wait_while_for(&mut lines.waiting.lock(), is_waiting, MAX_FLUSH);
    }
}

impl Lines {
    fn push(&self, line: &[u8]) {
        let mut waiting = self.waiting.lock();
        if waiting.text.len() + line.len() > MAX_WAITING {
            waiting.lost += 1;
            return;
        }
        waiting.text.extend_from_slice(line);
        // To wake somebody is a call of the system, also when nobody sleeps.
        if mem::take(&mut waiting.is_idle) {
            self.changed.notify_all();
        }
    }

    /// Waits for lines, and takes them. Those that were lost in the meantime came after them.
    fn take(&self, lines: &mut Vec<u8>) -> u64 {
        lines.clear();
        lines.shrink_to(KEPT);
        let mut waiting = self.waiting.lock();
        while waiting.text.is_empty() {
            waiting.is_idle = true;
            self.changed.notify_all();
            self.changed.wait(&mut waiting);
        }
        waiting.is_idle = false;
        mem::swap(&mut waiting.text, lines);
        mem::take(&mut waiting.lost)
    }

    fn write_to(&self, output: &mut Output<impl Write>) {
        let mut lines = Vec::new();
        let mut lost = 0;
        loop {
            lost += self.take(&mut lines);
            match output.write(&lines) {
                Ok(()) if lost > 0 => {
                    tracing::warn!(lines = lost, "lines of the log were lost");
                    lost = 0;
                }
                Ok(()) => {}
                Err(unwritten) => lost += unwritten,
            }
            thread::sleep(GATHER);
        }
    }
}

/// Each call has one line.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where lines are written to.
struct Output<W> {
    output: W,
    /// A line was begun and could not be written to its end.
    is_broken: bool,
}

impl<W: Write> Output<W> {
    fn new(output: W) -> Self {
        Self { output, is_broken: false }
    }

    /// Writes lines, or says how many could not be written.
    fn write(&mut self, lines: &[u8]) -> Result<(), u64> {
        if self.is_broken && self.write_some(b"\n") == 0 {
            return Err(count(lines));
        }
        self.is_broken = false;
        let written = self.write_some(lines);
        if written == lines.len() {
            return Ok(());
        }
        self.is_broken = lines[..written].last().is_some_and(|last| *last != b'\n');
        Err(count(&lines[written..]))
    }

    /// Writes as much as can be written.
    fn write_some(&mut self, text: &[u8]) -> usize {
        let mut written = 0;
        while written < text.len() {
            match self.output.write(&text[written..]) {
                Ok(0) => break,
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
                Err(_) => break,
            }
        }
        written
    }
}

fn count(lines: &[u8]) -> u64 {
    lines.split(|byte| *byte == b'\n').skip(1).count() as u64
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Error, ErrorKind, Result, Write},
        sync::Arc,
    };

    use tracing_subscriber::{field::MakeExt as _, fmt, fmt::format::debug_fn};

    use super::{Lines, MAX_WAITING, Output, write_field};

    /// An output with room for some bytes.
    #[derive(Default)]
    struct Disk {
        text: Vec<u8>,
        room: usize,
    }

    impl Write for Disk {
        fn write(&mut self, text: &[u8]) -> Result<usize> {
            let room = self.room.min(text.len()).min(3);
            if room == 0 {
                return Err(Error::from(ErrorKind::StorageFull));
            }
            self.room -= room;
            self.text.extend_from_slice(&text[..room]);
            Ok(room)
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_of_text_without_colors() {
        let lines = Arc::new(Lines::default());
        let fields = debug_fn(write_field).delimited(" ");
        let log = fmt().without_time().with_ansi(false).with_writer(Arc::clone(&lines)).fmt_fields(fields).finish();
        tracing::subscriber::with_default(log, || {
            let _entered = tracing::info_span!("request", id = "a b").entered();
            tracing::warn!(number = 1, text = "\u{1b}\"", name = %"n", none = None::<u32>, "{} \u{1b}[2J", '"');
            tracing::warn!(number = 2, "\"");
        });
        let mut written = Vec::new();
        lines.take(&mut written);
        assert_eq!(
            String::from_utf8_lossy(&written),
            " WARN request{id=\"a b\"}: hero_teams::log::tests: \\\" \\u{1b}[2J number=1 text=\"\\u{1b}\\\"\" name=n\n \
             WARN request{id=\"a b\"}: hero_teams::log::tests: \" number=2\n"
        );
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_the_next_begins_a_line() {
        let mut output = Output::new(Disk { room: 6, ..Disk::default() });
        assert_eq!(output.write(b"one\ntwo\nthree\n"), Err(2));
        assert_eq!(output.write(b"four\n"), Err(1));
        output.output.room = 100;
        assert_eq!(output.write(b"five\nsix\n"), Ok(()));
        output.output.room = 0;
        assert_eq!(output.write(b"seven\n"), Err(1));
        output.output.room = 100;
        assert_eq!(output.write(b"eight\n"), Ok(()));
        assert_eq!(String::from_utf8_lossy(&output.output.text), "one\ntw\nfive\nsix\neight\n");
    }

    #[test]
    fn lines_that_find_no_room_are_counted() {
        let log = Lines::default();
        let line = [b'x'; 1024];
        for _ in 0..MAX_WAITING / line.len() + 3 {
            (&log).write_all(&line).expect("it never fails");
        }
        let mut lines = Vec::new();
        assert_eq!(log.take(&mut lines), 3);
        assert_eq!(lines.len(), MAX_WAITING);
        log.push(b"short\n");
        assert_eq!(log.take(&mut lines), 0);
        assert_eq!(lines, b"short\n");
    }
}
