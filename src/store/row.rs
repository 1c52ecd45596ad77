//! Rows as they are read: the values stay as the database has sent them.
//!
//! SQLite gives the rows of a statement as one JSON text, and PostgreSQL each value in its binary format. Most values
//! go into the JSON of an answer, so a row only knows where its values are. A copy of each text would take half of the
//! time of 1,000 heroes.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use sea_orm::{
    DbErr, QueryResult, Value,
    sqlx::{self, Row as _, ValueRef as _, postgres::PgTypeInfo},
};
use serde::{Serialize, Serializer};

use crate::schema::{Entity, Kind};

/// The value of a column.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scalar {
    /// No value.
    Null,
    /// A whole number.
    Int(i64),
    /// Text.
    Text(String),
}

/// A row of an entity. Its values are numbered: the primary key, the other columns, and the numbers of related rows
/// that the statement has counted.
#[derive(Clone, Debug)]
pub struct Row {
    rows: Arc<Rows>,
    index: usize,
}

/// The rows for each parent, by the key of the parent.
pub type RowsByParent = BTreeMap<i64, Vec<Row>>;

/// The rows of a statement.
#[derive(Debug)]
struct Rows {
    bytes: Vec<u8>,
    /// Where the values are in the bytes, row by row.
    values: Vec<Range<u32>>,
    /// The values of a row.
    width: usize,
    format: Format,
}

/// How values are written.
#[derive(Clone, Copy, Debug)]
enum Format {
    /// As JSON.
    Json,
    /// In the binary format of PostgreSQL. The columns of an entity come first, and then numbers of rows.
    Binary(&'static Entity),
}

/// The bytes that a value takes, more or less.
const BYTES_OF_VALUE: usize = 12;

/// Where a value of the binary format is that is null.
const NULL: Range<u32> = u32::MAX..u32::MAX;

impl Scalar {
    /// The value for a statement; none when it is null.
    #[must_use]
    pub fn value(&self) -> Option<Value> {
        match self {
            Self::Null => None,
            Self::Int(number) => Some((*number).into()),
            Self::Text(text) => Some(text.clone().into()),
        }
    }

    /// The value for a column of this kind.
    #[must_use]
    pub fn value_of(&self, kind: Kind) -> Value {
        match (self, kind) {
            (Self::Int(number), Kind::Int { .. }) => Value::Int(i32::try_from(*number).ok()),
            (Self::Int(number), _) => (*number).into(),
            (Self::Text(text), _) => text.clone().into(),
            (Self::Null, Kind::Key) => Value::BigInt(None),
            (Self::Null, Kind::Int { .. }) => Value::Int(None),
            (Self::Null, Kind::Text { .. }) => Value::String(None),
        }
    }
}

impl Serialize for Scalar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl Row {
    /// The primary key.
    #[must_use]
    pub fn key(&self) -> i64 {
        let bytes = self.bytes(0).unwrap_or_default();
        let key = match self.rows.format {
            Format::Json => text(bytes).and_then(|key| key.parse().ok()),
            Format::Binary(_) => number(bytes),
        };
        // A key is a number on each way from the database.
        key.unwrap_or_default()
    }

    /// Writes a value as JSON.
    pub fn write_json(&self, value: usize, json: &mut Vec<u8>) {
        match self.rows.format {
            Format::Json => json.extend_from_slice(self.bytes(value).unwrap_or(b"null")),
            // Writing to memory cannot fail.
            Format::Binary(entity) => {
                let _ = match kind(entity, value) {
                    Kind::Text { .. } => serde_json::to_writer(json, &self.bytes(value).and_then(text)),
                    _ => serde_json::to_writer(json, &self.bytes(value).and_then(number)),
                };
            }
        }
    }

    /// A value.
    #[must_use]
    pub fn get(&self, value: usize) -> Scalar {
        let Some(bytes) = self.bytes(value) else { return Scalar::Null };
        let scalar = match self.rows.format {
            Format::Json => match serde_json::from_slice(bytes) {
                Ok(serde_json::Value::String(text)) => Some(Scalar::Text(text)),
                Ok(serde_json::Value::Number(number)) => number.as_i64().map(Scalar::Int),
                _ => None,
            },
            Format::Binary(entity) => match kind(entity, value) {
                Kind::Text { .. } => text(bytes).map(|text| Scalar::Text(text.to_owned())),
                _ => number(bytes).map(Scalar::Int),
            },
        };
        scalar.unwrap_or(Scalar::Null)
    }

    /// The bytes of a value; none for one that is null in the binary format.
    fn bytes(&self, value: usize) -> Option<&[u8]> {
        let Rows { bytes, values, width, .. } = &*self.rows;
        let Range { start, end } = values.get(self.index * width + value)?;
        bytes.get(*start as usize..*end as usize)
    }

