//! Every setting: flag, variable, default, unit, meaning.

mod access;
mod documents;
mod events;
mod host_name;
mod listen_address;
mod origin;
mod records;
mod telemetry;
mod text_field;

use std::{
    env,
    error::Error,
    ffi::OsStr,
    fmt, fs,
    net::IpAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use clap::{
    Arg, Args, FromArgMatches, Parser, Subcommand, ValueEnum, builder::TypedValueParser, error::ErrorKind,
    parser::ValueSource,
};

use clap_complete::Shell;
use ipnet::IpNet;
use url::Url;

pub use self::{
    access::{AccessSettings, Issuer, KeySetSource},
    documents::{DocumentSettings, DocumentsMode},
    events::{EventSettings, Switch},
    host_name::HostName,
    listen_address::ListenAddress,
    origin::Origin,
    records::{ExportSettings, Format, ImportMode, ImportSettings, OnError, ProgressSettings, ShowProgress},
    telemetry::TelemetrySettings,
    text_field::{MigrateSettings, TextField},
};
use crate::{
    access::Scope,
    db::{DatabaseUrl, DbSettings, Migrations, PostgresUrl},
    telemetry::Telemetry,
};

/// A GraphQL server for heroes, the teams they belong to, and the membership that links them.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Config {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub serve: ServeSettings,
    #[command(flatten)]
    pub access: AccessSettings,
    #[command(flatten)]
    pub graphql: GraphQlSettings,
    #[command(flatten)]
    pub events: EventSettings,
    #[command(flatten)]
    pub database: DatabaseSettings,
    #[command(flatten)]
    pub telemetry: TelemetrySettings,
    #[command(flatten)]
    pub log: LogSettings,
}

impl Config {
    /// Reads the arguments and variables of the program with this command line, which is [`Config::command`] or made of
    /// it. Variables that are empty are as if they were not set.
    ///
    /// # Errors
    ///
    /// When a setting is wrong, or help is asked for.
    pub fn read(command: clap::Command) -> Result<Self, clap::Error> {
        let command = command.mut_args(|arg| {
            let value = arg.get_env().and_then(env::var_os);
            let is_empty = value.is_some_and(|value| value.to_str().is_some_and(|value| value.trim().is_empty()));
            if is_empty { arg.env(None) } else { arg }
        });
        Self::from_arg_matches(&command.try_get_matches()?)
    }

    /// Reads the files that have settings which are secrets.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or its content is not possible. That is not repeated.
    pub fn read_files(&mut self) -> Result<(), WrongSetting> {
        if let Some(path) = &self.database.database_url_file {
            self.database.database_url = secret("--database-url-file", path, parsed)?;
        }
        if let Some(path) = &self.database.read_url_file {
            self.database.read_urls = secret("--read-url-file", path, |text| {
                let urls = text.split([',', '\n']).map(str::trim).filter(|url| !url.is_empty());
                urls.map(replica).collect()
            })?;
        }
        if let Some(path) = &self.events.events_url_file {
            self.events.events_url = Some(secret("--events-url-file", path, events::postgres)?);
        }
        Ok(())
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the API and the playground; the default
    Serve,
    /// Apply pending migrations, and make the indexes that are asked for
    Migrate(MigrateSettings),
    /// Load the tutorial's three heroes and two teams; heroes and teams that exist stay as they are
    Seed,
    /// Print the schema in the schema definition language, or compare it with another one
    Schema {
        #[command(subcommand)]
        command: Option<SchemaCommand>,
    },
    /// Write a backup of the SQLite database, which may be in use, to a file that does not exist
    Backup {
        /// File to write
        #[arg(value_name = "PATH")]
        path: PathBuf,
    },
    /// Print completions for a shell
    Completions {
        /// Shell: bash, elvish, fish, powershell or zsh
        #[arg(value_name = "SHELL", value_parser = Setting(one_of::<Shell>))]
        shell: Shell,
    },
    /// Write the man pages into a folder that exists
    Man {
        /// Folder to write to
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Ask a server whether it is ready; exit with 1 if not
    Health {
        /// Address of the server; the one of --listen if absent
        #[arg(value_name = "URL", value_parser = Setting(http_url))]
        url: Option<Url>,
    },
    /// Copy everything from another database into this one, which must be empty: all of it, or nothing
    Copy {
        #[arg(
            long,
            help = "Database to read, which stays as it is: one of this program, or the file of the SQLModel tutorial",
            value_name = "URL",
            value_parser = Setting(parsed::<DatabaseUrl>)
        )]
        from: DatabaseUrl,
        /// What becomes of rows that cannot be copied, such as those with blank names: nothing is copied (stop), or
        /// all but them (skip)
        #[arg(long, default_value = "stop", value_name = "HOW", value_parser = Setting(one_of::<OnError>))]
        on_error: OnError,
        #[command(flatten)]
        progress: ProgressSettings,
    },
    /// Write objects and links to files, as they are at one moment
    Export(ExportSettings),
    /// Create objects and links from files; exit with 2 if records were left out
    Import(ImportSettings),
    /// Check trusted documents
    #[command(subcommand)]
    Documents(DocumentsCommand),
    /// Make, list and revoke the API keys of the database, which --api-keys accepts
    #[command(subcommand)]
    Key(KeyCommand),
}

