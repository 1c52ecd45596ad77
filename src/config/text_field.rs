//! The indexes of text fields.

use std::fmt;

use clap::Args;

use super::setting::{Setting, WrongSetting, parsed};
use crate::schema::{Column, Entity, Kind};

/// The indexes that `migrate` makes besides those of the migrations.
#[derive(Debug, Args)]
pub struct MigrateSettings {
    #[arg(
        long,
        help = "Text field whose filters with ignoreCase get an index, such as Hero.name; one or several with commas, \
                repeatable",
        value_name = "FIELD",
        value_delimiter = ',',
        value_parser = Setting(parsed::<String>)
    )]
    pub lower_index: Vec<String>,
    #[arg(
        long,
        help = "Text field whose filters contains and endsWith get an index, on PostgreSQL; one or several with \
                commas, repeatable",
        value_name = "FIELD",
        value_delimiter = ',',
        value_parser = Setting(parsed::<String>)
    )]
    pub trigram_index: Vec<String>,
}

/// A field of an entity that is text.
#[derive(Clone, Copy, Debug)]
pub struct TextField {
    pub entity: &'static Entity,
    pub column: &'static Column,
}

impl MigrateSettings {
    /// The fields of these entities that `--lower-index` names, and those of `--trigram-index`.
    ///
    /// # Errors
    ///
    /// When a name is not that of a text field.
    pub fn fields(&self, entities: &[&'static Entity]) -> Result<[Vec<TextField>; 2], WrongSetting> {
        let field = |flag: &str, name: &String| {
            let field = TextField::all(entities).find(|field| field.to_string() == *name);
            field.ok_or_else(|| {
                let names: Vec<_> = TextField::all(entities).map(|field| field.to_string()).collect();
                WrongSetting(format!("{flag}: one of {} is expected", names.join(", ")))
            })
        };
        let fields = |flag, names: &[String]| names.iter().map(|name| field(flag, name)).collect::<Result<_, _>>();
        Ok([fields("--lower-index", &self.lower_index)?, fields("--trigram-index", &self.trigram_index)?])
    }
}

impl TextField {
    fn all(entities: &[&'static Entity]) -> impl Iterator<Item = Self> {
        entities.iter().flat_map(|entity| {
            let columns = entity.columns.iter().filter(|column| matches!(column.kind, Kind::Text { .. }));
            columns.map(|column| Self { entity, column })
        })
    }
}

impl fmt::Display for TextField {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.entity.name, self.column.field)
    }
}