    /// The values of the columns that are not the primary key.
    #[must_use]
    pub fn values(&self, entity: &Entity) -> Vec<Scalar> {
        (1..=entity.columns.len()).map(|value| self.get(value)).collect()
    }
}

fn kind(entity: &Entity, value: usize) -> Kind {
    match value.checked_sub(1) {
        None => Kind::Key,
        // What follows the columns are numbers of rows, which have the type of keys.
        Some(column) => entity.columns.get(column).map_or(Kind::Key, |column| column.kind),
    }
}

/// A number in the binary format, of four or eight bytes.
fn number(bytes: &[u8]) -> Option<i64> {
    match bytes.len() {
        4 => Some(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        _ => Some(i64::from_be_bytes(bytes.try_into().ok()?)),
    }
}

/// Text in the binary format. PostgreSQL sends no text that is not UTF-8.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

impl Rows {
    /// The values of rows of PostgreSQL, without the first columns.
    fn binary(found: &[QueryResult], skipped: usize, entity: &'static Entity, counts: usize) -> Result<Self, DbErr> {
        let width = width(entity, counts);
        let mut bytes = Vec::with_capacity(BYTES_OF_VALUE * width * found.len());
        let mut values = Vec::with_capacity(width * found.len());
        for (index, row) in found.iter().enumerate() {
            let row = row.try_as_pg_row().ok_or_else(malformed)?;
            for column in 0..width {
                let value = row.try_get_raw(skipped + column).map_err(|_| malformed())?;
                // All rows have the types of the first.
                if index == 0 {
                    check_type(entity, column, &value.type_info())?;
                }
                let start = offset(bytes.len())?;
                values.push(match value.as_bytes() {
                    Ok(value) => {
                        bytes.extend_from_slice(value);
                        start..offset(bytes.len())?
                    }
                    Err(_) => NULL,
                });
            }
        }
        Ok(Self { bytes, values, width, format: Format::Binary(entity) })
    }

    fn into_rows(self) -> impl Iterator<Item = Row> {
        let count = self.values.len() / self.width.max(1);
        let rows = Arc::new(self);
        (0..count).map(move |index| Row { rows: Arc::clone(&rows), index })
    }
}

/// The values of a row of an entity with so many numbers of related rows.
pub fn width(entity: &Entity, counts: usize) -> usize {
    1 + entity.columns.len() + counts
}

/// The rows that PostgreSQL gives for an entity: its columns, and then `counts` numbers of related rows.
///
/// # Errors
///
/// When a column is of another type than was declared.
pub fn from_postgres(found: &[QueryResult], entity: &'static Entity, counts: usize) -> Result<Vec<Row>, DbErr> {
    Ok(Rows::binary(found, 0, entity, counts)?.into_rows().collect())
}

/// The rows that PostgreSQL gives for each parent, whose key is the first column.
///
/// # Errors
///
/// When a column is of another type than was declared.
pub fn by_parent_from_postgres(
    found: &[QueryResult],
    entity: &'static Entity,
    counts: usize,
) -> Result<RowsByParent, DbErr> {
    let mut pages = RowsByParent::new();
    let mut rows = Rows::binary(found, 1, entity, counts)?.into_rows();
    let parent = |row: &QueryResult| {
        let parent = row.try_as_pg_row()?.try_get_raw(0).ok()?;
        parent.as_bytes().ok().and_then(number)
    };
    let parents: Vec<i64> = found.iter().map(parent).collect::<Option<_>>().ok_or_else(malformed)?;
    // The rows of a parent come together, in most plans.
    for parents in parents.chunk_by(|one, next| one == next) {
        pages.entry(parents[0]).or_default().extend(rows.by_ref().take(parents.len()));
    }
    Ok(pages)
}

/// Checks that a column has the type that was declared.
fn check_type(entity: &'static Entity, column: usize, ty: &PgTypeInfo) -> Result<(), DbErr> {
    let is_right = match kind(entity, column) {
        Kind::Text { .. } => <&str as sqlx::Type<sqlx::Postgres>>::compatible(ty),
        Kind::Key => <i64 as sqlx::Type<sqlx::Postgres>>::compatible(ty),
        Kind::Int { .. } => <i32 as sqlx::Type<sqlx::Postgres>>::compatible(ty),
    };
    if is_right {
        return Ok(());
    }
    let name = entity.all_columns().nth(column).map_or("with a number of rows", |column| column.name());
    Err(DbErr::Type(format!("the column {name} has the type {ty}")))
}

/// The rows in the JSON text of SQLite: an array of arrays of `width` values.
///
/// # Errors
///
/// When the text has another form.
pub fn from_json(text: String, width: usize) -> Result<Vec<Row>, DbErr> {
    let mut reader = Reader::new(&text);
    reader.rows(width)?;
    let values = reader.values;
    Ok(Rows { bytes: text.into_bytes(), values, width, format: Format::Json }.into_rows().collect())
}

/// The rows for each parent in the JSON text of SQLite: an array of pairs of the key of a parent and an array as
/// [`from_json`] reads it.
///
/// # Errors
///
/// When the text has another form.
pub fn by_parent_from_json(text: String, width: usize) -> Result<RowsByParent, DbErr> {
    let mut reader = Reader::new(&text);
    let mut lengths = Vec::new();
    reader.list(|reader| {
        reader.expect(b'[')?;
        let parent = reader.number()?;
        reader.expect(b',')?;
        lengths.push((parent, reader.rows(width)?));
        reader.expect(b']')
    })?;
    let values = reader.values;
    let mut rows = Rows { bytes: text.into_bytes(), values, width, format: Format::Json }.into_rows();
    Ok(lengths.into_iter().map(|(parent, length)| (parent, rows.by_ref().take(length).collect())).collect())
}

/// Reads a text without spaces, as SQLite writes it.
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    values: Vec<Range<u32>>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self { text: text.as_bytes(), at: 0, values: Vec::with_capacity(text.len() / BYTES_OF_VALUE) }
    }

