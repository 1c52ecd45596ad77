//! Records into the database.

use std::{
    collections::{BTreeSet, HashMap},
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    sync::Arc,
};

use anyhow::{Context as _, bail, ensure};
use async_graphql::Value;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{
    source::{Line, MAX_FAULTS, Record, Source},
    table::ends,
};
use crate::{
    config::{ImportMode, ImportSettings, OnError},
    db::Db,
    graphql::{Code, RecordFault, RecordReader},
    progress::Progress,
    schema::Entity,
    store::{End, ImportBatch, ImportedKeys, NewLink, NewObject, finish_import, forget_import, last_import},
};

/// Links after which a transaction ends that has fewer records than it may have.
const MAX_LINKS: usize = 10_000;

const NOT_ALONE: &str = "another import of the same files has written meanwhile";

/// What an import has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// The records of the files.
    pub records: u64,
    /// The objects that were created.
    pub created: u64,
    /// The records that were rejected.
    pub rejected: u64,
}

/// Files whose records were checked.
#[derive(Debug)]
pub struct Checked<'a> {
    reader: &'a RecordReader,
    settings: &'a ImportSettings,
    sources: Vec<Source>,
    /// The SHA-256 of what the files held, in Base64.
    hash: Arc<str>,
    /// The records, and those that are wrong. None is created yet.
    pub imported: Imported,
}

/// Checks the records of files. What is wrong with records is written to files of their own.
///
/// # Errors
///
/// When a file cannot be read, or records are wrong and not left out.
pub fn validate<'a>(reader: &'a RecordReader, settings: &'a ImportSettings) -> anyhow::Result<Checked<'a>> {
    let sources = settings.paths.iter().map(|path| Source::new(reader, path, settings.what.as_deref()));
    let mut sources = sources.collect::<anyhow::Result<Vec<_>>>()?;
    ensure_apart(&sources)?;
    // Files of CSV, of which each has one table, come after those to which they refer.
    if sources.iter().all(|source| source.rank(reader.entities()).is_some()) {
        sources.sort_by_key(|source| source.rank(reader.entities()));
    }
    let mut imported = Imported::default();
    let mut checker = Checker::default();
    let mut hash = Sha256::new();
    let mut places = Vec::new();
    for source in &sources {
        let mut rejects = Rejects::new(source)?;
        let mut lines = source.lines(reader)?;
        while let Some(line) = lines.next() {
            let line = line.with_context(|| format!("cannot read {}", source.path.display()))?;
            imported.records += 1;
            let Line { number, record } = checker.validated(line);
            if let Err(faults) = record {
                imported.rejected += 1;
                rejects.add(number, &faults, &lines.text())?;
            }
        }
        hash.update(lines.hash());
        places.extend(rejects.finish()?);
    }
    let Imported { records, rejected, .. } = imported;
    if rejected > 0 && settings.on_error == OnError::Stop {
        let hint = "nothing was written; --on-error skip leaves them out";
        bail!("{rejected} of {records} records are wrong, see {}; {hint}", places.join(", "));
    }
    Ok(Checked { reader, settings, sources, hash: STANDARD.encode(hash.finalize()).into(), imported })
}

/// Imports files that were checked, in batches.
///
/// # Errors
///
/// When a file cannot be read or has changed, another import of the same files runs, or the database does not answer.
pub async fn import(db: &Db, files: &Checked<'_>) -> anyhow::Result<Imported> {
    let Checked { reader, settings, sources, hash: file, imported } = files;
    let all = i64::try_from(imported.records)?;
    let last = last_import(db, reader.entities(), file).await.context("cannot read the database")?;
    let (done, keys) = match last {
        Some((done, _)) if settings.resume && done == all => {
            // It may have been interrupted before it could note its end.
            finish(db, file, all).await?;
            return Ok(*imported);
        }
        Some(last) if settings.resume => last,
        Some((done, _)) if !settings.restart && done < all => bail!(
            "{done} of the {all} records of these files were imported before; --resume goes on there, and --restart \
             imports all of them again"
        ),
        Some(_) if !settings.restart && settings.mode == ImportMode::Create => {
            bail!("these files were imported before; --restart imports all of them again")
        }
        Some((done, _)) => {
            let forgot = forget_import(db, Arc::clone(file), done).await;
            ensure!(forgot.context("cannot write to the database")?, NOT_ALONE);
            (0, ImportedKeys::new())
        }
        None => (0, ImportedKeys::new()),
    };
    let mut writing = Writing {
        db: db.uncounted(),
        connects: settings.mode == ImportMode::ConnectOrCreate,
        size: settings.batch,
        file: Arc::clone(file),
        all,
        done,
        read: 0,
        keys,
        objects: Vec::new(),
        places: HashMap::new(),
        links: Vec::new(),
        created: 0,
        progress: Progress::new(settings.progress.show, Some(imported.records)),
    };
    let mut checker = Checker::default();
    let mut hash = Sha256::new();
    for source in sources {
        let mut lines = source.lines(reader)?;
        for line in &mut lines {
            let line = line.with_context(|| format!("cannot read {}", source.path.display()))?;
            writing.add(checker.validated(line).record.ok()).await?;
        }
        hash.update(lines.hash());
    }
    ensure!(STANDARD.encode(hash.finalize()) == **file, writing.changed());
    writing.write().await?;
    writing.progress.finished();
    finish(db, file, all).await?;
    Ok(Imported { created: writing.created, ..*imported })
}