#[derive(Debug, Subcommand)]
pub enum SchemaCommand {
    /// Print what has changed since another version of the schema; exit with 1 if a change breaks clients
    Check {
        /// The other version, in the schema definition language
        #[arg(value_name = "OLD.graphql")]
        old: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub enum DocumentsCommand {
    /// Check that documents are valid and within the limits, as the server does when it starts; print each fault
    Check {
        /// Manifest, or folder of .graphql files
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Schema in the schema definition language to check them against; the one of this program if absent
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make an API key and print it, once
    Create {
        /// Name of the key, of 1 to 100 characters
        #[arg(long, value_name = "NAME", value_parser = Setting(key_name))]
        name: String,
        /// Scopes of the key, with commas: read, read:secrets, write, documents:bypass, admin
        #[arg(
            long,
            required = true,
            value_name = "SCOPE",
            value_delimiter = ',',
            value_parser = Setting(parsed::<Scope>)
        )]
        scopes: Vec<Scope>,
        /// Time until the key stops working, such as 90d, 12h or 30m, at most 36500d; it works until it is revoked if
        /// absent
        #[arg(long, value_name = "TIME", value_parser = Setting(time))]
        expires: Option<Duration>,
    },
    /// Print all API keys, without their secrets
    List,
    /// Revoke an API key; servers refuse it within 30 seconds
    Revoke {
        /// Id of the key, as `key list` prints it
        id: String,
    },
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Server")]
pub struct ServeSettings {
    /// Address and port to listen on, or unix:PATH for a socket file
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_LISTEN",
        default_value = "127.0.0.1:8000",
        value_name = "ADDRESS:PORT",
        value_parser = Setting(parsed::<ListenAddress>)
    )]
    pub listen: ListenAddress,
    /// Listen where other machines can reach the server, also without authentication
    #[arg(long, global = true, env = "HERO_TEAMS_INSECURE", value_parser = Setting(flag))]
    pub insecure: bool,
    /// Host name that the server answers for, besides localhost; one or several with commas, repeatable
    #[arg(
        long = "allowed-host",
        global = true,
        env = "HERO_TEAMS_ALLOWED_HOSTS",
        value_name = "NAME",
        value_delimiter = ',',
        value_parser = Setting(parsed::<HostName>)
    )]
    pub allowed_hosts: Vec<HostName>,
    /// Origin of a site whose pages may use the API; one or several with commas, repeatable
    #[arg(
        long = "cors-origin",
        global = true,
        env = "HERO_TEAMS_CORS_ORIGINS",
        value_name = "https://HOST",
        value_delimiter = ',',
        value_parser = Setting(parsed::<Origin>)
    )]
    pub cors_origins: Vec<Origin>,
    /// Network of proxies whose Forwarded and X-Forwarded-* headers count; one or several with commas, repeatable
    #[arg(
        long = "trusted-proxy",
        global = true,
        env = "HERO_TEAMS_TRUSTED_PROXIES",
        value_name = "NETWORK",
        value_delimiter = ',',
        value_parser = Setting(network)
    )]
    pub trusted_proxies: Vec<IpNet>,
    /// Apply no migrations, and refuse to serve a database with pending ones
    #[arg(long, global = true, env = "HERO_TEAMS_NO_MIGRATE", value_parser = Setting(flag))]
    pub no_migrate: bool,
    /// Seconds for running requests to finish when the server is stopped
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_SHUTDOWN_TIMEOUT",
        default_value = "10",
        value_name = "SECONDS",
        value_parser = Setting(seconds)
    )]
    pub shutdown_timeout: Duration,
    /// Seconds for the headers of a request, from its first byte or the start of the connection
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_HEADER_TIMEOUT",
        default_value = "10",
        value_name = "SECONDS",
        value_parser = Setting(some_seconds)
    )]
    pub header_timeout: Duration,
    /// Seconds for which an idle connection is kept
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_IDLE_TIMEOUT",
        default_value = "75",
        value_name = "SECONDS",
        value_parser = Setting(some_seconds)
    )]
    pub idle_timeout: Duration,
    /// Seconds for the body of a request
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_BODY_TIMEOUT",
        default_value = "10",
        value_name = "SECONDS",
        value_parser = Setting(some_seconds)
    )]
    pub body_timeout: Duration,
    /// Seconds for the execution of a request
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_REQUEST_TIMEOUT",
        default_value = "10",
        value_name = "SECONDS",
        value_parser = Setting(some_seconds)
    )]
    pub request_timeout: Duration,
    /// Seconds for which a client may read nothing of its answer
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_WRITE_TIMEOUT",
        default_value = "30",
        value_name = "SECONDS",
        value_parser = Setting(some_seconds)
    )]
    pub write_timeout: Duration,
    /// Maximum number of bytes in the body of a request
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_MAX_BODY_BYTES",
        default_value = "1048576",
        value_name = "BYTES",
        value_parser = Setting(some_number::<usize>)
    )]
    pub max_body_bytes: usize,
    /// Maximum number of GraphQL requests that are executed at once; more are refused with 503
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_MAX_REQUESTS",
        default_value = "512",
        value_name = "NUMBER",
        value_parser = Setting(some_number::<usize>)
    )]
    pub max_requests: usize,
    /// Maximum number of connections; more wait
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_MAX_CONNECTIONS",
        default_value = "4096",
        value_name = "NUMBER",
        value_parser = Setting(some_number::<usize>)
    )]
    pub max_connections: usize,
}

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

