//! The settings of trusted documents.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::setting::{Setting, flag, one_of, parsed};

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "GraphQL")]
pub struct DocumentSettings {
    /// Trusted documents: a manifest of Apollo Client, Relay or GraphQL Code Generator, or a folder of .graphql files;
    /// one or several with commas, repeatable
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_DOCUMENTS",
        value_name = "PATH",
        value_delimiter = ',',
        value_parser = Setting(parsed::<PathBuf>)
    )]
    pub documents: Vec<PathBuf>,
    /// Documents that are not trusted: executed (off), executed and logged once a minute (log), or refused (enforce)
    #[arg(
        id = "documents_mode",
        long = "documents-mode",
        global = true,
        env = "HERO_TEAMS_DOCUMENTS_MODE",
        default_value = "off",
        value_name = "MODE",
        value_parser = Setting(one_of::<DocumentsMode>)
    )]
    pub mode: DocumentsMode,
    /// Trust documents that are sent by their ids alone, and no texts
    #[arg(
        long = "documents-require-id",
        global = true,
        env = "HERO_TEAMS_DOCUMENTS_REQUIRE_ID",
        value_parser = Setting(flag)
    )]
    pub require_id: bool,
}

/// What becomes of documents that are not trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DocumentsMode {
    /// They are executed
    #[default]
    Off,
    /// They are executed, and the log has them
    Log,
    /// They are refused
    Enforce,
}