/// Notes that files were imported to their end.
async fn finish(db: &Db, file: &Arc<str>, records: i64) -> anyhow::Result<()> {
    let finished = finish_import(db, Arc::clone(file), records).await.context("cannot write to the database")?;
    ensure!(finished, NOT_ALONE);
    Ok(())
}

/// Refuses files that are named twice, and those that what is wrong with others would be written to.
fn ensure_apart(sources: &[Source]) -> anyhow::Result<()> {
    let id = |file: &fs::Metadata| (file.dev(), file.ino());
    let mut ids = BTreeSet::new();
    for source in sources {
        let path = source.path.display();
        let metadata = source.metadata().with_context(|| format!("cannot read {path}"))?;
        ensure!(ids.insert(id(&metadata)), "{path} is named twice");
    }
    for source in sources {
        let rejects = source.rejects();
        if fs::metadata(&rejects).is_ok_and(|file| ids.contains(&id(&file))) {
            let source = source.path.display();
            let rejects = rejects.display();
            bail!("{rejects} cannot be imported together with {source}, whose rejected records are written to it");
        }
    }
    Ok(())
}

/// Where records of a file are written that are wrong.
struct Rejects<'a> {
    source: &'a Source,
    /// It exists once there is one.
    file: Option<BufWriter<File>>,
}

impl<'a> Rejects<'a> {
    /// Removes what an earlier import has written.
    fn new(source: &'a Source) -> anyhow::Result<Self> {
        let rejects = Self { source, file: None };
        // A folder that is read-only refuses to remove also what does not exist.
        if fs::symlink_metadata(source.rejects()).is_ok() {
            fs::remove_file(source.rejects()).map_err(|error| rejects.unwritten(error))?;
        }
        Ok(rejects)
    }

    fn unwritten(&self, error: io::Error) -> anyhow::Error {
        anyhow::Error::from(error).context(format!("cannot write {}", self.source.rejects().display()))
    }

    /// Creates the file, for nobody who may not read the source.
    fn create(&self) -> io::Result<File> {
        let mode = self.source.metadata()?.mode() & 0o666;
        File::options().write(true).create_new(true).mode(mode).open(self.source.rejects())
    }

    fn add(&mut self, line: u64, faults: &[RecordFault], record: &serde_json::Value) -> anyhow::Result<()> {
        let errors = faults.iter().take(MAX_FAULTS).map(|fault| {
            let path = Value::List(fault.path.clone());
            json!({"code": Code::BadUserInput.as_str(), "argumentPath": path, "message": fault.message})
        });
        let reject = json!({"line": line, "errors": errors.collect::<Vec<_>>(), "record": record});
        let file = match self.file.take() {
            Some(file) => file,
            None => BufWriter::new(self.create().map_err(|error| self.unwritten(error))?),
        };
        let written = writeln!(self.file.insert(file), "{reject}");
        written.map_err(|error| self.unwritten(error))
    }

    /// Its path, if there are any.
    fn finish(mut self) -> anyhow::Result<Option<String>> {
        let Some(mut file) = self.file.take() else { return Ok(None) };
        file.flush().map_err(|error| self.unwritten(error))?;
        Ok(Some(self.source.rejects().display().to_string()))
    }
}

/// Looks at what records say of each other.
#[derive(Default)]
struct Checker {
    /// The ids so far.
    ids: ImportedKeys,
}

impl Checker {
    fn validated(&mut self, line: Line) -> Line {
        let record = line.record.and_then(|record| {
            let faults = self.faults(&record);
            if !faults.is_empty() {
                return Err(faults);
            }
            if let Record::Object { entity, id: Some(id), .. } = &record {
                self.ids.entry(entity.name).or_default().insert(*id, *id);
            }
            Ok(record)
        });
        Line { record, ..line }
    }

    fn has(&self, entity: &Entity, id: i64) -> bool {
        self.ids.get(entity.name).is_some_and(|ids| ids.contains(id))
    }