/// Bytes that documents may take which are kept, when nothing else is said.
const DOCUMENT_CACHE: u64 = 32 * 1024 * 1024;

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

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Database")]
pub struct DatabaseSettings {
    #[arg(
        long,
        help = "Database: sqlite://FILE, created if it does not exist, or postgres://USER:PASSWORD@HOST:PORT/DATABASE",
        global = true,
        env = "DATABASE_URL",
        hide_env_values = true,
        default_value = "sqlite://hero-teams.db",
        value_name = "URL",
        value_parser = Setting(parsed::<DatabaseUrl>)
    )]
    pub database_url: DatabaseUrl,
    /// File with the value of --database-url, such as a secret of a container or a credential of systemd
    #[arg(
        long,
        global = true,
        env = "DATABASE_URL_FILE",
        value_name = "FILE",
        conflicts_with = "database_url",
        value_parser = Setting(parsed::<PathBuf>)
    )]
    pub database_url_file: Option<PathBuf>,
    /// Maximum number of connections that read
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_READ_CONNECTIONS",
        default_value = "8",
        value_name = "NUMBER",
        value_parser = Setting(connections)
    )]
    pub read_connections: u32,
    /// Maximum number of connections that write; SQLite always has one
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_WRITE_CONNECTIONS",
        default_value = "8",
        value_name = "NUMBER",
        value_parser = Setting(connections)
    )]
    pub write_connections: u32,
    /// Replica of PostgreSQL that answers queries, as postgres://USER:PASSWORD@HOST:PORT/DATABASE; one or several with
    /// commas, repeatable
    #[arg(
        long = "read-url",
        global = true,
        env = "HERO_TEAMS_READ_URLS",
        hide_env_values = true,
        value_name = "URL",
        value_delimiter = ',',
        value_parser = Setting(replica)
    )]
    pub read_urls: Vec<PostgresUrl>,
    /// File with the values of --read-url, with commas or one in a line
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_READ_URLS_FILE",
        value_name = "FILE",
        conflicts_with = "read_urls",
        value_parser = Setting(parsed::<PathBuf>)
    )]
    pub read_url_file: Option<PathBuf>,
    /// Seconds that a replica may be behind; one that is further behind answers nothing until it has caught up
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_MAX_REPLICA_LAG",
        default_value = "5",
        value_name = "SECONDS",
        value_parser = Setting(some_seconds)
    )]
    pub max_replica_lag: Duration,
    /// Pooler between the server and PostgreSQL: none, or transaction for one such as PgBouncer, in any of its modes
    /// but statement
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_POOLER",
        default_value = "none",
        value_name = "KIND",
        value_parser = Setting(one_of::<Pooler>)
    )]
    pub pooler: Pooler,
    /// Prepare each statement anew, for a pooler that keeps no prepared statements, such as PgBouncer before 1.21
    #[arg(long, global = true, env = "HERO_TEAMS_NO_PREPARED_STATEMENTS", value_parser = Setting(flag))]
    pub no_prepared_statements: bool,
    /// Seconds to wait for a connection to the database
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_ACQUIRE_TIMEOUT",
        default_value = "5",
        value_name = "SECONDS",
        value_parser = Setting(some_seconds)
    )]
    pub acquire_timeout: Duration,
    /// Seconds to wait for a commit after the deadline of its request; then its connection is given up
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_COMMIT_TIMEOUT",
        default_value = "5",
        value_name = "SECONDS",
        value_parser = Setting(seconds)
    )]
    pub commit_timeout: Duration,
    /// Seconds after which PostgreSQL cancels a statement; 0 for never
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_STATEMENT_TIMEOUT",
        default_value = "10",
        value_name = "SECONDS",
        value_parser = Setting(seconds)
    )]
    pub statement_timeout: Duration,
    /// Seconds after which the log warns of a statement; 0 for never
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_SLOW_STATEMENT",
        default_value = "0.5",
        value_name = "SECONDS",
        value_parser = Setting(seconds)
    )]
    pub slow_statement: Duration,
    /// Write an event for each change, for subscriptions: on or off
    #[arg(
        long = "events",
        global = true,
        env = "HERO_TEAMS_EVENTS",
        default_value = "on",
        value_name = "WHETHER",
        value_parser = Setting(one_of::<Switch>)
    )]
    pub events: Switch,
    /// Log each SQL statement and its time
    #[arg(long, global = true, env = "HERO_TEAMS_LOG_SQL", value_parser = Setting(flag))]
    pub log_sql: bool,
}

