//! Records of a file, one after another.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Seek as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use async_graphql::{Name, Value, indexmap::IndexMap};
use csv::StringRecord;
use sha2::{Digest as _, Sha256};

use super::table::{Table, ends};
use crate::{
    config::WrongSetting,
    graphql::{RecordFault, RecordReader},
    schema::{Column, Entity, Kind, Relation, with_article},
    store::Values,
};

/// The greatest number of bytes of a record.
const MAX_RECORD: u64 = 1024 * 1024;
/// The greatest number of bytes of a line that is no JSON, where it is shown.
const MAX_SHOWN: usize = 1_000;

/// The greatest number of faults of a record that are said.
pub const MAX_FAULTS: usize = 100;

/// What a record says. The ids are those of the file.
#[derive(Debug)]
pub enum Record {
    Object {
        entity: &'static Entity,
        id: Option<i64>,
        values: Values,
        /// The ids of the objects that it is linked to along relations.
        links: Vec<(&'static Relation, Vec<i64>)>,
    },
    /// The ids of two objects, in the order of the columns of the link table.
    Link { from: &'static Entity, relation: &'static Relation, ends: [i64; 2] },
}

/// A record, or what is wrong with it.
#[derive(Debug)]
pub struct Line {
    /// The number of the line in which it begins, from 1.
    pub number: u64,
    pub record: Result<Record, Vec<RecordFault>>,
}

/// A file to import.
#[derive(Debug)]
pub struct Source {
    pub path: PathBuf,
    file: File,
    form: Form,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Jsonl,
    Csv(Table),
}

impl Source {
    /// The file at a path. The end of its name tells the form of JSON Lines and of CSV, and the name of a CSV file its
    /// table, unless that is given.
    ///
    /// # Errors
    ///
    /// When the name tells neither, it is not a file that can be read twice, or it has no header of its table.
    pub fn new(reader: &RecordReader, path: &Path, what: Option<&str>) -> anyhow::Result<Self> {
        let tables = Table::all(reader.entities());
        let with_name = |name: &str| tables.iter().find(|table| table.name() == name).copied();
        let names = || tables.iter().map(Table::name).collect::<Vec<_>>().join(", ");
        let given = what
            .map(|what| with_name(what).ok_or_else(|| WrongSetting(format!("--what: one of {} is expected", names()))));
        let given = given.transpose()?;
        let end = path.extension().map(|end| end.to_string_lossy().to_lowercase()).unwrap_or_default();
        let form = match end.as_str() {
            "jsonl" | "ndjson" => Form::Jsonl,
            "csv" => {
                let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
                Form::Csv(given.or_else(|| with_name(&stem)).ok_or_else(|| {
                    WrongSetting(format!("--what: one of {} is expected, for {}", names(), path.display()))
                })?)
            }
            _ if path.is_dir() => {
                let path = path.display();
                return Err(WrongSetting(format!("{path} is a folder: name its files, such as {path}/*.csv")).into());
            }
            _ => {
                let path = path.display();
                return Err(WrongSetting(format!("{path}: a name with .jsonl or .csv at its end is expected")).into());
            }
        };
        let unread = || format!("cannot read {}", path.display());
        // To open a pipe would wait for somebody to write to it.
        ensure!(fs::metadata(path).with_context(unread)?.is_file(), "{} is no regular file", path.display());
        let source = Self { path: path.to_owned(), file: File::open(path).with_context(unread)?, form };
        source.lines(reader)?;
        Ok(source)
    }

