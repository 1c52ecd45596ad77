//! Rows as they are read for answers.
//!
//! SQLite gives the rows of a statement as one JSON text. Most of them go into the JSON of an answer, so nothing is copied out of
//! that text: a record knows where its columns are in it. Reading 1,000 heroes takes half the time that it takes with a text of
//! its own for each name.

use std::{collections::HashMap, io::Write as _, ops::Range, sync::Arc};

use sea_orm::{DbErr, ModelTrait, Value};

use super::{
    Table,
    order::Key,
    rows::{Model, Row},
};

/// A row of an entity.
#[derive(Debug)]
pub struct Record<E: Table>(Source<E>);

#[derive(Debug)]
enum Source<E: Table> {
    Model(Arc<Model<E>>),
    /// The n-th row in a text.
    Json(Arc<JsonRows>, usize),
}

/// The rows for each parent.
pub type RowsByParent<E> = HashMap<i64, Vec<Row<Record<E>>>>;

/// Rows in a JSON text.
#[derive(Debug)]
struct JsonRows {
    text: String,
    /// Where the values of all columns of all rows are, row by row.
    values: Vec<Range<u32>>,
    /// The columns of a row.
    columns: usize,
}

impl<E: Table> Clone for Record<E> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Source::Model(model) => Source::Model(Arc::clone(model)),
            Source::Json(rows, row) => Source::Json(Arc::clone(rows), *row),
        })
    }
}

impl<E: Table> Record<E> {
    /// The row in a model.
    #[must_use]
    pub fn of(model: Model<E>) -> Self {
        Self(Source::Model(Arc::new(model)))
    }

    /// The key of the row.
    #[must_use]
    pub fn key(&self) -> i64 {
        match &self.0 {
            Source::Model(model) => E::key(model),
            // A key is a number on each way from the database.
            Source::Json(rows, row) => rows.value(*row, E::index(E::KEY)).parse().unwrap_or_default(),
        }
    }

    /// Writes the value of a column as JSON.
    pub fn write_json(&self, column: E::Column, json: &mut Vec<u8>) {
        // Writing to memory cannot fail.
        let _ = match &self.0 {
            Source::Model(model) => E::write_json(model, column, json),
            Source::Json(rows, row) => json.write_all(rows.value(*row, E::index(column)).as_bytes()),
        };
    }

    /// The value of a column.
    #[must_use]
    pub fn get(&self, column: E::Column) -> Key {
        match &self.0 {
            Source::Model(model) => match model.get(column) {
                Value::String(Some(text)) => Key::Text(text),
                Value::BigInt(Some(number)) => Key::Int(number),
                Value::Int(Some(number)) => Key::Int(number.into()),
                _ => Key::Null,
            },
            Source::Json(rows, row) => match serde_json::from_str(rows.value(*row, E::index(column))) {
                Ok(serde_json::Value::String(text)) => Key::Text(text),
                Ok(serde_json::Value::Number(number)) => number.as_i64().map_or(Key::Null, Key::Int),
                _ => Key::Null,
            },
        }
    }

    /// The value of a column of texts.
    #[must_use]
    pub fn text(&self, column: E::Column) -> String {
        if let Key::Text(text) = self.get(column) { text } else { String::new() }
    }

    /// The value of a column of numbers, if there is one.
    #[must_use]
    pub fn int(&self, column: E::Column) -> Option<i32> {
        if let Key::Int(number) = self.get(column) { number.try_into().ok() } else { None }
    }
}

impl JsonRows {
    fn value(&self, row: usize, column: usize) -> &str {
        let value = self.values.get(row * self.columns + column);
        value.and_then(|value| self.text.get(value.start as usize..value.end as usize)).unwrap_or("null")
    }
}

/// The rows in the text that SQLite makes of a statement: an array of arrays; when `counted`, of pairs of an array and a number.
///
/// # Errors
///
/// When the text is not of this form.
pub fn rows<E: Table>(text: String, columns: usize, counted: bool) -> Result<Vec<Row<Record<E>>>, DbErr> {
    let mut reader = Reader::new(&text);
    let linked = reader.rows(counted)?;
    let records = records(reader.values, text, columns);
    Ok(linked.into_iter().zip(records).map(|(linked, model)| Row { model, linked }).collect())
}

