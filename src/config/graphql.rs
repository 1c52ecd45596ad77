//! The settings of GraphQL.

use clap::{Args, ValueEnum};

use super::{
    documents::DocumentSettings,
    setting::{Setting, flag, number, one_of},
};

/// Bytes that documents may take which are kept, when nothing else is said.
const DOCUMENT_CACHE: u64 = 32 * 1024 * 1024;

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "GraphQL")]
pub struct GraphQlSettings {
    #[command(flatten)]
    pub limits: Limits,
    /// Maximum number of bytes of the cache of parsed and validated documents; 0 turns it off
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_DOCUMENT_CACHE",
        default_value_t = DOCUMENT_CACHE,
        value_name = "BYTES",
        value_parser = Setting(number::<u64>)
    )]
    pub document_cache: u64,
    /// Maximum number of requests in a batch; 0 refuses batches
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_MAX_BATCH",
        default_value = "0",
        value_name = "NUMBER",
        value_parser = Setting(number::<usize>)
    )]
    pub max_batch: usize,
    /// Clients that may read the schema itself: all, those with a credential, those with the scope admin, or none
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_INTROSPECTION",
        default_value = "all",
        value_name = "WHO",
        value_parser = Setting(one_of::<Introspection>)
    )]
    pub introspection: Introspection,
    /// The same as --introspection none
    #[arg(long, global = true, env = "HERO_TEAMS_NO_INTROSPECTION", value_parser = Setting(flag))]
    pub no_introspection: bool,
    /// Suggest no names in errors about unknown names
    #[arg(long, global = true, env = "HERO_TEAMS_NO_SUGGESTIONS", value_parser = Setting(flag))]
    pub no_suggestions: bool,
    #[command(flatten)]
    pub documents: DocumentSettings,
}

impl Default for GraphQlSettings {
    fn default() -> Self {
        Self {
            limits: Limits::DEFAULT,
            document_cache: DOCUMENT_CACHE,
            max_batch: 0,
            introspection: Introspection::All,
            no_introspection: false,
            no_suggestions: false,
            documents: DocumentSettings::default(),
        }
    }
}

/// Who may read the schema itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Introspection {
    /// Everybody
    All,
    /// Whoever sends a credential
    Authenticated,
    /// Whoever has the scope admin
    Admin,
    /// Nobody
    None,
}

impl GraphQlSettings {
    /// Who may read the schema itself.
    #[must_use]
    pub fn introspection(&self) -> Introspection {
        if self.no_introspection { Introspection::None } else { self.introspection }
    }
}

/// What a document may cost, measured before it is executed.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(next_help_heading = "GraphQL")]
pub struct Limits {
    /// Maximum number of tokens in a document
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_MAX_TOKENS",
        default_value_t = Self::DEFAULT.max_tokens,
        value_name = "NUMBER",
        value_parser = Setting(number::<usize>)
    )]
    pub max_tokens: usize,
    /// Maximum depth of fields in fields
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_MAX_DEPTH",
        default_value_t = Self::DEFAULT.max_depth,
        value_name = "NUMBER",
        value_parser = Setting(number::<usize>)
    )]
    pub max_depth: usize,
    /// Maximum number of fields of an operation; those of a fragment count each time it is spread
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_MAX_FIELDS",
        default_value_t = Self::DEFAULT.max_fields,
        value_name = "NUMBER",
        value_parser = Setting(number::<usize>)
    )]
    pub max_fields: usize,
    /// Maximum number of selections of one field of an object, under different aliases
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_MAX_ALIASES",
        default_value_t = Self::DEFAULT.max_aliases,
        value_name = "NUMBER",
        value_parser = Setting(number::<usize>)
    )]
    pub max_aliases: usize,
    /// Maximum number of directives of an operation
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_MAX_DIRECTIVES",
        default_value_t = Self::DEFAULT.max_directives,
        value_name = "NUMBER",
        value_parser = Setting(number::<usize>)
    )]
    pub max_directives: usize,
    /// Maximum number of fields at the root of an operation
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_MAX_ROOT_FIELDS",
        default_value_t = Self::DEFAULT.max_root_fields,
        value_name = "NUMBER",
        value_parser = Setting(number::<usize>)
    )]
    pub max_root_fields: usize,
    /// Maximum number of rows of an operation, estimated from `limit`, `first` and `last` down the tree
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_MAX_ROWS",
        default_value_t = Self::DEFAULT.max_rows,
        value_name = "NUMBER",
        value_parser = Setting(number::<usize>)
    )]
    pub max_rows: usize,
    /// Maximum offset of a list
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_MAX_OFFSET",
        default_value_t = Self::DEFAULT.max_offset,
        value_name = "NUMBER",
        value_parser = Setting(number::<u64>)
    )]
    pub max_offset: u64,
    /// Maximum number of rows that a field reads because no index serves its filter or order, and that totalCount
    /// counts; 0 for any
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_MAX_SCAN",
        default_value_t = Self::DEFAULT.max_scan,
        value_name = "ROWS",
        value_parser = Setting(number::<u64>)
    )]
    pub max_scan: u64,
    /// Maximum number of bytes of an answer, approximately
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_MAX_ANSWER_BYTES",
        default_value_t = Self::DEFAULT.max_answer_bytes,
        value_name = "BYTES",
        value_parser = Setting(number::<usize>)
    )]
    pub max_answer_bytes: usize,
}

impl Limits {
    /// The limits when nothing else is said.
    pub const DEFAULT: Self = Self {
        max_tokens: 10_000,
        max_depth: 24,
        max_fields: 2_000,
        max_aliases: 50,
        max_directives: 100,
        max_root_fields: 50,
        max_rows: 250_000,
        max_offset: 100_000,
        max_scan: 1_000_000,
        max_answer_bytes: 32 * 1024 * 1024,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