    /// Where its records are written that are wrong.
    pub fn rejects(&self) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".rejected.jsonl");
        path.into()
    }

    /// What the file system knows of it.
    pub fn metadata(&self) -> io::Result<fs::Metadata> {
        self.file.metadata()
    }

    /// The place of the table of a CSV file, after those to which it refers. None for other files, which have several.
    pub fn rank(&self, entities: &'static [&'static Entity]) -> Option<usize> {
        let Form::Csv(table) = self.form else { return None };
        Table::all(entities).iter().position(|other| *other == table)
    }

    /// Its records, from the first.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or has no header of its table.
    pub fn lines<'r>(&'r self, reader: &'r RecordReader) -> anyhow::Result<Lines<'r>> {
        let unread = || format!("cannot read {}", self.path.display());
        (&self.file).rewind().with_context(unread)?;
        let file = Reading { file: &self.file, hash: Sha256::new(), left: u64::MAX, quotes: None };
        let mut file = BufReader::with_capacity(256 * 1024, file);
        Ok(match self.form {
            Form::Jsonl => {
                Lines::Json { reader, tables: Table::all(reader.entities()), file, number: 0, buffer: Vec::new() }
            }
            Form::Csv(table) => {
                file.get_mut().left = MAX_RECORD;
                file.get_mut().quotes = Some(Quotes::Before);
                let start = file.fill_buf().with_context(unread)?;
                let is_crlf = start.split(|byte| *byte == b'\n').next().is_some_and(|line| line.ends_with(b"\r"));
                let mut csv = csv::ReaderBuilder::new().flexible(true).from_reader(file);
                let columns = header(table, csv.headers()).with_context(|| self.path.display().to_string())?;
                Lines::Csv { reader, csv: Box::new(csv), is_crlf, table, columns, record: csv::ByteRecord::new() }
            }
        })
    }
}

/// A file that is read from its start.
pub struct Reading<'a> {
    file: &'a File,
    /// The SHA-256 of what has been read.
    hash: Sha256,
    /// How many bytes may be read still for one record.
    left: u64,
    /// Where what has been read of CSV ends.
    quotes: Option<Quotes>,
}

/// A place among the quotes of CSV.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Quotes {
    /// Before a field.
    Before,
    /// In a field with quotes around it.
    Inside,
    /// After a quote in such a field, which ends it or is the first of two.
    After,
    /// In a field without quotes.
    Without,
}

impl Quotes {
    fn then(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Inside, b'"') => Self::After,
            (Self::Inside, _) | (Self::Before | Self::After, b'"') => Self::Inside,
            // The bytes of a BOM are none of a field.
            (_, b',' | b'\r' | b'\n') | (Self::Before, 0xef | 0xbb | 0xbf) => Self::Before,
            _ => Self::Without,
        }
    }
}

impl Read for Reading<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            let message = format!("it is longer than {MAX_RECORD} bytes; perhaps a quote is not closed");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let read = self.file.take(self.left).read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.quotes = self.quotes.map(|quotes| buffer[..read].iter().fold(quotes, |quotes, byte| quotes.then(*byte)));
        self.left -= read as u64;
        Ok(read)
    }
}

