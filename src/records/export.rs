//! Records out of the database.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use async_graphql::Value;

use super::{Table, ends};
use crate::{
    config::{ExportSettings, Format},
    db::Db,
    graphql::RecordReader,
    progress::Progress,
    schema::{Column, Entity, Relation},
    store::{Filter, Row, Scalar, Snapshot},
};

/// Rows that are read at once.
const BATCH: u64 = 5_000;

/// Writes records as they are at one moment, and gives how many there are. `-` is the standard output; several tables as
/// CSV are files in a folder. What has not come to its end has another name, or is removed.
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
    ensure!(!(is_folder && is_stdout), "several tables as CSV need a folder; or name one with --what");
    let snapshot = Snapshot::new(db).await.context("cannot read the database")?;
    if is_stdout {
        Sink::new(export, Box::new(io::stdout())).write(&snapshot, &tables, progress).await?;
        return Ok(progress.finished());
    }
    ensure!(!output.exists(), "{} exists already", output.display());
    let part = PathBuf::from(format!("{}.part", output.display()));
    let written = async {
        if is_folder {
            fs::create_dir(&part)?;
            for table in &tables {
                let sink = Sink::file(export, &part.join(format!("{}.csv", table.name())))?;
                sink.write(&snapshot, &[*table], progress).await?;
            }
        } else {
            Sink::file(export, &part)?.write(&snapshot, &tables, progress).await?;
        }
        fs::rename(&part, output)?;
        anyhow::Ok(())
    };
    let written = written.await;
    if written.is_err() {
        // It may not have come into being.
        let _ = if is_folder { fs::remove_dir_all(&part) } else { fs::remove_file(&part) };
    }
    written.with_context(|| format!("cannot write {}", output.display()))?;
    Ok(progress.finished())
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
        let relations = Table::carried(entities, entity);
        if let Self::Csv { output, .. } = self {
            let names = columns.iter().map(|(_, column)| column.name());
            output.write_record(std::iter::once(entity.key.name()).chain(names))?;
        }
        let mut after = 0;
        loop {
            let rows = snapshot.rows(entity, filter, after, BATCH).await.context("cannot read the database")?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.key();
            match self {
                Self::Json { output, buffer, .. } => {
                    let keys: Vec<i64> = rows.iter().map(Row::key).collect();
                    let mut linked = Vec::with_capacity(relations.len());
                    for relation in &relations {
                        let links =
                            snapshot.links_of(relation.link, &keys).await.context("cannot read the database")?;
                        linked.push((*relation, links.into_iter().peekable()));
                    }
                    buffer.clear();
                    for row in &rows {
                        write!(buffer, r#"{{"type":"{}","id":"{}:{}""#, entity.one, entity.name, row.key())?;
                        for (value, column) in &columns {
                            write!(buffer, r#","{}":"#, column.field)?;
                            row.write_json(*value, buffer);
                        }
                        for (relation, links) in &mut linked {
                            write!(buffer, r#","{}":["#, relation.field)?;
                            let mut comma = "";
                            while let Some([_, far]) = links.next_if(|[near, _]| *near == row.key()) {
                                write!(buffer, r#"{comma}"{}:{far}""#, relation.to.name)?;
                                comma = ",";
                            }
                            buffer.push(b']');
                        }
                        buffer.extend_from_slice(b"}\n");
                    }
                    output.write_all(buffer)?;
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
    }

    async fn write_links(
        &mut self,
        snapshot: &Snapshot,
        (from, relation): (&'static Entity, &'static Relation),
        progress: &mut Progress,
    ) -> anyhow::Result<()> {
        let ends = ends(from, relation);
        if let Self::Csv { output, .. } = self {
            output.write_record(ends.iter().map(|(_, column, _)| column))?;
        }
        let mut after = [0; 2];
        loop {
            let links = snapshot.links(relation.link, after, BATCH).await.context("cannot read the database")?;
            let Some(last) = links.last() else { return Ok(()) };
            after = *last;
            match self {
                Self::Json { output, .. } => {
                    for link in &links {
                        write!(output, r#"{{"type":"{}""#, relation.link.one())?;
                        for ((entity, _, side), key) in ends.iter().zip(link) {
                            write!(output, r#","{side}":"{}:{key}""#, entity.name)?;
                        }
                        output.write_all(b"}\n")?;
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

/// Whether a spreadsheet takes text for a formula.
fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r'])
}

/// The tables that are written, in their order. In JSON Lines the objects have their links.
fn tables(reader: &RecordReader, settings: &ExportSettings) -> anyhow::Result<Vec<Table>> {
    let all = Table::all(reader.entities());
    let names = || all.iter().map(Table::name).collect::<Vec<_>>().join(", ");
    if settings.what == "all" {
        ensure!(settings.filter.is_none(), "--where is about one table; name it with --what: {}", names());
        let is_written = |table: &Table| settings.format == Format::Csv || matches!(table, Table::Objects(_));
        return Ok(all.into_iter().filter(is_written).collect());
    }
    let table = all.iter().find(|table| table.name() == settings.what);
    Ok(vec![*table.with_context(|| format!("--what is all, or one of {}", names()))?])
}

fn filter(reader: &RecordReader, settings: &ExportSettings, tables: &[Table]) -> anyhow::Result<Filter> {
    let Some(filter) = &settings.filter else { return Ok(Filter::default()) };
    let [Table::Objects(entity)] = tables else { bail!("--where is about objects, and {} are links", settings.what) };
    let filter = reader.filter(entity, Value::from_json(filter.clone())?);
    filter.map_err(|faults| {
        let messages: Vec<_> = faults.into_iter().map(|fault| fault.message).collect();
        anyhow::anyhow!("--where: {}", messages.join("; "))
    })
}
