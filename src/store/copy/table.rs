//! The tables that are copied, and what their rows may hold.

use entity::api_key;
use sea_orm::{ColumnTrait as _, ColumnType, EntityName as _, IdenStatic as _, Iterable as _};

use crate::{
    schema::{Entity, Kind, Link, links},
    store::Scalar,
};

/// The greatest key that is copied: a database gives new rows greater ones.
pub const MAX_KEY: i64 = i64::MAX / 2;

/// A value as it is found.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    Null,
    Int(i64),
    Text(String),
    /// Of a type that no column has.
    Other(&'static str),
}

/// A table of ours.
#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    /// Its name in the source.
    pub source: String,
    /// The keys come first.
    pub columns: Vec<Column>,
    /// Whether the first column is a key that the database counts.
    pub is_counted: bool,
}

/// A column of a table.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub kind: ColumnKind,
    pub is_nullable: bool,
}

/// What the values of a column are.
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnKind {
    Text {
        max_characters: usize,
        is_blank_allowed: bool,
    },
    Int {
        min: i64,
        max: i64,
    },
    /// The key of a row of another table.
    Reference {
        table: String,
    },
}

impl Table {
    /// All of an API, those first to which others refer.
    pub fn all(entities: &[&'static Entity]) -> Vec<Self> {
        let objects = entities.iter().map(|entity| Self::of_entity(entity));
        let links = links(entities).map(|(_, relation)| Self::of_link(relation.link));
        objects.chain(links).chain([Self::of_api_keys()]).collect()
    }

    /// The table of an entity.
    #[must_use]
    fn of_entity(entity: &Entity) -> Self {
        let column = |column: &crate::schema::Column| Column {
            name: column.name().to_owned(),
            kind: match column.kind {
                Kind::Key => ColumnKind::Int { min: 1, max: MAX_KEY },
                Kind::Text { max_characters } => ColumnKind::Text { max_characters, is_blank_allowed: false },
                Kind::Int { min, max } => ColumnKind::Int { min: min.into(), max: max.into() },
            },
            is_nullable: column.is_nullable,
        };
        let name = entity.table().to_owned();
        let columns = std::iter::once(&entity.key).chain(entity.columns).map(column).collect();
        Self { source: name.clone(), name, columns, is_counted: true }
    }

    /// A link table.
    #[must_use]
    fn of_link(link: &Link) -> Self {
        let column = |(name, table): (String, String)| Column {
            name,
            kind: ColumnKind::Reference { table },
            is_nullable: false,
        };
        let near = (link.near.to_string(), link.from.to_string());
        let far = (link.far.to_string(), link.to.to_string());
        let name = link.table.to_string();
        Self { source: name.clone(), name, columns: [near, far].map(column).to_vec(), is_counted: false }
    }

    /// The API keys.
    #[must_use]
    fn of_api_keys() -> Self {
        let column = |column: api_key::Column| {
            let definition = column.def();
            let kind = match definition.get_column_type() {
                ColumnType::String(_) => ColumnKind::Text { max_characters: usize::MAX, is_blank_allowed: true },
                _ => ColumnKind::Int { min: i64::MIN, max: i64::MAX },
            };
            Column { name: column.as_str().to_owned(), kind, is_nullable: definition.is_null() }
        };
        let name = api_key::Entity.table_name().to_owned();
        let columns = api_key::Column::iter().map(column).collect();
        Self { source: name.clone(), name, columns, is_counted: false }
    }

    /// Numbers by which two tables with the same rows are known, on SQLite: how many rows there are, and sums of their
    /// values, alone and with a weight that the key of the row gives.
    #[must_use]
    pub fn sums_sqlite(&self) -> Vec<String> {
        // It takes U+FFFE and U+FFFF for U+FFFD.
        let first = |text: &str| format!("MIN(unicode({text}), 65533)");
        self.sums("COUNT(*)", first, |sum| format!("CAST(COALESCE(SUM({sum}), 0) AS INTEGER)"))
    }

    /// The same numbers on PostgreSQL.
    #[must_use]
    pub fn sums_postgres(&self) -> Vec<String> {
        let first = |text: &str| format!("LEAST(ascii(COALESCE({text}, '')), 65533)");
        self.sums("COUNT(*)::bigint", first, |sum| format!("COALESCE(SUM({sum}), 0)::bigint"))
    }

    fn sums(&self, count: &str, first_character: impl Fn(&str) -> String, sum: impl Fn(&str) -> String) -> Vec<String> {
        let mut sums = vec![count.to_owned()];
        let first = &self.columns[0];
        let weight = match first.kind {
            ColumnKind::Text { .. } => format!("LENGTH(\"{}\")", first.name),
            _ => format!("(\"{}\" % 1009)", first.name),
        };
        for Column { name, kind, .. } in &self.columns {
            let values = match kind {
                ColumnKind::Text { .. } => [format!("LENGTH(\"{name}\")"), first_character(&format!("\"{name}\""))],
                _ => [format!("(\"{name}\" % 1000003)"), format!("(\"{name}\" % 1013)")],
            };
            sums.push(sum(&values[0]));
            sums.push(sum(&format!("{} * {weight}", values[1])));
        }
        sums
    }

    /// The greatest key of a row that can be copied; null where the database does not count.
    #[must_use]
    pub fn greatest_key(&self) -> String {
        let key = &self.columns[0].name;
        let key = if self.is_counted {
            format!("CASE WHEN \"{key}\" BETWEEN 1 AND {MAX_KEY} THEN \"{key}\" END")
        } else {
            "NULL".to_owned()
        };
        format!("MAX(CAST({key} AS bigint))")
    }

    /// A row as it is written, or what is wrong with it.
    ///
    /// # Errors
    ///
    /// The fault.
    pub fn checked(&self, row: Vec<Raw>, has: impl Fn(&str, i64) -> bool) -> Result<Vec<Scalar>, String> {
        let value = |(column, value): (&Column, Raw)| {
            column.checked(value, &has).map_err(|fault| format!("{} {fault}", column.name))
        };
        self.columns.iter().zip(row).map(value).collect()
    }

    /// How many columns the primary key has.
    #[must_use]
    pub fn keys(&self) -> usize {
        if matches!(self.columns[0].kind, ColumnKind::Reference { .. }) { 2 } else { 1 }
    }

    /// How a row is named in a message: by its keys.
    #[must_use]
    pub fn key_of(&self, row: &[Raw]) -> String {
        let key = |value: &Raw| match value {
            Raw::Null => "null".to_owned(),
            Raw::Int(number) => number.to_string(),
            Raw::Text(_) => "text".to_owned(),
            Raw::Other(what) => (*what).to_owned(),
        };
        row.iter().take(self.keys()).map(key).collect::<Vec<_>>().join(", ")
    }
}

impl Column {
    fn checked(&self, value: Raw, has: impl Fn(&str, i64) -> bool) -> Result<Scalar, String> {
        match (&self.kind, value) {
            (_, Raw::Null) if self.is_nullable => Ok(Scalar::Null),
            (_, Raw::Null) => Err("is null".to_owned()),
            (ColumnKind::Text { max_characters, is_blank_allowed }, Raw::Text(text)) => {
                let characters = text.chars().count();
                if !is_blank_allowed && text.trim().is_empty() {
                    Err("is blank".to_owned())
                } else if characters > *max_characters {
                    Err(format!("has {characters} characters, and at most {max_characters} are possible"))
                } else if text.contains('\0') {
                    Err("has the character U+0000".to_owned())
                } else {
                    Ok(Scalar::Text(text))
                }
            }
            (ColumnKind::Int { min, max }, Raw::Int(number)) if (*min..=*max).contains(&number) => {
                Ok(Scalar::Int(number))
            }
            (ColumnKind::Int { min, max }, Raw::Int(number)) => {
                Err(format!("is {number}, and {min} to {max} is possible"))
            }
            (ColumnKind::Reference { table }, Raw::Int(key)) => {
                if has(table, key) {
                    Ok(Scalar::Int(key))
                } else {
                    Err(format!("is {key}, and there is no such {table}"))
                }
            }
            (ColumnKind::Text { .. }, Raw::Int(_)) => Err("is a number".to_owned()),
            (_, Raw::Text(_)) => Err("is text".to_owned()),
            (_, Raw::Other(what)) => Err(format!("is {what}")),
        }
    }
}