/// What a column of CSV has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field {
    Id,
    Column(&'static Column),
    /// The end of a link, and the entity that it is of.
    End(usize, &'static Entity),
}

/// What the columns of a header have.
fn header(table: Table, header: csv::Result<&StringRecord>) -> anyhow::Result<Vec<(String, Field)>> {
    let header = header.map_err(|error| match error.into_kind() {
        csv::ErrorKind::Utf8 { .. } => anyhow::anyhow!("its header is not UTF-8: save it as CSV in UTF-8"),
        csv::ErrorKind::Io(error) => error.into(),
        _ => anyhow::anyhow!("it has no header"),
    })?;
    ensure!(!header.is_empty(), "it has no header");
    if let [only] = header.iter().collect::<Vec<_>>()[..]
        && only.contains([';', '\t'])
    {
        bail!("its columns are separated by semicolons or tabs: save it with commas, as CSV in UTF-8");
    }
    let (possible, required) = match table {
        Table::Objects(entity) => {
            let columns = entity
                .columns
                .iter()
                .flat_map(|column| [column.name(), column.field].map(|name| (name.to_owned(), Field::Column(column))));
            let possible: Vec<_> = std::iter::once((entity.key.name().to_owned(), Field::Id)).chain(columns).collect();
            let required = entity.columns.iter().filter(|column| !column.is_nullable);
            (possible, required.map(|column| (column.name().to_owned(), Field::Column(column))).collect::<Vec<_>>())
        }
        Table::Links(from, relation) => {
            let ends = ends(from, relation).into_iter().enumerate();
            let ends: Vec<_> = ends.map(|(place, (entity, column, _))| (column, Field::End(place, entity))).collect();
            (ends.clone(), ends)
        }
    };
    let mut columns: Vec<(String, Field)> = Vec::new();
    for name in header {
        let Some((_, field)) = possible.iter().find(|(other, _)| other == name.trim()) else {
            let mut names: Vec<_> = possible.iter().map(|(name, _)| name.as_str()).collect();
            names.dedup();
            bail!("it has the column {name:?}, and {} has {}", table.name(), names.join(", "));
        };
        ensure!(columns.iter().all(|(_, other)| other != field), "it has the column {name:?} twice");
        columns.push((name.trim().to_owned(), *field));
    }
    for (name, field) in required {
        ensure!(columns.iter().any(|(_, other)| *other == field), "it has no column {name:?}");
    }
    Ok(columns)
}

/// The records of a file.
pub enum Lines<'r> {
    Json {
        reader: &'r RecordReader,
        tables: Vec<Table>,
        file: BufReader<Reading<'r>>,
        number: u64,
        buffer: Vec<u8>,
    },
    Csv {
        reader: &'r RecordReader,
        csv: Box<csv::Reader<BufReader<Reading<'r>>>>,
        /// Whether its lines end with \r\n.
        is_crlf: bool,
        table: Table,
        columns: Vec<(String, Field)>,
        record: csv::ByteRecord,
    },
}

impl Iterator for Lines<'_> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Json { reader, tables, file, number, buffer } => loop {
                *number += 1;
                let length = match read_line(file, buffer) {
                    Err(error) => return Some(Err(error)),
                    Ok(None) => return None,
                    Ok(Some(length)) => length,
                };
                if *number == 1 && buffer.starts_with("\u{feff}".as_bytes()) {
                    buffer.drain(.."\u{feff}".len());
                }
                let line = if length > MAX_RECORD { &buffer[..] } else { buffer.trim_ascii() };
                if !line.is_empty() {
                    return Some(Ok(Line { number: *number, record: of_json(reader, tables, line) }));
                }
            },
            Self::Csv { reader, csv, is_crlf, table, columns, record } => match read_csv(csv, record) {
                Err(error) => Some(Err(error)),
                Ok(false) => None,
                Ok(true) => {
                    // The parser stands before a line end that it has skipped when a record begins, and before the \n
                    // of \r\n when it ends.
                    let begin = record.position().map_or(0, csv::Position::line);
                    let inner = record.as_slice().split(|byte| *byte == b'\n').count() as u64 - 1;
                    let end = csv.position().line() - inner - u64::from(!*is_crlf);
                    Some(Ok(Line { number: begin.max(end), record: of_csv(reader, *table, columns, record) }))
                }
            },
        }
    }
}

impl Lines<'_> {
    /// The SHA-256 of what has been read.
    pub fn hash(&self) -> impl AsRef<[u8]> {
        let reading = match self {
            Self::Json { file, .. } => file.get_ref(),
            Self::Csv { csv, .. } => csv.get_ref().get_ref(),
        };
        reading.hash.clone().finalize()
    }

    /// The record that was read last, as it is in the file: an object, or text.
    pub fn text(&self) -> serde_json::Value {
        match self {
            Self::Json { buffer, .. } => serde_json::from_slice(buffer).unwrap_or_else(|_| {
                let shown = &buffer.trim_ascii()[..buffer.trim_ascii().len().min(MAX_SHOWN)];
                String::from_utf8_lossy(shown).into()
            }),
            Self::Csv { columns, record, .. } if columns.len() != record.len() => {
                record.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect()
            }
            Self::Csv { columns, record, .. } => {
                let fields = columns.iter().zip(record);
                let fields = fields.map(|((name, _), field)| (name.clone(), String::from_utf8_lossy(field).into()));
                serde_json::Value::Object(fields.collect())
            }
        }
    }
}

