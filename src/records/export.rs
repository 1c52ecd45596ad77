//! Records out of the database.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

use anyhow::Context as _;
use async_graphql::Value;

use super::table::{Table, ends};
use crate::{
    config::{ExportSettings, Format, WrongSetting},
    db::Db,
    graphql::RecordReader,
    output::Output,
    progress::Progress,
    schema::{Column, Entity, Relation},
    store::{Filter, LinkReader, Scalar, Snapshot},
};

/// Rows that are read at once, and links.
const BATCH: u64 = 5_000;
/// The greatest number of links along one relation that a line has. Others have lines of their own.
const MAX_LINKS: usize = 10_000;

/// Writes records as they are at one moment, and gives how many there are. `-` is the standard output; several tables
/// as CSV are files in a folder. An output that is not complete is removed.
///
/// # Errors
///
/// When the output exists or cannot be written, or the database does not answer.
pub async fn export(db: &Db, reader: &RecordReader, settings: &ExportSettings) -> anyhow::Result<u64> {
    let output = &settings.output;
    let tables = tables(reader, settings)?;
    let export = &Export { settings, entities: reader.entities(), filter: filter(reader, settings, &tables)? };
    let progress = &mut Progress::new(settings.progress.show, None);
    let is_folder = settings.format == Format::Csv && tables.len() > 1;
    let is_stdout = output == "-";
    if is_folder && is_stdout {
        return Err(wrong("--what: the name of a table is expected; several tables as CSV need a folder".to_owned()));
    }
    let snapshot = Snapshot::new(db).await.context("cannot read the database")?;
    if is_stdout {
        let written = Sink::new(export, Box::new(io::stdout())).write(&snapshot, &tables, progress).await;
        return match written {
            // Whoever read it has read enough.
            Err(error) if io_error(&error).is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) => {
                Ok(progress.finished())
            }
            written => unwritten(written, "to the standard output").map(|()| progress.finished()),
        };
    }
    let place = output;
    let output = Output::new(place)?;
    let path = output.path();
    let written = async {
        if is_folder {
            fs::create_dir(&path)?;
            for table in &tables {
                let sink = Sink::file(export, &path.join(format!("{}.csv", table.name())))?;
                sink.write(&snapshot, &[*table], progress).await?;
            }
        } else {
            Sink::file(export, &path)?.write(&snapshot, &tables, progress).await?;
        }
        output.finish()?;
        anyhow::Ok(())
    };
    unwritten(written.await, &place.display().to_string())?;
    Ok(progress.finished())
}

/// The error of an output, if that is the cause, and not the database.
fn io_error(error: &anyhow::Error) -> Option<&io::Error> {
    error.chain().find_map(|cause| {
        let of_csv = cause.downcast_ref::<csv::Error>().and_then(|error| match error.kind() {
            csv::ErrorKind::Io(error) => Some(error),
            _ => None,
        });
        of_csv.or_else(|| cause.downcast_ref())
    })
}

/// The result of writing an output. Its own errors name it.
fn unwritten(written: anyhow::Result<()>, output: &str) -> anyhow::Result<()> {
    written.map_err(|error| {
        let is_of_output = io_error(&error).is_some();
        if is_of_output { error.context(format!("cannot write {output}")) } else { error }
    })
}

/// What is exported, and how.
struct Export<'a> {
    settings: &'a ExportSettings,
    entities: &'static [&'static Entity],
    /// Which objects are written.
    filter: Filter,
}

/// Where records are written.
enum Sink<'a> {
    Json { export: &'a Export<'a>, output: Box<dyn Write + Send>, buffer: Vec<u8> },
    Csv { export: &'a Export<'a>, output: Box<csv::Writer<Box<dyn Write + Send>>> },
}

impl<'a> Sink<'a> {
    fn file(export: &'a Export<'a>, path: &Path) -> io::Result<Self> {
        Ok(Self::new(export, Box::new(File::create_new(path)?)))
    }