    fn faults(&self, record: &Record) -> Vec<RecordFault> {
        let unknown = |path: Vec<Value>, place: String, entity: &Entity, id: i64| RecordFault {
            path,
            message: format!("`{place}` is {}:{id}, which no record before this one has", entity.name),
        };
        let mut faults = Vec::new();
        match record {
            Record::Object { entity, id, links, .. } => {
                let one = entity.one;
                if let Some(id) = id.filter(|id| self.has(entity, *id)) {
                    let message = format!("`{one}.id` is {}:{id}, which a record before this one has", entity.name);
                    faults.push(RecordFault { path: vec![one.into(), "id".into()], message });
                }
                for (relation, ids) in links {
                    let unknown_ids = ids.iter().enumerate().filter(|(_, id)| !self.has(relation.to, **id));
                    for (index, id) in unknown_ids.take(MAX_FAULTS) {
                        let path = vec![one.into(), relation.field.into(), index.into()];
                        let place = format!("{one}.{}[{index}]", relation.field);
                        faults.push(unknown(path, place, relation.to, *id));
                    }
                }
            }
            Record::Link { from, relation, ends: ids } => {
                for ((entity, column, _), id) in ends(from, relation).into_iter().zip(ids) {
                    if !self.has(entity, *id) {
                        faults.push(unknown(vec![column.as_str().into()], column, entity, *id));
                    }
                }
            }
        }
        faults
    }
}

/// What is being written.
struct Writing {
    db: Db,
    connects: bool,
    size: usize,
    file: Arc<str>,
    /// The records of the files.
    all: i64,
    /// Those that were written, also by an earlier import.
    done: i64,
    /// The records so far.
    read: i64,
    /// The keys of the ids so far.
    keys: ImportedKeys,
    objects: Vec<NewObject>,
    /// The places of the ids of the batch.
    places: HashMap<(&'static str, i64), usize>,
    links: Vec<NewLink>,
    created: u64,
    progress: Progress,
}

impl Writing {
    /// Adds a record, or one that is left out.
    async fn add(&mut self, record: Option<Record>) -> anyhow::Result<()> {
        self.read += 1;
        if self.read > self.all {
            return Err(self.changed());
        }
        if self.read <= self.done {
            self.progress.add(1);
            return Ok(());
        }
        match record {
            Some(Record::Object { entity, id, values, links }) => {
                let place = self.objects.len();
                if let Some(id) = id {
                    self.places.insert((entity.name, id), place);
                }
                self.objects.push(NewObject { entity, id, values });
                for (relation, ids) in links {
                    for id in ids {
                        let far = self.end(relation.to, id)?;
                        self.links
                            .push(NewLink { link: relation.link, ends: relation.link.pair(End::New(place), far) });
                    }
                }
            }
            Some(Record::Link { from, relation, ends: ids }) => {
                let [(first, ..), (second, ..)] = ends(from, relation);
                let ends = [self.end(first, ids[0])?, self.end(second, ids[1])?];
                self.links.push(NewLink { link: relation.link, ends });
            }
            None => {}
        }
        if self.read - self.done >= i64::try_from(self.size)? || self.links.len() >= MAX_LINKS {
            self.write().await?;
        }
        Ok(())
    }

    fn end(&self, entity: &Entity, id: i64) -> anyhow::Result<End> {
        let row = self.keys.get(entity.name).and_then(|keys| keys.get(id)).map(End::Row);
        let new = || self.places.get(&(entity.name, id)).map(|place| End::New(*place));
        row.or_else(new).ok_or_else(|| self.changed())
    }

    /// What is said of files that are not any more what was checked.
    fn changed(&self) -> anyhow::Error {
        let done = self.done;
        anyhow::anyhow!("the files have changed while they were imported; {done} of their records were written before")
    }

    /// Writes what has been added.
    async fn write(&mut self) -> anyhow::Result<()> {
        if self.read <= self.done {
            return Ok(());
        }
        let objects: Arc<[NewObject]> = std::mem::take(&mut self.objects).into();
        let batch = ImportBatch {
            file: Arc::clone(&self.file),
            done: self.done,
            records: self.read,
            objects: Arc::clone(&objects),
            links: std::mem::take(&mut self.links).into(),
            connects: self.connects,
            events: self.db.writes_events(),
        };
        let imported = self.db.write(batch).await;
        let done = self.done;
        let imported =
            imported.with_context(|| format!("ended after {done} records, which are written; --resume goes on"))?;
        let Some(imported) = imported else { bail!("{NOT_ALONE}; this one has written up to record {done}") };
        for (object, key) in objects.iter().zip(imported.keys) {
            if let Some(id) = object.id {
                self.keys.entry(object.entity.name).or_default().insert(id, key);
            }
        }
        self.places.clear();
        self.created += imported.created;
        self.progress.add(u64::try_from(self.read - self.done)?);
        self.done = self.read;
        Ok(())
    }
}