/// Reads a record, if there is one more.
fn read_csv(csv: &mut csv::Reader<BufReader<Reading>>, record: &mut csv::ByteRecord) -> io::Result<bool> {
    let line = csv.position().line();
    csv.get_mut().get_mut().left = MAX_RECORD;
    let is_one = csv.read_byte_record(record).map_err(|error| {
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("the record after line {line}: {error}"))
    })?;
    if !is_one && csv.get_ref().get_ref().quotes == Some(Quotes::Inside) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a quote is not closed where it ends"));
    }
    Ok(is_one)
}

/// Reads a line, of which no more is kept than may be one, and gives its bytes without its end; none at the end of the
/// file.
fn read_line(file: &mut impl BufRead, buffer: &mut Vec<u8>) -> io::Result<Option<u64>> {
    buffer.clear();
    // A line of the greatest length has one byte more, which ends it.
    let mut length = file.by_ref().take(MAX_RECORD + 1).read_until(b'\n', buffer)? as u64;
    if length == 0 {
        return Ok(None);
    }
    let mut rest = Vec::new();
    while length > MAX_RECORD && !buffer.ends_with(b"\n") && !rest.ends_with(b"\n") {
        rest.clear();
        let read = file.by_ref().take(MAX_RECORD).read_until(b'\n', &mut rest)? as u64;
        length += read;
        if read == 0 {
            break;
        }
    }
    let has_end = buffer.ends_with(b"\n") || rest.ends_with(b"\n");
    Ok(Some(length - u64::from(has_end)))
}

fn fault(path: &[&str], message: impl Into<String>) -> RecordFault {
    RecordFault { path: path.iter().map(|name| Value::from(*name)).collect(), message: message.into() }
}

fn of_json(reader: &RecordReader, tables: &[Table], line: &[u8]) -> Result<Record, Vec<RecordFault>> {
    if line.len() as u64 > MAX_RECORD {
        return Err(vec![fault(&[], format!("the line has more than {MAX_RECORD} bytes"))]);
    }
    let text = str::from_utf8(line).map_err(|_| vec![fault(&[], "the line is not UTF-8")])?;
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(fields)) => of_fields(reader, tables, fields),
        Ok(_) => Err(vec![fault(&[], "the line is no JSON object")]),
        Err(error) => Err(vec![fault(&[], format!("the line is no JSON: {error}"))]),
    }
}