    fn new(export: &'a Export<'a>, output: Box<dyn Write + Send>) -> Self {
        match export.settings.format {
            Format::Jsonl => Self::Json { export, output: Box::new(BufWriter::new(output)), buffer: Vec::new() },
            Format::Csv => Self::Csv { export, output: Box::new(csv::Writer::from_writer(output)) },
        }
    }

    /// Writes tables, to the end.
    async fn write(mut self, snapshot: &Snapshot, tables: &[Table], progress: &mut Progress) -> anyhow::Result<()> {
        for table in tables {
            match *table {
                Table::Objects(entity) => self.write_objects(snapshot, entity, progress).await?,
                Table::Links(from, relation) => self.write_links(snapshot, (from, relation), progress).await?,
            }
        }
        match self {
            Self::Json { mut output, .. } => output.flush()?,
            Self::Csv { mut output, .. } => output.flush()?,
        }
        Ok(())
    }

    fn export(&self) -> &'a Export<'a> {
        match self {
            Self::Json { export, .. } | Self::Csv { export, .. } => export,
        }
    }

    async fn write_objects(
        &mut self,
        snapshot: &Snapshot,
        entity: &'static Entity,
        progress: &mut Progress,
    ) -> anyhow::Result<()> {
        let Export { entities, filter, settings } = self.export();
        let is_written = |column: &Column| settings.with_secrets || column.requires.is_none();
        // The number of the value in a row, and its column.
        let columns: Vec<_> = (1..).zip(entity.columns).filter(|(_, column)| is_written(column)).collect();
        let (to_itself, relations): (Vec<_>, Vec<_>) =
            Table::carried(entities, entity).into_iter().partition(|relation| relation.to == entity);
        if let Self::Csv { output, .. } = self {
            let names = columns.iter().map(|(_, column)| column.name());
            output.write_record(std::iter::once(entity.key.name()).chain(names))?;
        }
        let mut after = i64::MIN;
        let reader = |relation: &'static Relation| (relation, LinkReader::new(snapshot, relation.link, BATCH));
        let mut linked: Vec<_> = relations.into_iter().map(reader).collect();
        loop {
            let rows = snapshot.rows(entity, filter, after, BATCH).await.context("cannot read the database")?;
            let Some(last) = rows.last() else { break };
            after = last.key();
            match self {
                Self::Json { output, buffer, .. } => {
                    for row in &rows {
                        let key = row.key();
                        buffer.clear();
                        write!(buffer, r#"{{"type":"{}","id":"{}:{key}""#, entity.one, entity.name)?;
                        for (value, column) in &columns {
                            write!(buffer, r#","{}":"#, column.field)?;
                            row.write_json(*value, buffer);
                        }
                        for (relation, links) in &mut linked {
                            write!(buffer, r#","{}":["#, relation.field)?;
                            let mut number = 0;
                            while number < MAX_LINKS
                                && let Some(far) = next_of(links, key).await?
                            {
                                let comma = if number > 0 { "," } else { "" };
                                write!(buffer, r#"{comma}"{}:{far}""#, relation.to.name)?;
                                number += 1;
                            }
                            buffer.push(b']');
                        }
                        buffer.extend_from_slice(b"}\n");
                        output.write_all(buffer)?;
                        for (relation, links) in &mut linked {
                            while let Some(far) = next_of(links, key).await? {
                                write_link(output, (entity, relation), relation.link.pair(key, far))?;
                                progress.add(1);
                            }
                        }
                    }
                }
                Self::Csv { export, output } => {
                    for row in &rows {
                        output.write_field(row.key().to_string())?;
                        for (value, _) in &columns {
                            match row.get(*value) {
                                Scalar::Null => output.write_field("")?,
                                Scalar::Int(number) => output.write_field(number.to_string())?,
                                Scalar::Text(text) if export.settings.spreadsheet_safe && is_formula(&text) => {
                                    output.write_field(format!("'{text}"))?;
                                }
                                Scalar::Text(text) => output.write_field(text)?,
                            }
                        }
                        output.write_record(None::<&[u8]>)?;
                    }
                }
            }
            progress.add(rows.len() as u64);
        }
        if matches!(self, Self::Json { .. }) {
            // A record names only what comes before it, and these objects name each other.
            for relation in to_itself {
                self.write_links(snapshot, (entity, relation), progress).await?;
            }
        }
        Ok(())
    }

    async fn write_links(
        &mut self,
        snapshot: &Snapshot,
        (from, relation): (&'static Entity, &'static Relation),
        progress: &mut Progress,
    ) -> anyhow::Result<()> {
        if let Self::Csv { output, .. } = self {
            output.write_record(ends(from, relation).iter().map(|(_, column, _)| column))?;
        }
        // Those of which only one end is written could not be read again.
        let filter = &self.export().filter;
        let ends = (relation.to == from && !filter.is_empty()).then_some((from, filter));
        let mut after = [i64::MIN; 2];
        loop {
            let links = snapshot.links(relation.link, relation.link.columns(), ends, after, BATCH).await;
            let links = links.context("cannot read the database")?;
            let Some(last) = links.last() else { return Ok(()) };
            after = *last;
            match self {
                Self::Json { output, .. } => {
                    for link in &links {
                        write_link(output, (from, relation), *link)?;
                    }
                }
                Self::Csv { output, .. } => {
                    for link in &links {
                        output.write_record(link.map(|key| key.to_string()))?;
                    }
                }
            }
            progress.add(links.len() as u64);
        }
    }
}

async fn next_of(links: &mut LinkReader<'_>, key: i64) -> anyhow::Result<Option<i64>> {
    links.next_of(key).await.context("cannot read the database")
}

/// Writes a link as a line of JSON.
fn write_link(
    output: &mut impl Write,
    (from, relation): (&'static Entity, &'static Relation),
    keys: [i64; 2],
) -> io::Result<()> {
    write!(output, r#"{{"type":"{}""#, relation.link.one())?;
    for ((entity, _, side), key) in ends(from, relation).iter().zip(keys) {
        write!(output, r#","{side}":"{}:{key}""#, entity.name)?;
    }
    output.write_all(b"}\n")
}

/// Whether a spreadsheet takes text for a formula.
fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r'])
}

/// The tables that are written, in their order. In JSON Lines the objects have their links.
fn tables(reader: &RecordReader, settings: &ExportSettings) -> anyhow::Result<Vec<Table>> {
    let all = Table::all(reader.entities());
    let names = || all.iter().map(Table::name).collect::<Vec<_>>().join(", ");
    if settings.what == "all" {
        if settings.filter.is_some() {
            return Err(wrong(format!("--what: one of {} is expected, to which --where applies", names())));
        }
        let is_written = |table: &Table| settings.format == Format::Csv || matches!(table, Table::Objects(_));
        return Ok(all.into_iter().filter(is_written).collect());
    }
    let table = all.iter().find(|table| table.name() == settings.what);
    Ok(vec![*table.ok_or_else(|| wrong(format!("--what: one of all, {} is expected", names())))?])
}

fn filter(reader: &RecordReader, settings: &ExportSettings, tables: &[Table]) -> anyhow::Result<Filter> {
    let Some(filter) = &settings.filter else { return Ok(Filter::default()) };
    let [Table::Objects(entity)] = tables else {
        return Err(wrong(format!("--where: it applies to objects, and {} are links", settings.what)));
    };
    let filter = reader.filter(entity, Value::from_json(filter.clone())?);
    filter.map_err(|faults| {
        let messages: Vec<_> = faults.into_iter().map(|fault| fault.message).collect();
        wrong(format!("--where: {}", messages.join("; ")))
    })
}

fn wrong(message: String) -> anyhow::Error {
    WrongSetting(message).into()
}