/// What is between the server and PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pooler {
    /// Nothing
    None,
    /// A pooler that may give each transaction another session
    Transaction,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Log")]
pub struct LogSettings {
    /// Level of the log: error, warn, info, debug or trace
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_LOG_LEVEL",
        default_value = "info",
        value_name = "LEVEL",
        value_parser = Setting(one_of::<LogLevel>)
    )]
    pub log_level: LogLevel,
    /// Format of the log: text, or json with one object a line
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT",
        value_parser = Setting(one_of::<LogFormat>)
    )]
    pub log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line for people
    Text,
    /// One JSON object a line
    Json,
}

impl DatabaseSettings {
    /// The settings as the store takes them.
    #[must_use]
    pub fn store(&self, migrations: Migrations, telemetry: Telemetry) -> DbSettings {
        DbSettings {
            migrations,
            telemetry,
            url: self.database_url.clone(),
            read_connections: self.read_connections,
            write_connections: self.write_connections,
            acquire_timeout: self.acquire_timeout,
            commit_timeout: self.commit_timeout,
            statement_timeout: self.statement_timeout,
            slow_statement: self.slow_statement,
            events: self.events == Switch::On,
            replicas: self.read_urls.clone(),
            max_replica_lag: self.max_replica_lag,
            is_pooled: self.pooler == Pooler::Transaction,
            prepared_statements: !self.no_prepared_statements,
        }
    }
}

/// A setting that is found to be wrong after the command line was parsed. The program ends with the status 2.
#[derive(Debug)]
pub struct WrongSetting(pub String);

impl Error for WrongSetting {}

impl From<anyhow::Error> for WrongSetting {
    fn from(error: anyhow::Error) -> Self {
        Self(format!("{error:#}"))
    }
}

