//! The commands, and all settings together.

use std::{env, path::PathBuf, time::Duration};

use clap::{FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use url::Url;

use super::{
    access::AccessSettings,
    database::{DatabaseSettings, replica},
    database_url::DatabaseUrl,
    events::EventSettings,
    graphql::GraphQlSettings,
    log::LogSettings,
    records::{ExportSettings, ImportSettings, OnError, ProgressSettings},
    serve::ServeSettings,
    setting::{Setting, WrongSetting, http_url, one_of, parsed, secret},
    telemetry::TelemetrySettings,
    text_field::MigrateSettings,
};
use crate::schema::Scope;

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
    /// When a file cannot be read, or its content is wrong. The message does not have it.
    pub fn read_files(&mut self) -> Result<(), WrongSetting> {
        if let Some(path) = &self.database.database_url_file {
            self.database.database_url = secret("--database-url-file", path, parsed)?;
        }
        if let Some(path) = &self.database.read_url_file {
            self.database.read_urls = secret("--read-url-file", path, |text| {
                let urls = text.split([',', '\n']).map(str::trim).filter(|url| !url.is_empty());
                let urls: Vec<_> = urls.map(replica).collect::<Result<_, _>>()?;
                if urls.is_empty() {
                    return Err("URLs of replicas are expected, with commas or one in a line".to_owned());
                }
                Ok(urls)
            })?;
        }
        if let Some(path) = &self.events.events_url_file {
            self.events.events_url = Some(secret("--events-url-file", path, parsed)?);
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
        #[arg(value_name = "URL", value_parser = Setting(server))]
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
        /// Id of the key, as `key list` prints it, or the whole key
        id: String,
    },
}

fn server(text: &str) -> Result<Url, String> {
    http_url(text).ok_or_else(|| "a URL such as http://localhost:8000 is expected".to_owned())
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