    /// Reads an array of rows, and counts them.
    fn rows(&mut self, width: usize) -> Result<usize, DbErr> {
        let mut rows = 0;
        self.list(|reader| {
            let before = reader.values.len();
            reader.list(Self::value)?;
            rows += 1;
            if reader.values.len() - before == width { Ok(()) } else { Err(malformed()) }
        })?;
        Ok(rows)
    }

    fn list(&mut self, mut entry: impl FnMut(&mut Self) -> Result<(), DbErr>) -> Result<(), DbErr> {
        self.expect(b'[')?;
        if self.text.get(self.at) == Some(&b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            entry(self)?;
            match self.text.get(self.at) {
                Some(b',') => self.at += 1,
                _ => return self.expect(b']'),
            }
        }
    }

    /// Reads a text, a number or null.
    fn value(&mut self) -> Result<(), DbErr> {
        let start = self.at;
        let rest = self.text.get(start..).unwrap_or_default();
        let length = if rest.first() == Some(&b'"') {
            let mut escaped = false;
            let end = rest.iter().skip(1).position(|byte| {
                let is_end = *byte == b'"' && !escaped;
                escaped = *byte == b'\\' && !escaped;
                is_end
            });
            end.map(|end| end + 2)
        } else {
            rest.iter().position(|byte| matches!(byte, b',' | b']'))
        };
        self.at = start + length.ok_or_else(malformed)?;
        self.values.push(offset(start)?..offset(self.at)?);
        Ok(())
    }

    fn number(&mut self) -> Result<i64, DbErr> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| matches!(byte, b',' | b']')).ok_or_else(malformed)?;
        self.at += length;
        let digits = std::str::from_utf8(&rest[..length]).ok();
        digits.and_then(|digits| digits.parse().ok()).ok_or_else(malformed)
    }

    fn expect(&mut self, byte: u8) -> Result<(), DbErr> {
        if self.text.get(self.at) != Some(&byte) {
            return Err(malformed());
        }
        self.at += 1;
        Ok(())
    }
}

fn offset(offset: usize) -> Result<u32, DbErr> {
    u32::try_from(offset).map_err(|_| malformed())
}

fn malformed() -> DbErr {
    DbErr::Json("the rows do not have the form that was asked for".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(row: &Row) -> String {
        let mut json = Vec::new();
        for value in [3, 1, 2] {
            row.write_json(value, &mut json);
            json.push(b' ');
        }
        String::from_utf8(json).expect("it is text") + &row.key().to_string()
    }

    #[test]
    fn rows_of_each_form() {
        let text = r#"[[1,"a\"],[\\","",null],[22,"é","\\\"",3]]"#;
        let rows = from_json(text.to_owned(), 4).expect("it is well-formed");
        assert_eq!(rows.iter().map(json).collect::<Vec<_>>(), [r#"null "a\"],[\\" "" 1"#, r#"3 "é" "\\\"" 22"#]);
        assert_eq!(rows[0].get(1), Scalar::Text(r#"a"],[\"#.to_owned()));
        assert_eq!((rows[0].get(3), rows[1].get(3), rows[1].get(4)), (Scalar::Null, Scalar::Int(3), Scalar::Null));

        let text = r#"[[7,[[1,"a","b",2]]],[8,[]],[-9,[[3,"c","d",null],[4,"e","f",1]]]]"#;
        let pages = by_parent_from_json(text.to_owned(), 4).expect("it is well-formed");
        let page = |parent| pages[&parent].iter().map(json).collect::<Vec<_>>();
        assert_eq!(page(7), [r#"2 "a" "b" 1"#]);
        assert_eq!(page(8), Vec::<String>::new());
        assert_eq!(page(-9), [r#"null "c" "d" 3"#, r#"1 "e" "f" 4"#]);
    }

    #[test]
    fn texts_that_are_no_rows() {
        for text in ["", "[", "[[", "[[1", "[[1,\"a", "[[1,\"a\\\"", "{}", "[1]", "[[1,2]", "[[1],[1,2]]", "null"] {
            assert!(from_json(text.to_owned(), 2).is_err(), "{text}");
        }
        assert!(by_parent_from_json("[[x,[]]]".to_owned(), 4).is_err());
    }
}
