//! Rows as they are read: the values stay where the database has put them.
//!
//! SQLite gives the rows of a statement as one JSON text, and PostgreSQL as buffers of the connection. Most values go
//! into the JSON of an answer, so a row only knows where its values are. A copy of each text would take half of the
//! time of 1,000 heroes.

use std::{collections::HashMap, io::Write as _, ops::Range, sync::Arc};

use sea_orm::{
    DbErr, QueryResult, Value,
    sqlx::{self, Column as _, Row as _, postgres::PgRow},
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
pub type RowsByParent = HashMap<i64, Vec<Row>>;

/// The rows of a statement.
#[derive(Debug)]
enum Rows {
    Json {
        text: String,
        /// Where the values are in the text, row by row.
        values: Vec<Range<u32>>,
        /// The values of a row.
        width: usize,
    },
    Postgres {
        rows: Vec<QueryResult>,
        entity: &'static Entity,
        /// The columns before the primary key.
        skipped: usize,
    },
}

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
        // A key is a number on each way from the database.
        match &*self.rows {
            Rows::Json { .. } => self.rows.json(self.index, 0).parse().unwrap_or_default(),
            Rows::Postgres { rows, skipped, .. } => {
                rows[self.index].try_as_pg_row().and_then(|row| decoded(row, *skipped)).unwrap_or_default()
            }
        }
    }

    /// Writes a value as JSON.
    pub fn write_json(&self, value: usize, json: &mut Vec<u8>) {
        // Writing to memory cannot fail.
        let _ = match &*self.rows {
            Rows::Json { .. } => json.write_all(self.rows.json(self.index, value).as_bytes()),
            Rows::Postgres { rows, entity, skipped } => {
                let Some(row) = rows[self.index].try_as_pg_row() else { return };
                let written = match (kind(entity, value), value + skipped) {
                    (Kind::Text { .. }, column) => serde_json::to_writer(json, &decoded::<&str>(row, column)),
                    (kind, column) => serde_json::to_writer(json, &number(row, kind, column)),
                };
                written.map_err(Into::into)
            }
        };
    }

    /// A value.
    #[must_use]
    pub fn get(&self, value: usize) -> Scalar {
        match &*self.rows {
            Rows::Json { .. } => match serde_json::from_str(self.rows.json(self.index, value)) {
                Ok(serde_json::Value::String(text)) => Scalar::Text(text),
                Ok(serde_json::Value::Number(number)) => number.as_i64().map_or(Scalar::Null, Scalar::Int),
                _ => Scalar::Null,
            },
            Rows::Postgres { rows, entity, skipped } => {
                let Some(row) = rows[self.index].try_as_pg_row() else { return Scalar::Null };
                let scalar = match (kind(entity, value), value + skipped) {
                    (Kind::Text { .. }, column) => {
                        decoded::<&str>(row, column).map(|text| Scalar::Text(text.to_owned()))
                    }
                    (kind, column) => number(row, kind, column).map(Scalar::Int),
                };
                scalar.unwrap_or(Scalar::Null)
            }
        }
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

fn number(row: &PgRow, kind: Kind, column: usize) -> Option<i64> {
    if kind == Kind::Key { decoded(row, column) } else { decoded::<i32>(row, column).map(i64::from) }
}

/// A value of a column whose type is known to be the right one. To compare the types for each value would take a tenth
/// of the time of 1,000 heroes.
fn decoded<'r, T>(row: &'r PgRow, column: usize) -> Option<T>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get_unchecked::<Option<T>, _>(column).ok().flatten()
}

impl Rows {
    /// A value in a JSON text.
    fn json(&self, row: usize, value: usize) -> &str {
        let Self::Json { text, values, width } = self else { return "null" };
        let value = values.get(row * width + value);
        value.and_then(|value| text.get(value.start as usize..value.end as usize)).unwrap_or("null")
    }

    fn into_rows(self, count: usize) -> impl Iterator<Item = Row> {
        let rows = Arc::new(self);
        (0..count).map(move |index| Row { rows: Arc::clone(&rows), index })
    }
}

/// The rows that PostgreSQL gives for an entity, whose columns come after others.
///
/// # Errors
///
/// When a column is of another type than was declared.
pub fn from_postgres(rows: Vec<QueryResult>, entity: &'static Entity, skipped: usize) -> Result<Vec<Row>, DbErr> {
    // All rows have the types of the first.
    if let Some(first) = rows.first().and_then(QueryResult::try_as_pg_row) {
        for (column, found) in entity.all_columns().zip(first.columns().iter().skip(skipped)) {
            let ty = found.type_info();
            let is_right = match column.kind {
                Kind::Text { .. } => <&str as sqlx::Type<sqlx::Postgres>>::compatible(ty),
                Kind::Key => <i64 as sqlx::Type<sqlx::Postgres>>::compatible(ty),
                Kind::Int { .. } => <i32 as sqlx::Type<sqlx::Postgres>>::compatible(ty),
            };
            if !is_right {
                return Err(DbErr::Type(format!("the column {} has the type {ty}", column.name())));
            }
        }
    }
    let count = rows.len();
    Ok(Rows::Postgres { rows, entity, skipped }.into_rows(count).collect())
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
    let count = values.len() / width.max(1);
    Ok(Rows::Json { text, values, width }.into_rows(count).collect())
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
    let count = values.len() / width.max(1);
    let mut rows = Rows::Json { text, values, width }.into_rows(count);
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
        // A value takes about twelve bytes.
        Self { text: text.as_bytes(), at: 0, values: Vec::with_capacity(text.len() / 12) }
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
        let offset = |offset| u32::try_from(offset).map_err(|_| malformed());
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