/// The record that a JSON object is.
fn of_fields(
    reader: &RecordReader,
    tables: &[Table],
    mut fields: IndexMap<Name, Value>,
) -> Result<Record, Vec<RecordFault>> {
    let ty = fields.shift_remove("type");
    let named = |name: &str| tables.iter().find(|table| table.one() == name);
    let table = match &ty {
        Some(Value::String(name)) => named(name),
        _ => None,
    };
    match table {
        Some(Table::Objects(entity)) => {
            let mut faults = Vec::new();
            let mut key = |of: &'static Entity, id: &Value, field: &str| {
                let key = reader.key(of, id, &[entity.one, field]);
                key.map_err(|fault| {
                    if faults.len() < MAX_FAULTS {
                        faults.push(fault);
                    }
                })
                .ok()
            };
            let id = fields.shift_remove("id").filter(|id| *id != Value::Null);
            let id = id.and_then(|id| key(entity, &id, "id"));
            let mut links = Vec::new();
            for relation in entity.relations {
                let Some(ids) = fields.shift_remove(relation.field) else { continue };
                let ids = match &ids {
                    Value::List(ids) => ids.as_slice(),
                    Value::Null => &[],
                    single => std::slice::from_ref(single),
                };
                let ids = ids.iter().filter_map(|id| key(relation.to, id, relation.field));
                links.push((relation, ids.collect()));
            }
            match reader.values(entity, fields) {
                Ok(values) if faults.is_empty() => Ok(Record::Object { entity, id, values, links }),
                Ok(_) => Err(faults),
                Err(more) => Err([faults, more].concat()),
            }
        }
        Some(Table::Links(from, relation)) => {
            let ends = ends(from, relation);
            let mut faults = Vec::new();
            let keys = ends.each_ref().map(|(entity, _, side)| {
                let id = fields.shift_remove(side.as_str()).unwrap_or_default();
                let path = [&relation.link.one(), side.as_str()];
                reader.key(entity, &id, &path).map_err(|fault| faults.push(fault)).unwrap_or_default()
            });
            for (name, _) in &fields {
                faults.push(fault(
                    &[name.as_str()],
                    format!("`{name}` is no field of {}", with_article(&relation.link.one())),
                ));
            }
            if faults.is_empty() { Ok(Record::Link { from, relation, ends: keys }) } else { Err(faults) }
        }
        None => {
            let possible: Vec<_> = tables.iter().map(|table| format!("\"{}\"", table.one())).collect();
            Err(vec![fault(&["type"], format!("`type` is one of {}", possible.join(", ")))])
        }
    }
}

fn of_csv(
    reader: &RecordReader,
    table: Table,
    columns: &[(String, Field)],
    record: &csv::ByteRecord,
) -> Result<Record, Vec<RecordFault>> {
    if record.len() != columns.len() {
        let message = format!("the record has {} columns, and the header has {}", record.len(), columns.len());
        return Err(vec![fault(&[], message)]);
    }
    let texts = record.iter().map(str::from_utf8).collect::<Result<Vec<_>, _>>();
    let texts = texts.map_err(|_| vec![fault(&[], "the record is not UTF-8: save the file as CSV in UTF-8")])?;
    let mut fields = IndexMap::new();
    let mut faults = Vec::new();
    let mut id = None;
    let mut keys = [0; 2];
    for ((name, field), text) in columns.iter().zip(texts) {
        match (field, table) {
            (Field::Id, Table::Objects(entity)) if !text.trim().is_empty() => {
                match reader.key(entity, &Value::from(text.trim()), &[entity.one, "id"]) {
                    Ok(key) => id = Some(key),
                    Err(fault) => faults.push(fault),
                }
            }
            (Field::Column(column), _) => {
                if let Some(value) = value_of(column, text) {
                    fields.insert(Name::new(column.field), value);
                }
            }
            (Field::End(place, entity), Table::Links(..)) => {
                match reader.key(entity, &Value::from(text.trim()), &[name]) {
                    Ok(key) => keys[*place] = key,
                    Err(fault) => faults.push(fault),
                }
            }
            _ => {}
        }
    }
    match table {
        Table::Objects(entity) => match reader.values(entity, fields) {
            Ok(values) if faults.is_empty() => Ok(Record::Object { entity, id, values, links: Vec::new() }),
            Ok(_) => Err(faults),
            Err(more) => Err([faults, more].concat()),
        },
        Table::Links(from, relation) if faults.is_empty() => Ok(Record::Link { from, relation, ends: keys }),
        Table::Links(..) => Err(faults),
    }
}

/// The value of a column as JSON would have it; none when the field is empty and the column may be null.
fn value_of(column: &Column, text: &str) -> Option<Value> {
    match column.kind {
        _ if text.is_empty() && column.is_nullable => None,
        Kind::Text { .. } => Some(Value::from(text)),
        Kind::Int { .. } | Kind::Key => {
            Some(text.trim().parse::<i64>().map_or_else(|_| Value::from(text), Value::from))
        }
    }
}
