//! Every setting: flag, variable, default, unit, meaning.

mod access;
mod command;
mod database;
mod database_url;
mod documents;
mod events;
mod graphql;
mod host_name;
mod listen_address;
mod log;
mod origin;
mod records;
mod serve;
mod setting;
mod telemetry;
mod text_field;

pub use self::{
    access::{AccessSettings, Issuer, KeySetSource},
    command::{Command, Config, DocumentsCommand, KeyCommand, SchemaCommand},
    database::{DatabaseSettings, Pooler},
    database_url::{DatabaseUrl, Mode, PostgresUrl, SqliteUrl},
    documents::{DocumentSettings, DocumentsMode},
    events::{EventSettings, Switch},
    graphql::{GraphQlSettings, Introspection, Limits},
    host_name::HostName,
    listen_address::ListenAddress,
    log::{LogFormat, LogLevel, LogSettings},
    origin::Origin,
    records::{ExportSettings, Format, ImportMode, ImportSettings, OnError, ProgressSettings, ShowProgress},
    serve::ServeSettings,
    setting::{WrongSetting, http_url_without_user},
    telemetry::TelemetrySettings,
    text_field::{MigrateSettings, TextField},
};
