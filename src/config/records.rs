//! The settings of the commands that move records: copy, export and import.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::setting::{Setting, batch, one_of, parsed};

/// What becomes of what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnError {
    /// Nothing is written
    Stop,
    /// It is left out
    Skip,
}

/// How it is shown how far a command has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ShowProgress {
    /// A bar on a terminal, lines of JSON elsewhere
    Auto,
    /// A bar
    Bar,
    /// A line of JSON every five seconds
    Json,
    /// Nothing
    None,
}

/// The form of a file with records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// JSON Lines: an object in each line
    Jsonl,
    /// CSV (RFC 4180), with a header
    Csv,
}

/// What becomes of an object that is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ImportMode {
    /// It is created
    Create,
    /// It is the oldest one with exactly its values, and is created if there is none
    ConnectOrCreate,
}

/// How it is shown how far a command has come.
#[derive(Clone, Copy, Debug, Args)]
pub struct ProgressSettings {
    #[arg(
        long = "progress",
        help = "How far it has come, on the standard error: bar, json for a line every five seconds, none, or auto for \
                a bar on a terminal and JSON elsewhere",
        default_value = "auto",
        value_name = "HOW",
        value_parser = Setting(one_of::<ShowProgress>)
    )]
    pub show: ShowProgress,
}

#[derive(Debug, Args)]
pub struct ExportSettings {
    #[arg(
        long,
        short,
        help = "File to write, which does not exist, or - for the standard output; a folder for several tables as CSV",
        value_name = "PATH"
    )]
    pub output: PathBuf,
    /// Form of the file: jsonl for JSON Lines, or csv
    #[arg(long, default_value = "jsonl", value_name = "FORM", value_parser = Setting(one_of::<Format>))]
    pub format: Format,
    /// Table: heroes, teams, memberships, or all
    #[arg(long, default_value = "all", value_name = "TABLE")]
    pub what: String,
    /// Filter of the table, as JSON of the API's filters: {"age": {"gte": 18}}
    #[arg(long = "where", value_name = "JSON", value_parser = Setting(parsed::<serde_json::Value>))]
    pub filter: Option<serde_json::Value>,
    /// Write also what only those may read who have a scope for it, such as secret names
    #[arg(long)]
    pub with_secrets: bool,
    /// Write an apostrophe before text in CSV that a spreadsheet would take for a formula
    #[arg(long)]
    pub spreadsheet_safe: bool,
    #[command(flatten)]
    pub progress: ProgressSettings,
}

#[derive(Debug, Args)]
pub struct ImportSettings {
    /// Files to read: JSON Lines (.jsonl), or CSV (.csv) with the name of its table
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// Table of the CSV files, if their names do not say it: heroes, teams or memberships
    #[arg(long, value_name = "TABLE")]
    pub what: Option<String>,
    #[arg(
        long,
        help = "What becomes of an object: it is created (create), or it is the oldest one with exactly its values, \
                and created if there is none (connect-or-create)",
        default_value = "create",
        value_name = "MODE",
        value_parser = Setting(one_of::<ImportMode>)
    )]
    pub mode: ImportMode,
    /// What becomes of records that are wrong: nothing is written (stop), or all but them (skip)
    #[arg(long, default_value = "stop", value_name = "HOW", value_parser = Setting(one_of::<OnError>))]
    pub on_error: OnError,
    /// Number of records that are written in one transaction, or fewer if they have many links
    #[arg(long, default_value = "1000", value_name = "NUMBER", value_parser = Setting(batch))]
    pub batch: usize,
    /// Only check the records
    #[arg(long)]
    pub dry_run: bool,
    /// Go on where an earlier import of the same files has ended
    #[arg(long, conflicts_with = "restart")]
    pub resume: bool,
    /// Import all records again, also those that an earlier import of the same files has written
    #[arg(long)]
    pub restart: bool,
    #[command(flatten)]
    pub progress: ProgressSettings,
}
