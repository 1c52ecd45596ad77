//! A text field in a setting.

use std::{fmt, str::FromStr};

use clap::Args;

use super::{Setting, parsed};
use crate::{
    schema::{Api as _, Column, Entity, HeroTeams, Kind},
    store::TextIndex,
};

/// A field of an entity that is text, such as `Hero.name`.
#[derive(Clone, Copy, Debug)]
pub struct TextField {
    pub entity: &'static Entity,
    pub column: &'static Column,
}

impl FromStr for TextField {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fields = || {
            HeroTeams::entities().iter().flat_map(|entity| {
                let columns = entity.columns.iter().filter(|column| matches!(column.kind, Kind::Text { .. }));
                columns.map(|column| Self { entity, column })
            })
        };
        fields().find(|field| field.to_string() == text).ok_or_else(|| {
            let names: Vec<_> = fields().map(|field| field.to_string()).collect();
            format!("one of {} is expected", names.join(", "))
        })
    }
}

impl fmt::Display for TextField {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.entity.name, self.column.field)
    }
}

/// The indexes that `migrate` makes besides those of the migrations.
#[derive(Debug, Args)]
pub struct MigrateSettings {
    #[arg(
        long,
        help = "Text field whose filters with ignoreCase get an index, such as Hero.name; one or several with commas, \
                repeatable",
        value_name = "FIELD",
        value_delimiter = ',',
        value_parser = Setting(parsed::<TextField>)
    )]
    pub lower_index: Vec<TextField>,
    #[arg(
        long,
        help = "Text field whose filters contains and endsWith get an index, on PostgreSQL; one or several with \
                commas, repeatable",
        value_name = "FIELD",
        value_delimiter = ',',
        value_parser = Setting(parsed::<TextField>)
    )]
    pub trigram_index: Vec<TextField>,
}

impl MigrateSettings {
    /// The indexes that are asked for.
    #[must_use]
    pub fn indexes(&self) -> Vec<(TextIndex, TextField)> {
        let lower = self.lower_index.iter().map(|field| (TextIndex::Lower, *field));
        lower.chain(self.trigram_index.iter().map(|field| (TextIndex::Trigram, *field))).collect()
    }
}