/// The rows for each parent: an array of pairs of the key of a parent and an array as [`rows`] has it.
///
/// # Errors
///
/// When the text is not of this form.
pub fn rows_by_parent<E: Table>(text: String, columns: usize, counted: bool) -> Result<RowsByParent<E>, DbErr> {
    let mut reader = Reader::new(&text);
    let mut pages = Vec::new();
    reader.list(|reader| {
        reader.expect(b'[')?;
        let parent = reader.number()?;
        reader.expect(b',')?;
        pages.push((parent, reader.rows(counted)?));
        reader.expect(b']')
    })?;
    let mut records = records(reader.values, text, columns);
    let page = |(parent, linked): (i64, Vec<Option<i64>>)| {
        let rows = linked.into_iter().zip(records.by_ref());
        (parent, rows.map(|(linked, model)| Row { model, linked }).collect())
    };
    Ok(pages.into_iter().map(page).collect())
}

fn records<E: Table>(values: Vec<Range<u32>>, text: String, columns: usize) -> impl Iterator<Item = Record<E>> {
    let count = values.len() / columns.max(1);
    let rows = Arc::new(JsonRows { text, values, columns });
    (0..count).map(move |row| Record(Source::Json(Arc::clone(&rows), row)))
}

/// Reads a text without spaces, as SQLite writes it.
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    values: Vec<Range<u32>>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        // A value takes some twelve bytes.
        Self { text: text.as_bytes(), at: 0, values: Vec::with_capacity(text.len() / 12) }
    }

    /// The numbers of linked rows in an array of rows.
    fn rows(&mut self, counted: bool) -> Result<Vec<Option<i64>>, DbErr> {
        let mut linked = Vec::new();
        self.list(|reader| {
            if !counted {
                linked.push(None);
                return reader.list(Self::value);
            }
            reader.expect(b'[')?;
            reader.list(Self::value)?;
            reader.expect(b',')?;
            linked.push(Some(reader.number()?));
            reader.expect(b']')
        })?;
        Ok(linked)
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

    /// A text, a number or null.
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
    DbErr::Json("the rows are not of the form that was asked for".to_owned())
}

#[cfg(test)]
mod tests {
    use entity::hero::{Column, Entity};

    use super::*;

    fn json(row: &Row<Record<Entity>>) -> String {
        let mut json = Vec::new();
        for column in [Column::Age, Column::Name, Column::SecretName] {
            row.model.write_json(column, &mut json);
            json.push(b' ');
        }
        String::from_utf8(json).expect("it is text") + &format!("{} {:?}", row.model.key(), row.linked)
    }

    #[test]
    fn rows_of_each_form() {
        let text = r#"[[1,"a\"],[\\","",null],[22,"é","\\\"",3]]"#;
        let rows = rows::<Entity>(text.to_owned(), 4, false).expect("it is well-formed");
        assert_eq!(
            rows.iter().map(json).collect::<Vec<_>>(),
            [r#"null "a\"],[\\" "" 1 None"#, r#"3 "é" "\\\"" 22 None"#]
        );
        assert_eq!(rows[0].model.get(Column::Name), Key::Text(r#"a"],[\"#.to_owned()));
        assert_eq!((rows[0].model.get(Column::Age), rows[1].model.get(Column::Age)), (Key::Null, Key::Int(3)));

        let text = r#"[[7,[[[1,"a","b",2],5]]],[8,[]],[-9,[[[3,"c","d",null],0],[[4,"e","f",1],1]]]]"#;
        let pages = rows_by_parent::<Entity>(text.to_owned(), 4, true).expect("it is well-formed");
        let page = |parent| pages[&parent].iter().map(json).collect::<Vec<_>>();
        assert_eq!(page(7), [r#"2 "a" "b" 1 Some(5)"#]);
        assert_eq!(page(8), Vec::<String>::new());
        assert_eq!(page(-9), [r#"null "c" "d" 3 Some(0)"#, r#"1 "e" "f" 4 Some(1)"#]);
    }

    #[test]
    fn texts_that_are_no_rows() {
        for text in ["", "[", "[[", "[[1", "[[1,\"a", "[[1,\"a\\\"", "{}", "[1]", "[[1,2]", "null"] {
            assert!(rows::<Entity>(text.to_owned(), 4, false).is_err(), "{text}");
        }
        assert!(rows::<Entity>("[[[1,2],x]]".to_owned(), 4, true).is_err());
        assert!(rows_by_parent::<Entity>("[[x,[]]]".to_owned(), 4, false).is_err());
    }
}