impl fmt::Display for WrongSetting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The value in a file, without white space around it.
fn secret<T>(flag: &str, path: &Path, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, WrongSetting> {
    let text = fs::read_to_string(path)
        .map_err(|error| WrongSetting(format!("{flag}: cannot read {}: {error}", path.display())))?;
    parse(text.trim()).map_err(|expected| WrongSetting(format!("{flag}: {expected}")))
}

/// How the text of a setting becomes its value. White space around it is not part of it.
///
/// A value that is none is named with the flag or the variable that it came from, and with those that are possible. It
/// is not repeated, because it may be a password.
struct Setting<T>(fn(&str) -> Result<T, String>);

impl<T> Clone for Setting<T> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Setting<T> {
    type Value = T;

    fn parse_ref(&self, command: &clap::Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, clap::Error> {
        self.parse_ref_(command, arg, value, ValueSource::CommandLine)
    }

    fn parse_ref_(
        &self,
        _: &clap::Command,
        arg: Option<&Arg>,
        value: &OsStr,
        source: ValueSource,
    ) -> Result<T, clap::Error> {
        let Self(parse) = self;
        let value = value.to_str().ok_or_else(|| "text in UTF-8 is expected".to_owned());
        value.and_then(|value| parse(value.trim())).map_err(|expected| {
            let name = match (source, arg.and_then(Arg::get_env)) {
                (ValueSource::EnvVariable, Some(variable)) => variable.to_string_lossy().into_owned(),
                _ => match arg.and_then(Arg::get_long) {
                    Some(flag) => format!("--{flag}"),
                    None => arg.map(ToString::to_string).unwrap_or_default(),
                },
            };
            clap::Error::raw(ErrorKind::ValueValidation, format!("{name}: {expected}\n"))
        })
    }
}

fn replica(text: &str) -> Result<PostgresUrl, String> {
    match text.parse() {
        Ok(DatabaseUrl::Postgres(url)) if url.hosts.len() == 1 && !url.must_write => Ok(url),
        _ => Err("postgres://USER:PASSWORD@HOST:PORT/DATABASE is expected, with one host".to_owned()),
    }
}

fn http_url(text: &str) -> Result<Url, String> {
    let url = text.parse().ok().filter(|url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| "a URL such as http://localhost:8000 is expected".to_owned())
}

fn key_name(text: &str) -> Result<String, String> {
    let is_name = (1..=100).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if is_name { Ok(text.to_owned()) } else { Err("1 to 100 characters are expected, in one line".to_owned()) }
}

/// A time with its unit: seconds, minutes, hours, days or weeks. A hundred years at most.
fn time(text: &str) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400), ("w", 604_800)];
    let number = |(unit, seconds): (&str, u64)| text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(seconds);
    let seconds = units.into_iter().find_map(number).filter(|seconds| (1..=36_500 * 86_400).contains(seconds));
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| "a time with its unit is expected, such as 90d, 12h or 30m, at most 36500d".to_owned())
}

fn flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" => Ok(true),
        "0" | "false" | "no" => Ok(false),
        _ => Err("1, 0, true, false, yes or no is expected".to_owned()),
    }
}

fn one_of<T: ValueEnum>(text: &str) -> Result<T, String> {
    T::from_str(text, true).map_err(|_| {
        let values = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        let names: Vec<_> = values.map(|value| value.get_name().to_owned()).collect();
        format!("one of {} is expected", names.join(", "))
    })
}

fn parsed<T: FromStr<Err: ToString>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>().map(Duration::try_from_secs_f64) {
        Ok(Ok(duration)) if duration <= Duration::from_hours(24) => Ok(duration),
        _ => Err("a number of seconds from 0 to 86400 is expected".to_owned()),
    }
}

fn some_seconds(text: &str) -> Result<Duration, String> {
    let duration = seconds(text).ok().filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| "a number of seconds from 0.000000001 to 86400 is expected".to_owned())
}

fn number<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    number_from(text, 0..=MAX_NUMBER)
}

fn some_number<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    number_from(text, 1..=MAX_NUMBER)
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    let network = address.or_else(|_| text.parse::<IpNet>());
    network.map_err(|_| "a network is expected, such as 10.0.0.0/8 or 192.0.2.1".to_owned())
}

fn batch(text: &str) -> Result<usize, String> {
    number_from(text, 1..=10_000)
}

fn connections(text: &str) -> Result<u32, String> {
    number_from(text, 1..=1_000)
}

fn number_from<T: TryFrom<u64>>(text: &str, range: RangeInclusive<u64>) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| range.contains(number)).and_then(|number| number.try_into().ok());
    number.ok_or_else(|| format!("a number from {} to {} is expected", range.start(), range.end()))
}

/// The largest number that a setting takes.
const MAX_NUMBER: u64 = 1_000_000_000_000;
