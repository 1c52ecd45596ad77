//! How many records a command has moved: a bar on a terminal, lines of JSON elsewhere.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::time::Instant;

use crate::config::ShowProgress;

/// How often a line says how far it is.
const INTERVAL: Duration = Duration::from_secs(5);

/// How far a command has come, shown on the standard error.
#[derive(Debug)]
pub struct Progress {
    shown: Shown,
    records: u64,
    total: Option<u64>,
    start: Instant,
}

#[derive(Debug)]
enum Shown {
    Bar(ProgressBar),
    Json { last: Instant },
    Nothing,
}

impl Progress {
    /// The progress of a command that has just begun. It may be known how many records there are.
    #[must_use]
    pub fn new(style: ShowProgress, total: Option<u64>) -> Self {
        let start = Instant::now();
        let is_bar = match style {
            ShowProgress::Auto => stderr().is_terminal(),
            style => style == ShowProgress::Bar,
        };
        let shown = match style {
            ShowProgress::None => Shown::Nothing,
            _ if is_bar => Shown::Bar(bar(total)),
            _ => Shown::Json { last: start },
        };
        Self { shown, records: 0, total, start }
    }

    /// Notes that so many more records are done.
    pub fn add(&mut self, records: u64) {
        self.records += records;
        match &mut self.shown {
            Shown::Bar(bar) => bar.set_position(self.records),
            Shown::Json { last } if last.elapsed() >= INTERVAL => {
                *last = Instant::now();
                let time = self.start.elapsed().as_secs_f64();
                #[expect(clippy::cast_precision_loss, reason = "nobody counts the records of a second so finely")]
                let per_second = self.records as f64 / time;
                #[expect(clippy::cast_precision_loss, reason = "the same")]
                let seconds_left =
                    self.total.map(|total| (total.saturating_sub(self.records) as f64 / per_second).ceil());
                let line = json!({
                    "records": self.records,
                    "total": self.total,
                    "records_per_second": per_second.round(),
                    "seconds_left": seconds_left,
                });
                // Nobody may read it.
                let _ = writeln!(stderr(), "{line}");
            }
            Shown::Json { .. } | Shown::Nothing => {}
        }
    }

    /// Ends the bar, and gives the number of records.
    pub fn finished(&mut self) -> u64 {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
        self.records
    }
}

fn bar(total: Option<u64>) -> ProgressBar {
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let template = if total.is_some() {
        "{bar:40} {human_pos}/{human_len} {per_sec} {eta} left"
    } else {
        "{spinner} {human_pos} {per_sec}"
    };
    // Without its own form it has another one.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
